"""The data of a panel: what it is set to, what it asked and was told, and where its seconds went.

Knows probes, routes and facts; asks nothing.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from lifelong.editor import Route
from lifelong.log import Probed
from lifelong.measure import Item, Score


@dataclass(frozen=True)
class PanelSettings:
    """What a panel asks; the simulator decides when."""

    instant: bool = True  # probe every edit as soon as it is visible
    instant_axes: tuple[str, ...] = ()  # of these axes only (none: of all)
    gaps: tuple[int, ...] = ()  # after edit i also probe edit i - gap
    sample: int = 200  # edits probed before the last panel by editors that may change any answer
    most: int = 0  # the same for all other editors (0: all edits)
    chunk: int = 512  # rows scored inside one application of the editor
    latency_routes: int = 200  # queries encoded and routed one at a time, per panel
    latency_answers: int = 50  # of these, answered in full
    brute: bool = False  # answer everything again: the reference that reuse must equal
    decode_all: bool = False  # decode also what follows from scoring: the reference for that


@dataclass(frozen=True)
class Asked:
    """Probes routed at one step: what is known of them already, and under which routes the rest is to be answered.

    `items`, `keys` and `known` belong together; `routes` are by query.
    """

    step: int
    sim_s: float
    items: tuple[Item, ...]
    keys: tuple[str, ...]
    known: tuple[tuple[Score, ...] | None, ...]
    routes: Mapping[str, Route]

    def due(self) -> list[Item]:
        """Return the probes that have to be answered."""
        return [item for item, scores in zip(self.items, self.known, strict=True) if scores is None]


@dataclass(frozen=True)
class Told:
    """The facts about what was asked, and how many of its answers had log-probabilities that were no numbers."""

    facts: list[Probed]
    not_finite: int = 0


@dataclass
class Spent:
    """Seconds and counts since the last full panel."""

    wall_s: dict[str, float] = field(default_factory=lambda: dict.fromkeys(("encode", "route", "answer"), 0.0))
    asked: int = 0
    reused: int = 0

    @contextmanager
    def on(self, part: str):
        """Add the time spent in the body to one part."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.wall_s[part] += time.perf_counter() - start
