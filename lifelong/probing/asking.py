"""Asking a model: many queries, several teacher-forced targets each, one decoded answer per query.

Shared by the frozen baseline and the panel. Knows nothing about probes, editors, steps or files; it only speaks to
an `Answerer`. Decoding is skipped where a scored target shows what it would give (`scorers.followed`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lifelong.editing.contract import Editor, Route
from lifelong.probing.scorers import followed
from streams.types import Query

PickedText = Callable[[Sequence[int], int], str | None]

if TYPE_CHECKING:
    from lifelong.editing.contract import Answerer
    from lifelong.models.passes.layout import Scored
    from lifelong.models.vlm import VLM


@dataclass(frozen=True)
class Ask:
    """One query, the targets to teacher-force after it (at least one), and how many ordered top ids to keep."""

    query: Query
    targets: tuple[str, ...]
    top: int = 0


@dataclass(frozen=True)
class Reply:
    """What came back for one `Ask`: the greedily decoded text, and teacher forcing by target."""

    text: str
    forced: Mapping[str, Scored]

    @property
    def finite(self) -> bool:
        """Whether every target's log-probabilities are numbers (else the model, as edited, is broken)."""
        return all(bool(np.isfinite(f.logprobs).all()) for f in self.forced.values())


def gathered(wanted: Iterable[tuple[Query, Sequence[str], int]]) -> list[Ask]:
    """Return one ask per distinct query of (query, targets, top ids), in order, with all that it is wanted for."""
    queries: dict[str, Query] = {}
    targets: dict[str, dict[str, None]] = {}
    tops: dict[str, int] = {}
    for query, some, top in wanted:
        queries.setdefault(query.digest, query)
        targets.setdefault(query.digest, {}).update(dict.fromkeys(some))
        tops[query.digest] = max(tops.get(query.digest, 0), top)
    return [Ask(queries[d], tuple(targets[d]), tops[d]) for d in queries]


def rows_of(asks: Sequence[Ask]) -> list[tuple[int, str]]:
    """Return one (index of the ask, target) per row that a model has to score."""
    return [(i, target) for i, ask in enumerate(asks) for target in ask.targets]


def chunks_of(asks: Sequence[Ask], rows: int) -> Iterator[list[int]]:
    """Yield indices of asks in chunks of about `rows` scored rows, those with top ids apart from those without.

    An ask is never split, so that one answerer both scores and decodes it.
    """
    for wants_top in (False, True):
        chunk: list[int] = []
        filled = 0
        for i, ask in enumerate(asks):
            if (ask.top > 0) != wants_top:
                continue
            if chunk and filled + len(ask.targets) > rows:
                yield chunk
                chunk, filled = [], 0
            chunk.append(i)
            filled += len(ask.targets)
        if chunk:
            yield chunk


def replies(
    answerer: Answerer, asks: Sequence[Ask], picked_text: PickedText, *, max_tokens: int, decode_all: bool = False
) -> list[Reply]:
    """Return one reply per ask; row i of `answerer` is row i of `rows_of(asks)`.

    All asks must want the same number of top ids. `picked_text` is the model's: the answer that picked tokens make,
    None where it goes on after them. With `decode_all` every text is decoded, also where it follows
    from a scored target (slower, and by law the same).
    """
    rows = rows_of(asks)
    top = max((ask.top for ask in asks), default=0)
    scored = answerer.score([target for _, target in rows], top=top)
    forced: list[dict[str, Scored]] = [{} for _ in asks]
    texts: dict[int, str] = {}
    first: dict[int, int] = {}
    for row, ((i, target), s) in enumerate(zip(rows, scored, strict=True)):
        forced[i][target] = s
        first.setdefault(i, row)
        if not decode_all and i not in texts:
            text = picked_text(followed(s.target_ids, s.argmax_ids), max_tokens)
            if text is not None:
                texts[i] = text
    missing = [i for i in range(len(asks)) if i not in texts]
    if missing:
        decoded = answerer.generate([first[i] for i in missing], max_tokens=max_tokens)
        texts.update(zip(missing, decoded, strict=True))
    return [Reply(texts[i], forced[i]) for i in range(len(asks))]


def answered(
    vlm: VLM,
    editor: Editor,
    asks: Sequence[tuple[Ask, Route]],
    *,
    rows: int,
    max_tokens: int,
    decode_all: bool = False,
) -> list[Reply]:
    """Return one reply per ask, given under its route; about `rows` scored rows share one application."""
    found: dict[int, Reply] = {}
    for chunk in chunks_of([ask for ask, _ in asks], rows):
        part = [asks[i][0] for i in chunk]
        pairs = [asks[chunk[i]] for i, _ in rows_of(part)]
        with editor.applied([ask.query for ask, _ in pairs], [route for _, route in pairs]) as answerer:
            got = replies(answerer, part, vlm.picked_text, max_tokens=max_tokens, decode_all=decode_all)
        found.update(zip(chunk, got, strict=True))
    return [found[i] for i in range(len(asks))]
