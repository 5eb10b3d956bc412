"""Decoding that goes on from a scoring pass gives what reading the prompt again gives."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from torch import Tensor

from lifelong.models.kept.answers import Begun
from lifelong.models.passes.layout import Layout
from lifelong.models.vlm import VLM
from streams.types import Query


def louder(module: object, args: tuple, output: Tensor, layout: Layout) -> Tensor:
    """Change every token of the prompt and of the answer, each in its own way."""
    return output + layout.answer[..., None] * 0.7 - layout.prompt[..., None] * 0.3


def nothing(module: object, args: tuple, output: Tensor, layout: Layout) -> Tensor:
    """Change nothing."""
    return output


def targets_of(vlm: VLM, queries: Sequence[Query]) -> list[str]:
    """Targets that agree with the greedy answer for 0, 1, 2, ... letters (the tokens of the tiny model)."""
    texts = vlm.generate(queries, max_tokens=8)
    return [(text[:i] + "#~") for i, text in enumerate(texts)]


@pytest.mark.parametrize("max_tokens", [1, 2, 8])
@pytest.mark.parametrize("change", [nothing, louder])
def test_finishing_equals_reading_the_prompt_again(
    tiny_vlm: VLM, tiny_queries: list[Query], change: Callable, max_tokens: int
) -> None:
    """Whatever part of a target was right, however short the answer may be, also under a hook; texts are the same."""
    with tiny_vlm.hook(tiny_vlm.decoder_layer(1), change):
        targets = targets_of(tiny_vlm, tiny_queries)
        begun: dict[int, Begun] = {}
        scored = tiny_vlm.score(tiny_queries, targets, begun=begun)
        again = tiny_vlm.generate(tiny_queries, max_tokens=max_tokens)
        assert tiny_vlm.finish(list(begun.values()), max_tokens=max_tokens) == [again[i] for i in begun]
        assert sorted(begun) == [i for i, s in enumerate(scored) if not s.exact] and len(begun) >= 5
    assert len({len(b.said) for b in begun.values()}) > 2  # rows stand at different places


def test_an_answerer_reads_a_prompt_once_and_again_under_other_changes(
    tiny_vlm: VLM, tiny_queries: list[Query]
) -> None:
    """After scoring no pass of decoding reads a prompt; where a hook began or ended since, all of them do."""
    widths: list[int] = []

    def watch(module: object, args: tuple, output: Tensor, layout: Layout) -> None:
        widths.append(layout.rows.shape[0] * layout.answer.shape[1] if layout.decode_step == 0 else 1)

    targets = targets_of(tiny_vlm, tiny_queries)
    with tiny_vlm.hook(tiny_vlm.decoder_layer(0), watch):
        answerer = tiny_vlm.answerer(tiny_queries)
        scored = answerer.score(targets)
        wrong = [i for i, s in enumerate(scored) if not s.exact]
        widths.clear()
        texts = answerer.generate(wrong[::-1], max_tokens=6)
        assert set(widths) == {1}
        with tiny_vlm.hook(tiny_vlm.decoder_layer(1), louder):
            changed = answerer.generate(wrong[::-1], max_tokens=6)
            assert max(widths) > 1
            assert changed == tiny_vlm.generate([tiny_queries[i] for i in wrong[::-1]], max_tokens=6)
    assert texts == tiny_vlm.generate([tiny_queries[i] for i in wrong[::-1]], max_tokens=6) != changed


def test_what_is_kept_has_a_budget(tiny_vlm: VLM, tiny_queries: list[Query], monkeypatch: pytest.MonkeyPatch) -> None:
    """Without room nothing is kept, and answers are the same."""
    targets = targets_of(tiny_vlm, tiny_queries)
    roomy = tiny_vlm.answerer(tiny_queries)
    roomy.score(targets)
    monkeypatch.setattr("lifelong.models.vlm.KEPT_BYTES", 0)
    tight: dict[int, Begun] = {}
    scored = tiny_vlm.score(tiny_queries, targets, begun=tight)
    assert not tight and np.isfinite(scored[0].logprobs).all()
    assert roomy.generate(max_tokens=8) == tiny_vlm.generate(tiny_queries, max_tokens=8)


def test_from_a_layer_a_prompt_is_read_whole_once_and_then_gone_on_from(
    tiny_vlm: VLM, tiny_queries: list[Query], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first scoring keeps the layer's inputs, and decoding goes on from it; the next skips the layers below."""
    tiny_vlm.cache.clear()
    with tiny_vlm.hook(tiny_vlm.decoder_layer(1), louder):
        targets = targets_of(tiny_vlm, tiny_queries)
        expected = tiny_vlm.score(tiny_queries, targets, top=3)
        texts = tiny_vlm.generate(tiny_queries, max_tokens=6)
        wrong = [i for i, s in enumerate(expected) if not s.exact]
        answerer = tiny_vlm.answerer(tiny_queries, from_layer=1)
        half = tiny_vlm.answerer(tiny_queries[::2], from_layer=1)
        half.score(targets[::2])
        assert tiny_vlm.keeps(tiny_queries, targets, 1) == [i % 2 == 0 for i in range(len(tiny_queries))]
        for top in (0, 3, 3):
            for got, one in zip(answerer.score(targets, top=top), expected, strict=True):
                assert (got.argmax_ids == one.argmax_ids).all()
                np.testing.assert_allclose(got.logprobs, one.logprobs, atol=1e-4)
            assert answerer.generate(wrong, max_tokens=6) == [texts[i] for i in wrong]
            assert all(tiny_vlm.keeps(tiny_queries, targets, 1))
        read: list[object] = []
        monkeypatch.setattr(tiny_vlm, "score", lambda prompts, *_, **__: read.extend(prompts) or [])
        monkeypatch.setattr(tiny_vlm.passes, "captured", lambda rows, _: read.extend(rows) or {})
        assert [s.exact for s in answerer.score(targets)] == [s.exact for s in expected]
        assert not read


def test_nothing_is_kept_of_a_layer_above_a_change(tiny_vlm: VLM, tiny_queries: list[Query]) -> None:
    """Its inputs are not those of the base."""
    tiny_vlm.cache.clear()
    targets = ["#~"] * len(tiny_queries)
    with tiny_vlm.hook(tiny_vlm.decoder_layer(0), louder):
        tiny_vlm.answerer(tiny_queries, from_layer=1).score(targets)
        changed = tiny_vlm.answerer(tiny_queries, from_layer=1).score(targets)
        whole = tiny_vlm.score(tiny_queries, targets)
    assert not any(tiny_vlm.keeps(tiny_queries, targets, 1))
    assert [s.argmax_ids.tolist() for s in changed] == [s.argmax_ids.tolist() for s in whole]
