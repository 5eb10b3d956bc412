"""Reading prompts: each picture is seen once, and the tokenizer alone reads what the processor would."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any

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
    assert seen == [2], "a lone picture is seen twice at once: its features are those that it has beside others"
    with vlm.serving_with(timed=True):
        vlm.score([Query("one", b)], ["x"])
    assert seen == [2, 1], "but not where it is timed"


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
        theirs = vlm.reader.process(prompt)[0]
        assert torch.equal(mine.ids, theirs.ids) and mine.pictures == theirs.pictures


class Spy:
    """An image processor that is called otherwise."""

    def __init__(self, inner: Any, call: Callable[..., Any]) -> None:
        self.inner, self.call = inner, call

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.call(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


@pytest.mark.parametrize("alone", [True, False])
def test_a_new_picture_costs_one_run_of_a_processor(monkeypatch: pytest.MonkeyPatch, alone: bool) -> None:
    """However many questions about it come in one call: of the image processor where that by itself is known to be
    enough, else of the whole one; ids and features are the same."""
    vlm = tiny_vlm(2)
    new = ImageRef("noise:new", "new")
    questions = [Prompt((new, f"What {i}?")) for i in range(5)]
    expected = [vlm.reader.process(q)[0] for q in questions]
    features = vlm.reader.features(questions, expected)
    vlm.cache.clear()
    for name, text in itertools.product("abc", ("Who?", "Why?")):
        vlm.reader.read([Prompt((ImageRef(f"noise:{name}", name), text))])
    assert vlm.reader.alone
    vlm.reader.alone = alone
    runs: dict[str, int] = {"whole": 0, "image": 0}
    process, images = vlm.reader.process, vlm.processor.image_processor

    def whole(prompt: Prompt) -> object:
        runs["whole"] += 1
        return process(prompt)

    def image(*args: Any, **kwargs: Any) -> object:
        runs["image"] += 1
        return images(*args, **kwargs)

    monkeypatch.setattr(vlm.reader, "process", whole)
    monkeypatch.setattr(vlm.processor, "image_processor", Spy(images, image))
    read = vlm.reader.read(questions)
    assert runs == {"whole": 0 if alone else 1, "image": 1}  # the whole one runs the other
    assert all(torch.equal(mine.ids, theirs.ids) for mine, theirs in zip(read, expected, strict=True))
    for mine, theirs in zip(vlm.reader.features(questions, read), features, strict=True):
        torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize("fault", ["another value", "another name", "fewer rows"])
def test_an_image_processor_that_gives_something_else_is_not_used_alone(
    monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    """What the whole processor gives counts, and answers stay the same."""
    queries = [Query("What?", ImageRef(f"noise:{name}", name)) for name in "abcd"]
    expected = tiny_vlm(2).score(queries, ["x"] * 4)
    vlm = tiny_vlm(2)
    images = vlm.processor.image_processor

    def other(*args: Any, **kwargs: Any) -> Mapping[str, torch.Tensor]:
        out = images(*args, **kwargs)
        if args:  # the whole processor calls it
            return out
        values = out["pixel_values"]
        if fault == "fewer rows":
            return {"pixel_values": values[:1]}
        return {"pixel_values": values + 1} if fault == "another value" else {"pixels": values}

    monkeypatch.setattr(vlm.processor, "image_processor", Spy(images, other))
    got = [vlm.score([q], ["x"])[0] for q in queries[:1]] + vlm.score(queries[1:], ["x"] * 3)
    assert not vlm.reader.alone
    for mine, true in zip(got, expected, strict=True):
        assert (mine.argmax_ids == true.argmax_ids).all()
        torch.testing.assert_close(torch.tensor(mine.logprobs), torch.tensor(true.logprobs), atol=1e-4, rtol=1e-4)
