"""Answering many queries under their routes: what to ask of the model for a list of probes, and asking it in chunks.

Knows probes, the baseline's answers and an editor's `applied`; nothing of steps, facts or what was answered before.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lifelong.editing.contract import Editor, Route
from lifelong.probing.asking import Ask, Reply, chunks_of, replies, rows_of
from lifelong.probing.measure import WITHDRAWN, Item, wanted_top
from streams.types import Query

if TYPE_CHECKING:
    from lifelong.probing.baseline import Baseline


def asks_of(items: Sequence[Item], baseline: Baseline) -> list[Ask]:
    """Return one ask per query: the targets scored, and the frozen model's answer where that is expected."""
    queries: dict[str, Query] = {}
    targets: dict[str, dict[str, None]] = {}
    tops: dict[str, int] = {}
    for item in items:
        query = item.probe.query
        queries.setdefault(query.digest, query)
        wanted = targets.setdefault(query.digest, {})
        wanted[item.probe.target] = None
        if item.probe.reference == "baseline" or item.role == WITHDRAWN:
            expected = baseline.text(query)
            if expected:
                wanted[expected] = None
        tops[query.digest] = max(tops.get(query.digest, 0), wanted_top(item.probe))
    return [Ask(queries[d], tuple(targets[d]), tops[d]) for d in queries]


def answered(
    editor: Editor, asks: Sequence[tuple[Ask, Route]], *, rows: int, max_tokens: int, decode_all: bool = False
) -> list[Reply]:
    """Return one reply per ask, given under its route; about `rows` scored rows share one application."""
    found: dict[int, Reply] = {}
    for chunk in chunks_of([ask for ask, _ in asks], rows):
        part = [asks[i][0] for i in chunk]
        pairs = [asks[chunk[i]] for i, _ in rows_of(part)]
        with editor.applied([ask.query for ask, _ in pairs], [route for _, route in pairs]) as answerer:
            got = replies(answerer, part, max_tokens=max_tokens, decode_all=decode_all)
        found.update(zip(chunk, got, strict=True))
    return [found[i] for i in range(len(asks))]
