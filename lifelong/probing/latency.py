"""Latency on the real online path: one query or batch of edits at a time, nothing that was read before at hand.

Knows the editor's and model's contracts only. Samples are raw; percentiles are the reader's
business.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lifelong.editing.contract import Editor, Route
from lifelong.log import Timed
from streams.types import Query

if TYPE_CHECKING:
    from lifelong.models.vlm import VLM

LATENCY_WARM_UP = 3  # queries served before the first sample: allocators and threads wake up on them
ROUTES, ANSWERS = 40, 10  # samples of a panel where nobody set others
FEWEST_ROUTES, FEWEST_ANSWERS = 4, 2  # of those, on a model that takes many seconds
LATENCY_S = 40.0  # seconds that routes, and answers, may take at one panel where nobody set their numbers


def samples(
    vlm: VLM,
    editor: Editor,
    queries: Sequence[Query],
    *,
    routes: int | None,
    answers: int | None,
    max_tokens: int,
    step: int,
) -> list[Timed]:
    """Return raw samples: encode and route for every query, apply and answer too for the first `answers` of them.

    `apply` is entering and leaving `Editor.applied`, `answer` is greedy decoding inside it. The device is waited
    for at every reading of the clock. Where `routes` or `answers` is None, the query that is served first says how
    many fit into `LATENCY_S`; a model of up to seconds an answer has them all.
    """
    bank_len = editor.bank_len()
    out: list[Timed] = []
    if not queries:
        return out
    with vlm.serving_with(timed=True) as cache:

        def serve(query: Query, answered: bool) -> Mapping[str, float]:
            cache.clear()
            return serve_once(vlm, editor, query, max_tokens if answered else 0).wall_s

        # 1. One query alone: it wakes everything up, and tells how long the others will take.
        first = serve(queries[0], answers is None or answers > 0)
        reading = first["encode"] + first["route"]
        n = min(len(queries), fitting(reading, ROUTES, FEWEST_ROUTES) if routes is None else routes)
        m = fitting(sum(first.values()), ANSWERS, FEWEST_ANSWERS) if answers is None else answers

        # 2. The rest of the warm-up, where it is short, and the samples.
        warm = LATENCY_WARM_UP if (routes is not None or n == min(len(queries), ROUTES)) else 1
        for i in range(1, warm):
            serve(queries[i % len(queries)], m > 0)
        for i, query in enumerate(queries[:n]):
            out += [Timed(step, bank_len, name, wall_s) for name, wall_s in serve(query, i < m).items()]
    return out


def fitting(wall_s: float, most: int, fewest: int) -> int:
    """Return how many samples of so many seconds each fit into `LATENCY_S`, within bounds.

    >>> fitting(0.2, 40, 4), fitting(2.0, 40, 4), fitting(90.0, 40, 4)
    (40, 20, 4)
    """
    return most if wall_s * most <= LATENCY_S else max(fewest, int(LATENCY_S / wall_s))


@dataclass(frozen=True)
class Once:
    """One query served alone: seconds by part, its route, and the answer ('' where none was wanted)."""

    wall_s: Mapping[str, float]
    route: Route
    text: str = ""


def serve_once(vlm: VLM, editor: Editor, query: Query, max_tokens: int) -> Once:
    """Serve one query as it would be online; with `max_tokens` 0 it is only encoded and routed."""
    readings = [_now(vlm)]
    keys = editor.encode([query])
    readings.append(_now(vlm))
    routes = editor.route(keys)
    readings.append(_now(vlm))
    if not max_tokens:
        return Once({"encode": readings[1] - readings[0], "route": readings[2] - readings[1]}, routes[0])
    with editor.applied([query], routes) as answerer:
        readings.append(_now(vlm))
        (text,) = answerer.generate(max_tokens=max_tokens)
        readings.append(_now(vlm))
    readings.append(_now(vlm))
    encode, route, enter, answer, leave = np.diff(readings).tolist()
    return Once({"encode": encode, "route": route, "apply": enter + leave, "answer": answer}, routes[0], text)


@dataclass
class Taken:
    """How long something took, in measured seconds; 0 until it is over."""

    wall_s: float = 0.0


@contextmanager
def timed_cold(vlm: VLM) -> Iterator[Taken]:
    """Time an edit or its withdrawal as the queries are timed: online it comes alone.

    Nothing that panels, probes or earlier edits have read is at hand inside, so that the n-th edit of those that are
    probed together costs what the first one does; and what is read inside is forgotten, so that no probe is quicker
    for it. What an editor keeps by itself stays. The seconds are there after an error too.
    """
    taken = Taken()
    with vlm.serving_with(timed=True):
        start = _now(vlm)
        try:
            yield taken
        finally:
            taken.wall_s = _now(vlm) - start


def _now(vlm: VLM) -> float:
    vlm.sync()
    return time.perf_counter()
