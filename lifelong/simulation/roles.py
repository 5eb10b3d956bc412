"""What the event loop asks of a panel and of a log, its settings, and what it notes of a job.

Knows facts and jobs; changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from lifelong.log import Edited, Fact, Gauged, Probed, Served, Timed
from lifelong.log.checkpoint import State
from lifelong.simulation.jobs import Job
from lifelong.simulation.queries import Begun, Verdict
from lifelong.simulation.station import Policy
from streams.types import Edit, Posed


class ToldLike(Protocol):
    """The facts about what was asked, and how many of its answers were no numbers."""

    @property
    def facts(self) -> list[Probed]:
        """The facts."""
        ...

    @property
    def not_finite(self) -> int:
        """Answers whose log-probabilities were no numbers."""
        ...


class PanelLike(Protocol):
    """What the loop asks of a panel; with `defers` what `ask` gave may be answered after further edits."""

    @property
    def defers(self) -> bool:
        """Whether answers may wait until an edit replaces or takes back another."""
        ...

    def ask(self, step: int, sim_s: float, edits: Sequence[Edit]) -> Any:
        """Route the probes of edits that just became visible; called at every step."""
        ...

    def answer(self, asked: Sequence[Any]) -> Sequence[ToldLike]:
        """Answer what was asked, one by one."""
        ...

    def full(
        self, step: int, sim_s: float, history: Sequence[str], retired: Mapping[str, str], *, last: bool
    ) -> list[Probed | Gauged | Timed]:
        """Return the facts of a full panel."""
        ...

    def restore(self, rows: Iterable[Probed], history: Sequence[str], retired: Mapping[str, str] | None) -> None:
        """Rebuild its memory after a resume."""
        ...


class LogLike(Protocol):
    """What the loop asks of a run log."""

    def commit(self, panel_index: int, facts: Sequence[Fact], checkpoint: State) -> None:
        """Append a panel's facts and the state to go on from, all or nothing."""
        ...

    def table(self, fact: type) -> Any:
        """Return the committed facts of one type as an Arrow table."""
        ...


class ServerLike(Protocol):
    """What the loop asks of whoever answers queries; with `defers` they may be answered after further edits."""

    @property
    def defers(self) -> bool:
        """Whether answers may wait until an edit replaces or takes back another."""
        ...

    def begin(self, posed: Posed, *, measured: bool) -> Begun:
        """Route a query now; with `measured` answer it and note the seconds."""
        ...

    def answer(self, begun: Sequence[Begun]) -> Sequence[Verdict]:
        """Answer what has begun, one by one."""
        ...


@dataclass(frozen=True)
class SimulationSettings:
    """`panels` are the steps of full panels (the end of the stream always has one); `workers` serve at a time.

    Who is served first says `policy`; `batch` edits (0: as many as the editor's `turn`) are made at once, fewer where
    the first of them has waited `window_s` (0: for ever). Where the panel defers, `together` batches are answered in
    one go.
    """

    panels: tuple[int, ...] = ()
    workers: int = 1
    together: int = 32
    policy: Policy = "fifo"
    batch: int = 0
    window_s: float = 0.0


@dataclass(frozen=True)
class Done:
    """What working on a job gave: measured seconds, whether the update was refused, and a note."""

    wall_s: float
    bank_len: int
    collapsed: bool = False
    note: str = ""


@dataclass(frozen=True)
class Unanswered:
    """A query whose service has begun, and whose `Served` lacks only what it was told."""

    begun: Begun
    fact: Served


@dataclass(frozen=True)
class Open:
    """A finished job whose probes were asked and not answered yet."""

    job: Job
    done: Done
    step: int
    sim_s: float
    bank_len: int
    asked: Any


def edited_facts(open_: Open, done: Done, arrived_s: Sequence[float]) -> list[Edited]:
    """Return the facts about a job's edits, which arrived at `arrived_s` (simulated seconds)."""
    return [
        Edited(
            step=open_.step,
            sim_s=open_.sim_s,
            edit_id=edit.id,
            arrived_sim_s=at_s,
            visible_sim_s=open_.sim_s,
            edit_wall_s=done.wall_s,
            batch_len=len(open_.job.edits),
            collapsed=done.collapsed,
            prompt_kind=edit.prompt_kind,
            relation=edit.relation,
            note=done.note,
        )
        for edit, at_s in zip(open_.job.edits, arrived_s, strict=True)
    ]


def check_settings(settings: SimulationSettings, measures: bool, turn: int) -> None:
    """Raise `ValueError` for settings that no run could keep; `measures`: whether its clock does."""
    if settings.workers < 1 or (settings.workers > 1 and measures):
        raise ValueError(f"workers={settings.workers}: at least 1, and exactly 1 with a measured clock.")
    if settings.policy == "preempt" and measures:
        raise ValueError(
            "policy=preempt: a measured edit cannot be stopped half-way; use clock=modelled or replayed."
        )
    if settings.batch < 0 or settings.batch % turn:
        raise ValueError(f"batch={settings.batch}: this editor takes {turn} edits at a time; say a multiple of it.")
