"""A prompt that is read for its key is not read again for its answer, and the answer is the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from torch import Tensor

from lifelong.models.passes.layout import Layout, Scored
from lifelong.models.vlm import VLM
from streams.types import Query

LAYER = 2


def louder(module: object, args: tuple, output: Tensor, layout: Layout) -> Tensor:
    """Change every token of the prompt and of the answer, each in its own way."""
    return output + layout.answer[..., None] * 0.7 - layout.prompt[..., None] * 0.3


@pytest.fixture
def read(tiny_vlm: VLM) -> Iterator[list[int]]:
    """A list that grows by the rows of every pass that reads prompts through the lowest layer."""
    seen: list[int] = []

    def watch(module: object, args: tuple, output: tuple) -> None:
        seen.extend([len(output[0])] if output[0].shape[1] > 1 else [])

    handle = tiny_vlm.submodule(0, "self_attn").register_forward_hook(watch)
    yield seen
    handle.remove()


def same(got: Sequence[Scored], expected: Sequence[Scored]) -> None:
    """Assert that scores are those of a whole pass."""
    for one, true in zip(got, expected, strict=True):
        assert (one.argmax_ids == true.argmax_ids).all() and (one.target_ids == true.target_ids).all()
        np.testing.assert_allclose(one.logprobs, true.logprobs, atol=1e-4)
        assert (one.top_ids is None) == (true.top_ids is None)
        assert one.top_ids is None or (one.top_ids == true.top_ids).all()


@pytest.fixture
def asked(tiny_vlm: VLM, tiny_queries: list[Query]) -> tuple[list[Query], list[str]]:
    """Queries, and targets that agree with the greedy answer for 0, 1, 2, ... letters."""
    with tiny_vlm.hook(tiny_vlm.decoder_layer(LAYER), louder):
        texts = tiny_vlm.generate(tiny_queries, max_tokens=8)
    tiny_vlm.cache.clear()
    return tiny_queries, [text[:i] + "#~" for i, text in enumerate(texts)]


@pytest.mark.parametrize("top", [0, 3])
@pytest.mark.parametrize("part", ["mlp.down_proj", "self_attn.q_proj"])
def test_what_was_read_for_a_key_is_gone_on_from(
    tiny_vlm: VLM, asked: tuple, read: list[int], part: str, top: int
) -> None:
    """Keys, scores and decoded answers are as ever, also of some rows only and in two lots; one pass reads them."""
    queries, targets = asked
    module, some = tiny_vlm.submodule(LAYER, part), [5, 1, 2, 6]
    keys = tiny_vlm.capture(queries, module)
    with tiny_vlm.hook(tiny_vlm.decoder_layer(LAYER), louder):
        expected = tiny_vlm.score(queries, targets, top=top)
        texts = tiny_vlm.generate(queries, max_tokens=6)
    read.clear()
    with tiny_vlm.expecting(dict(zip(queries, targets, strict=True))):
        for key, true in zip(tiny_vlm.capture(queries, module), keys, strict=True):
            np.testing.assert_allclose(key, true, atol=1e-5)
        assert sum(read) == len(queries)
        with tiny_vlm.hook(tiny_vlm.decoder_layer(LAYER), louder):
            for lot in (some, [0, 3, 4]):
                answerer = tiny_vlm.answerer([queries[i] for i in lot], from_layer=LAYER)
                got = answerer.score([targets[i] for i in lot], top=top)
                same(got, [expected[i] for i in lot])
                wrong = [k for k, s in enumerate(got) if not s.exact]
                assert answerer.generate(wrong, max_tokens=6) == [texts[lot[k]] for k in wrong]
        assert sum(read) == len(queries)
    assert all(tiny_vlm.keeps(queries, targets, LAYER))  # for later panels
    with tiny_vlm.hook(tiny_vlm.decoder_layer(LAYER), louder):
        same(tiny_vlm.answerer(queries).score(targets, top=top), expected)
    assert sum(read) == 2 * len(queries)  # nothing is left of it after the context


@pytest.mark.parametrize("budget", [0, 40_000])
def test_what_is_kept_has_a_budget(tiny_vlm: VLM, asked: tuple, monkeypatch: pytest.MonkeyPatch, budget: int) -> None:
    """Without room, or with little, answers are the same."""
    queries, targets = asked
    monkeypatch.setattr("lifelong.models.kept.readings.BUDGET_BYTES", budget)
    with tiny_vlm.expecting(dict(zip(queries, targets, strict=True))):
        for query in queries:
            tiny_vlm.capture([query], tiny_vlm.submodule(LAYER, "mlp"))
        assert tiny_vlm.pauses.nbytes <= budget
        with tiny_vlm.hook(tiny_vlm.decoder_layer(LAYER), louder):
            got = tiny_vlm.answerer(queries, from_layer=LAYER).score(targets)
            same(got, tiny_vlm.score(queries, targets))


def test_what_was_read_under_or_before_a_lower_change_is_not_used(tiny_vlm: VLM, asked: tuple) -> None:
    """Its states are those of another model."""
    queries, targets = asked
    module = tiny_vlm.submodule(LAYER, "mlp")
    with tiny_vlm.expecting(dict(zip(queries, targets, strict=True))):
        with tiny_vlm.hook(tiny_vlm.decoder_layer(0), louder):
            tiny_vlm.capture(queries, module)
            assert tiny_vlm.pauses.nbytes == 0
        tiny_vlm.capture(queries, module)
        assert tiny_vlm.pauses.nbytes > 0
        with tiny_vlm.hook(tiny_vlm.decoder_layer(0), louder):
            got = tiny_vlm.answerer(queries, from_layer=0).score(targets)
            same(got, tiny_vlm.score(queries, targets))
        same(tiny_vlm.answerer(queries).score(targets), tiny_vlm.score(queries, targets))


def test_states_of_a_layer_come_from_the_pass_that_told_its_inputs(
    tiny_vlm: VLM, asked: tuple, read: list[int]
) -> None:
    """Also when they are asked for again; they are those of a pass of their own."""
    queries, targets = asked
    alone = tiny_vlm.hidden(queries, LAYER, targets)
    tiny_vlm.cache.clear()
    read.clear()
    with tiny_vlm.expecting(dict(zip(queries, targets, strict=True))):
        tiny_vlm.capture(queries, tiny_vlm.submodule(LAYER, "mlp"))
        tiny_vlm.hidden(queries, LAYER, targets)
    again = tiny_vlm.hidden(queries, LAYER, targets)
    assert sum(read) == len(queries)
    for mine, true in zip(again.states, alone.states, strict=True):
        np.testing.assert_allclose(mine, true, atol=1e-5)


def test_what_was_read_lasts_as_long_as_the_outermost_context(tiny_vlm: VLM, asked: tuple) -> None:
    """The inner one decides which targets are read, the outer one when that is forgotten."""
    queries, targets = asked
    module = tiny_vlm.submodule(LAYER, "mlp")
    with tiny_vlm.expecting(dict.fromkeys(queries, "never read")):
        with tiny_vlm.expecting(dict(zip(queries, targets, strict=True))):
            tiny_vlm.capture(queries, module)
        kept = tiny_vlm.pauses.found(tiny_vlm.rows(queries, targets), LAYER)
        assert sorted(place for _, _, places in kept for place in places) == list(range(len(queries)))
        assert not tiny_vlm.pauses.found(tiny_vlm.rows(queries, ["never read"] * len(queries)), LAYER)
    assert tiny_vlm.pauses.nbytes == 0 and not tiny_vlm.pauses.active


def test_a_forgotten_pass_is_not_taken_for_a_later_one(
    tiny_vlm: VLM, asked: tuple, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the first was too large to be kept at all, and nothing is left when the next one comes."""
    queries, targets = asked
    module = tiny_vlm.submodule(LAYER, "mlp")
    monkeypatch.setattr(tiny_vlm.pauses, "room_for", lambda *_: True)
    with tiny_vlm.expecting(dict(zip(queries, targets, strict=True))):
        tiny_vlm.capture(queries[:1], module)
        monkeypatch.setattr("lifelong.models.kept.readings.BUDGET_BYTES", tiny_vlm.pauses.nbytes * 2)
    with tiny_vlm.expecting(dict(zip(queries, targets, strict=True))):
        tiny_vlm.capture(queries, module)
        assert tiny_vlm.pauses.nbytes == 0
        tiny_vlm.capture(queries[:1], module)
        found = tiny_vlm.pauses.found(tiny_vlm.rows(queries, targets), LAYER)
        assert [(at, places) for _, at, places in found] == [([0], [0])]
