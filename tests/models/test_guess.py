"""Decoding that guesses gives what decoding token by token gives, whatever is guessed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest
from torch import Tensor

from lifelong.models.passes.guess import guesses
from lifelong.models.passes.layout import Layout
from lifelong.models.vlm import VLM
from streams.types import Query


@contextmanager
def repeating(vlm: VLM, scale: float, *, pointwise: bool = True) -> Iterator[list[int]]:
    """Let every token want itself to be next, the more the larger the scale; gives the widths of decoding passes."""
    widths: list[int] = []
    head, embedding = vlm.structure.head, vlm.structure.embedding
    assert head is not None

    def louder(module: object, args: tuple, output: Tensor, layout: Layout) -> Tensor:
        if layout.decode_step:
            widths.append(layout.answer.shape[1])
        return output * scale

    same = {vlm.name_of(head.weight): embedding.weight.detach().clone()}  # type: ignore[arg-type, operator]
    with vlm.swap(same), vlm.hook(embedding, louder, pointwise=pointwise):
        yield widths


def said(vlm: VLM, queries: Sequence[Query], scale: float, *, pointwise: bool) -> tuple[list[str], list[int]]:
    """Return long answers and the widths of the passes that gave them."""
    with repeating(vlm, scale, pointwise=pointwise) as widths:
        return vlm.generate(queries, max_tokens=24), widths


@pytest.mark.parametrize("scale", [6.0, 8.0, 10.0, 12.0])
def test_answers_that_repeat_themselves_are_read_ahead_and_stay_the_same(
    tiny_vlm: VLM, tiny_queries: list[Query], scale: float
) -> None:
    """Also where a repetition breaks off; a hook that has to see every token at its time is never given several."""
    usual, narrow = said(tiny_vlm, tiny_queries, scale, pointwise=False)
    ahead, wide = said(tiny_vlm, tiny_queries, scale, pointwise=True)
    assert ahead == usual
    assert set(narrow) == {1} and len(narrow) == 23
    assert scale < 10 or (max(wide) > 10 and len(wide) < len(narrow))


@pytest.mark.parametrize("right", [0, 1, 3])
def test_wrong_guesses_change_nothing(
    tiny_vlm: VLM, tiny_queries: list[Query], monkeypatch: pytest.MonkeyPatch, right: int
) -> None:
    """With a guess at every step, of which only the first tokens may be right, answers are the same."""
    usual, _ = said(tiny_vlm, tiny_queries, 8.0, pointwise=False)
    monkeypatch.setattr("lifelong.models.passes.decode.period", lambda ids: 1)
    monkeypatch.setattr(
        "lifelong.models.passes.decode.guesses", lambda ids, n: [*guesses(ids, n)[:right], *[7] * (n - right)]
    )
    ahead, wide = said(tiny_vlm, tiny_queries, 8.0, pointwise=True)
    assert ahead == usual and max(wide) == 23


def test_guesses_are_few_where_logits_would_be_many(
    tiny_vlm: VLM, tiny_queries: list[Query], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The logits of a pass of guesses have a budget."""
    monkeypatch.setattr("lifelong.models.passes.decode.LOGIT_BUDGET", 0)
    assert set(said(tiny_vlm, tiny_queries, 10.0, pointwise=True)[1]) == {1}
