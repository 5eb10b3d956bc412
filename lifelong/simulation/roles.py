"""What the event loop asks of a panel and of a log, its settings, and what it notes of a job.

Knows facts and jobs; changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from lifelong.log import Edited, Fact, Gauged, Probed, Timed
from lifelong.log.checkpoint import State
from lifelong.log.facts import APPLIED, SKIPPED
from lifelong.simulation.jobs import Job
from lifelong.simulation.station import Policy
from streams.types import Edit


class PanelLike(Protocol):
    """What the loop asks of a panel, which decides by itself what it answers at once and what waits for a `flush`."""

    def learn(self, step: int, sim_s: float, edits: Sequence[Edit]) -> list[Probed]:
        """Take in edits that just became visible and return the facts known by now; called at every step."""
        ...

    def flush(self) -> list[Probed]:
        """Return the facts that were put off; called before an edit replaces or takes back another."""
        ...

    def full(
        self,
        step: int,
        sim_s: float,
        history: Sequence[str],
        retired: Mapping[str, str],
        *,
        last: bool,
        whole: bool = False,
    ) -> list[Probed | Gauged | Timed]:
        """Return the facts of a full panel, after a `flush`: about all edits, no sample, if `last` or `whole`."""
        ...

    def restart(self) -> None:
        """Forget all edits and answers: the editor was put back to its beginning."""
        ...

    def restore(
        self,
        rows: Iterable[Probed | Timed],
        history: Sequence[str],
        retired: Mapping[str, str] | None,
        before: int = 0,
        counts: Mapping[str, int] | None = None,
    ) -> None:
        """Rebuild its memory after a resume; `before` edits came before those of the history, and are gone.

        `counts` are what `counts` returned at the checkpoint.
        """
        ...

    def counts(self) -> Mapping[str, int]:
        """Return what was counted since the last full panel: the next one's gauges go on from it after a resume."""
        ...


class LogLike(Protocol):
    """What the loop asks of a run log."""

    def commit(self, panel_index: int, facts: Sequence[Fact], checkpoint: State) -> None:
        """Append the facts since the last commit and the state to go on from, all or nothing."""
        ...

    def table(self, fact: type) -> Any:
        """Return the committed facts of one type as an Arrow table."""
        ...


@dataclass(frozen=True)
class SimulationSettings:
    """`panels` are the steps of full panels (the end of the stream always has one); `workers` serve at a time.

    Who is served first says `policy`; `batch` edits (0: as many as the editor's `turn`) are made at once, fewer where
    the first of them has waited `window_s` (0: for ever). After every `restore_every` edits (0: never) the editor is
    put back to its beginning; a batch never reaches beyond.
    """

    panels: tuple[int, ...] = ()
    workers: int = 1
    policy: Policy = "fifo"
    batch: int = 0
    window_s: float = 0.0
    restore_every: int = 0


@dataclass(frozen=True)
class Done:
    """What working on a job gave: measured seconds, what became of its edits, and a note.

    `passed_over` are those that the method does not take, with the reasons; `outcome` is that of all others.
    """

    wall_s: float
    bank_len: int
    outcome: str = APPLIED
    note: str = ""
    passed_over: Mapping[str, str] = field(default_factory=dict)


def edits_made(saved: State) -> int:
    """Return how many edits a run had made when a state was saved, those before its editor was put back included."""
    simulation = saved.meta["simulation"]
    return int(simulation["before"]) + len(simulation["history"])


def edited_facts(
    job: Job, done: Done, step: int, sim_s: float, arrived_s: Sequence[float], knowledge_of: Callable[[Edit], str]
) -> list[Edited]:
    """Return the facts about a job's edits, which arrived at `arrived_s` and became visible at `sim_s`."""
    return [
        Edited(
            step=step,
            sim_s=sim_s,
            edit_id=edit.id,
            arrived_sim_s=at_s,
            visible_sim_s=sim_s,
            edit_wall_s=done.wall_s,
            batch_len=len(job.edits),
            prompt_kind=edit.prompt_kind,
            relation=edit.relation,
            note=done.passed_over.get(edit.id, done.note),
            outcome=SKIPPED if edit.id in done.passed_over else done.outcome,
            knowledge=knowledge_of(edit),
        )
        for edit, at_s in zip(job.edits, arrived_s, strict=True)
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
