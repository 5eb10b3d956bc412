"""Reading prompts: each picture is seen once, and the tokenizer alone reads what the processor would."""

from __future__ import annotations

import itertools

import pytest
import torch

from lifelong.models.tiny import tiny_vlm
from streams.types import ImageRef, Prompt, Query


def test_each_picture_goes_through_the_vision_side_once() -> None:
    """Two questions about one picture, asked twice, cost one pass; another digest costs another one."""
    vlm = tiny_vlm(1)
    seen: list[int] = []
    vlm.model.model.vision_tower.register_forward_hook(lambda m, a, out: seen.append(out.last_hidden_state.shape[0]))
    a, b = ImageRef("noise:a", "a"), ImageRef("noise:b", "b")
    for _ in range(2):
        vlm.score([Query("one", a), Query("two", a)], ["x", "y"])
    vlm.generate([Query("three", a)])
    assert sum(seen) == 1
    vlm.score([Query("one", b)], ["x"])
    assert sum(seen) == 2


def test_the_tokenizer_alone_gives_the_ids_of_the_processor() -> None:
    """Once images are known, prompts with none, one or two of them are read without the processor, and equally."""
    vlm = tiny_vlm(2)
    a, b = ImageRef("noise:a", "a"), ImageRef("noise:b", "b")
    for i in range(3):
        prompts = [Prompt((f"Why {i}?",)), Prompt((a, f"What {i}?")), Prompt((a, f"and {i}", b)), Prompt((b, "So?"))]
        vlm.score(prompts, ["x"] * 4)
    vlm.processor.__class__ = type("Broken", (type(vlm.processor),), {"__call__": None})
    quick = vlm.reader.read([Prompt(("Why?",)), Prompt((b, "Which?")), Prompt((b, "or", a))])
    vlm.processor.__class__ = type(vlm.processor).__mro__[1]
    for prompt, mine in zip([Prompt(("Why?",)), Prompt((b, "Which?")), Prompt((b, "or", a))], quick, strict=True):
        theirs = vlm.reader._process(prompt)[0]
        assert torch.equal(mine.ids, theirs.ids) and mine.pictures == theirs.pictures


def test_a_new_picture_costs_one_run_of_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many questions about it come in one call, once the tokenizer alone is known to be enough."""
    vlm = tiny_vlm(2)
    new = ImageRef("noise:new", "new")
    questions = [Prompt((new, f"What {i}?")) for i in range(5)]
    expected = [vlm.reader._process(q)[0].ids for q in questions]
    vlm.cache.clear()
    for name, text in itertools.product("abc", ("Who?", "Why?")):
        vlm.reader.read([Prompt((ImageRef(f"noise:{name}", name), text))])
    runs: list[Prompt] = []
    process = vlm.reader._process
    monkeypatch.setattr(vlm.reader, "_process", lambda prompt: runs.append(prompt) or process(prompt))
    read = vlm.reader.read(questions)
    assert len(runs) == 1 and all(torch.equal(e.ids, ids) for e, ids in zip(read, expected, strict=True))
