"""The data of a panel: what it is set to, what it asked and was told, and where its seconds went.

Knows probes, routes and facts; asks nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from lifelong.editing.contract import Route
from lifelong.probing.measure import SUPERSEDED, WITHDRAWN, Item, Score
from streams.times.traffic import TrafficOptions, by_scope, question_of
from streams.types import AXES, SCOPES, Axis, Probe, Query

if TYPE_CHECKING:
    from streams.stream import Stream


_T = TypeVar("_T")
READ_TOGETHER = 64  # edits whose probes are encoded and then answered, when they are asked for the first time


class PanelSettings(BaseModel):
    """What a panel asks; the simulator decides when."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    instant: bool = Field(default=True, description="whether every edit is probed as soon as it is visible")
    instant_axes: tuple[Axis, ...] = Field(default=(), description="what is asked then; without any, all axes")
    gaps: tuple[int, ...] = Field(default=(), description="after edit i also probe the edits i - gap")
    sample: int = Field(
        default=200, ge=1, description="past edits that a panel before the last asks about, by age, if any may change"
    )
    most: int = Field(default=0, ge=0, description="the same of an editor that routes; 0: all")
    latency_routes: int | None = Field(
        default=None, ge=0, description="queries of a panel whose routing is timed; none: 40, fewer on a slow model"
    )
    latency_answers: int | None = Field(
        default=None,
        ge=0,
        description="those of them that are timed to their answer; none: 10, fewer on a slow model",
    )
    latency_growth: float = Field(
        default=1.5, ge=1, description="timed again when the bank has so many times the entries; 1: at every panel"
    )
    together: int = Field(default=32, ge=1, description="batches that are answered in one go, where answers may wait")
    chunk: int = Field(default=512, ge=1, description="rows scored inside one application of the editor")
    brute: bool = Field(default=False, description="answer everything again: the reference that reuse must equal")
    decode_all: bool = Field(default=False, description="decode also what follows from scoring: its reference")


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

    @classmethod
    def joined(cls, parts: Sequence[Asked]) -> Asked:
        """Return what was asked at one step in several parts as one."""
        first = parts[0]
        items, keys, known = (tuple(x for p in parts for x in getattr(p, n)) for n in ("items", "keys", "known"))
        return cls(first.step, first.sim_s, items, keys, known, {d: r for p in parts for d, r in p.routes.items()})

    def due(self) -> list[Item]:
        """Return the probes that have to be answered."""
        return [item for item, scores in zip(self.items, self.known, strict=True) if scores is None]


@dataclass
class Spent:
    """Seconds and counts since the last full panel; of `not_finite` answers a log-probability was no number."""

    wall_s: dict[str, float] = field(default_factory=lambda: dict.fromkeys(("encode", "route", "answer"), 0.0))
    asked: int = 0
    reused: int = 0
    not_finite: int = 0

    def values(self) -> list[tuple[str, str, float, int]]:
        """Return (kind, name, value, n) of each gauge."""
        walls = [("panel", f"{part}_wall_s", wall_s, self.asked) for part, wall_s in self.wall_s.items()]
        return [("panel", "probes_asked", self.asked, 1), ("panel", "probes_reused", self.reused, self.asked), *walls]

    @contextmanager
    def on(self, part: str):
        """Add the time spent in the body to one part."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.wall_s[part] += time.perf_counter() - start


def items_of(probes: Sequence[Probe], age: int, successor: str | None) -> list[Item]:
    """Return what is asked about an edit: all where it holds or was taken back (''), else what it taught itself."""
    if successor is None:
        return [Item(p, age) for p in probes]
    if successor:
        return [Item(p, age, SUPERSEDED) for p in probes if p.axis == "reliability"]
    return [Item(p, age, WITHDRAWN) for p in probes]


def in_parts(
    ids: Sequence[str],
    probes_of: Callable[[str], Sequence[Probe]],
    seen: Container[str],
    at_once: Container[str],
) -> list[list[str]]:
    """Return edits in the parts in which they are asked about: those asked before, then new ones some at a time.

    A prompt of a new one is read once, for its key and for its answer, and what was read is large. `seen` are ids of
    probes answered before; those of the axes `at_once` are at their own step and do not count.
    """
    old = [i for i in ids if any(p.id in seen and p.axis not in at_once for p in probes_of(i))]
    known = set(old)
    new = [i for i in ids if i not in known]
    return [old, *(new[start : start + READ_TOGETHER] for start in range(0, len(new), READ_TOGETHER))]


_LATENCY = 0x6C6174  # names the random stream of `draw_queries` among those of one seed


def draw_queries(
    history: Sequence[str],
    probes_of: Callable[[str], Sequence[Probe]],
    general: Sequence[Probe],
    n: int,
    seed: int,
    step: int,
) -> list[Query]:
    """Return n queries to be timed at one step, drawn as traffic asks: of any visible edit, each scope as often.

    So a queue is replayed with times of what arrives in it. Probes are another mix: about one in six of the atlas's
    shows several pictures, which take longest, of traffic one in fourteen. Shares are traffic's by default, whatever
    a run's own are. The same arguments always give the same queries. Raises `ValueError` when there is nothing to
    draw from.
    """
    if not history and n:
        raise ValueError("Latency needs at least one visible edit to ask about; none was given.")
    rng = np.random.default_rng(np.random.SeedSequence([seed, _LATENCY, step]))
    shares = np.array(list(TrafficOptions().shares().values()))
    edges = np.cumsum(shares / shares.sum())
    queries = []
    for about, scope, share in rng.random((n, 3)).tolist():
        edit_id = history[int(about * len(history))]
        place = min(int(np.searchsorted(edges, scope, side="right")), len(SCOPES) - 1)
        _, probe = question_of(SCOPES[place], by_scope(probes_of(edit_id), general), share)
        queries.append(probe.query)
    return queries


def log_age_sample(history: Sequence[_T], n: int) -> list[_T]:
    """Return n edits whose ages are spread evenly on a logarithmic axis, in order of history (all when fewer).

    Age 1 is the newest. Young ages come whole; the same history always gives the same sample.

    >>> log_age_sample("abcdefgh", 4)
    ['a', 'e', 'g', 'h']
    """
    if len(history) <= n:
        return list(history)
    marks = n
    ages = np.unique(np.rint(np.geomspace(1, len(history), marks)).astype(int))
    while len(ages) < n:
        marks += max(1, n - len(ages))
        ages = np.unique(np.rint(np.geomspace(1, len(history), marks)).astype(int))
    if len(ages) > n:  # one round can overshoot: leave out evenly, never the oldest or the newest
        ages = ages[np.unique(np.rint(np.linspace(0, len(ages) - 1, n)).astype(int))]
    return [history[len(history) - int(age)] for age in ages[::-1]]


def ever_asked(stream: Stream, panels: PanelSettings, steps: Sequence[int], *, routed: bool) -> list[Probe]:
    """Return the probes that are asked when edits become visible one by one, as they arrive, and none is taken back.

    At once those of `panels.instant_axes`; at a panel (after each of `steps`) all of a sampled edit that stands, and
    the reliability of one that was replaced; the general set. In the order of the stream.
    """
    edits = stream.edits
    place = {edit.id: n for n, edit in enumerate(edits)}
    replaced_at = {place[e.supersedes]: n for n, e in enumerate(edits) if e.supersedes in place}
    whole: set[int] = set()
    kept: set[int] = set()  # asked at a panel at all
    for step in steps:
        most = panels.most if routed else panels.sample
        ids = [edit.id for edit in edits[:step]]
        for edit_id in log_age_sample(ids, most) if most and step < len(edits) else ids:
            n = place[edit_id]
            kept.add(n)
            if replaced_at.get(n, step) >= step:
                whole.add(n)
    at_once = (panels.instant_axes or AXES) if panels.instant else ()
    probes: list[Probe] = []
    for n, edit in enumerate(edits):
        axes = AXES if n in whole else {*at_once, *(("reliability",) if n in kept else ())}
        probes += [p for p in stream.probes(edit.id) if p.axis in axes]
    return [*probes, *stream.general]


class DueProbes:
    """How many probes are asked when edits become visible one by one: at once, and at each panel.

    Counts only; `ever_asked` has the probes themselves. `at_panel` splits those about edits that are new since the
    panel before from all others, the general set among them. `chunk`: the editor is put back after so many edits (0:
    never), and all edits of a chunk are asked about at its end.
    """

    def __init__(self, stream: Stream, panels: PanelSettings, *, routed: bool, chunk: int = 0) -> None:
        edits = stream.edits
        self._chunk = chunk
        self._most = panels.most if routed else panels.sample
        self._known: dict[tuple[int, int], tuple[int, int]] = {}
        self._general, self._edits = len(stream.general), len(edits)
        probes = [stream.probes(edit.id) for edit in edits]
        self._whole = np.array([len(some) for some in probes])
        self._kept = np.array([sum(p.axis == "reliability" for p in some) for some in probes])
        axes = (panels.instant_axes or AXES) if panels.instant else ()
        gaps = 1 + len(panels.gaps)
        at_once = np.array([sum(p.axis in axes for p in some) for some in probes]) * gaps
        self._at_once = np.concatenate([[0], np.cumsum(at_once)])
        place = {edit.id: n for n, edit in enumerate(edits)}
        self._replaced_at = np.full(len(edits), len(edits))
        for n, edit in enumerate(edits):
            if edit.supersedes in place:
                self._replaced_at[place[edit.supersedes]] = n

    def at_once(self, before: int, step: int) -> int:
        """Return how many probes are asked as soon as an edit is visible, of the edits after `before` to `step`."""
        return int(self._at_once[min(step, self._edits)] - self._at_once[min(before, self._edits)])

    def at_panel(self, before: int, step: int) -> tuple[int, int]:
        """Return how many probes the panel after `step` edits asks: of older edits, and of those after `before`."""
        if (before, step) not in self._known:
            self._known[before, step] = self._counted(before, step)
        return self._known[before, step]

    def _counted(self, before: int, step: int) -> tuple[int, int]:
        step = min(step, self._edits)
        start = (step - 1) // self._chunk * self._chunk if self._chunk and step else 0
        places = np.arange(start, step)
        whole = step == self._edits or (self._chunk and step - start == self._chunk)
        if self._most and not whole:
            places = np.array(log_age_sample(range(start, step), self._most))
        asked = np.where(self._replaced_at[places] >= step, self._whole[places], self._kept[places])
        new = int(asked[places >= before].sum())
        return int(asked.sum()) - new + self._general, new
