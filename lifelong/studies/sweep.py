"""Many runs: the product of a grid, one operating-system process per cell, finished cells skipped.

Knows cells, what is planned for each, and where they run; nothing about what a run does.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from lifelong.log.folder import remove_run
from lifelong.log.shown import Shown, short_repr
from lifelong.log.status import RunState, RunStatus, read_status, write_status
from lifelong.running.run import locked
from lifelong.running.signals import GRACE_S, mark_told
from lifelong.running.words import ConfigError
from lifelong.studies.engines.engine import CellEngine, Ended, Hearer, Request
from lifelong.studies.engines.processes import run_processes
from lifelong.studies.grid import cells as cells
from lifelong.studies.grid import is_sweep as is_sweep
from lifelong.studies.live_table import LiveTable
from lifelong.studies.planned import Planned, plan


@dataclass(frozen=True)
class CellOutcome:
    """How a cell ended: its run folder, or the last line of its error; and its seconds."""

    label: str
    folder: Path | None
    error: str
    wall_s: float
    state: Literal["done", "finished already", "interrupted", "failed", "not started"] = "done"

    __repr__ = short_repr

    def line(self) -> str:
        """Return it as a row."""
        said = f"{self.folder}" if self.folder else f"{self.state.upper()}: {self.error}"
        if self.state == "finished already":
            said += "  (finished already)"
        return f"{self.wall_s:8.1f} s  {self.label}  {said}"


def sweep(
    source: str | None = None,
    *,
    jobs: int = 1,
    engine: CellEngine | None = None,
    resume: bool = False,
    fresh: bool = False,
    retry: bool = False,
    table: bool = False,
    say: Callable[[str], None] = lambda _: None,
    **changes: Any,
) -> list[CellOutcome]:
    """Run every cell of a sweep, `jobs` at a time, and return how each ended, in the order of the grid.

    `changes` are keys of the configuration; those that are lists vary (`editor=["none", "grace"]`, `seed=[0, 1]`).
    Everything is checked before the first cell starts; raises `ConfigError` naming the cell. `resume` goes on with
    partial cells, `fresh` replaces what is there, `retry` takes up only those that failed, and without any of them a
    partial cell is an error. A failed cell does not stop the others. An interrupted sweep ends its cells, which
    commit what they have; `resume` takes them up. `engine` is where cells run instead of in processes here
    (`lifelong.studies.engines`). `table` shows on standard error how far all are.
    """
    if resume + fresh + retry > 1:
        raise ConfigError(
            "--resume goes on with runs, --fresh replaces them, --retry goes on with those that failed: give one."
        )
    planned = plan(source, changes, jobs=jobs, say=say).cells
    begun = [one for one in planned if one.state == "begun"]
    if begun and not (resume or fresh or retry):
        names = ", ".join(one.cell.label for one in begun[:5]) + (", ..." if len(begun) > 5 else "")
        raise ConfigError(
            f"{len(begun)} of {len(planned)} runs are begun and not finished ({names}). Go on with --resume, or "
            "start them over with --fresh."
        )
    outcomes: dict[int, CellOutcome] = {}
    for number, one in enumerate(planned):
        if one.state == "finished" and not fresh:
            say(f"{one.cell.label}: finished already ({one.folder})")
            outcomes[number] = CellOutcome(one.cell.label, one.folder, "", 0.0, "finished already")
        elif retry and not _failed(one.folder):
            outcomes[number] = CellOutcome(one.cell.label, None, "left as it is: it did not fail", 0.0, "not started")
    todo = [number for number in range(len(planned)) if number not in outcomes]
    for number in todo:
        _announce(planned[number], number, fresh=fresh)
    with LiveTable([planned[n].folder for n in todo]) if table and todo else nullcontext() as live:
        tell = say if live is None else live.say

        def ended(place: int, how: Ended) -> None:
            one = outcomes[todo[place]] = _outcome(planned[todo[place]], how)
            what = {"done": f"({one.folder})", "interrupted": "(--resume goes on with it)"}.get(one.state, one.error)
            tell(f"{one.label}: {one.state} {'in' if one.state == 'done' else 'after'} {how.wall_s:.0f} s {what}")

        told = Hearer(
            on_start=lambda place: tell(f"{planned[todo[place]].cell.label}: started"),
            on_line=lambda place, line: tell(f"[{planned[todo[place]].cell.label}] {line}"),
            on_end=ended,
        )
        try:
            run = engine or partial(run_processes, jobs=jobs)
            wait_s = 0.0 if engine is None else TAKEN_OVER_S
            run([_request(planned[n], notes_only=table, wait_s=wait_s) for n in todo], told=told)
        except BaseException as error:
            for number in set(todo) - outcomes.keys():
                _note(planned[number], number, "not started")
            if not isinstance(error, Exception):  # Ctrl-C or a signal: what is kept, and how to go on
                tell(_what_is_kept(outcomes, len(planned)))
                mark_told(error)
            raise
    return Shown(outcomes[number] for number in range(len(planned)))


TAKEN_OVER_S = 2 * GRACE_S
"""How long a cell on a cluster waits for the process that had it before, whose machine may not know yet."""


def _request(planned: Planned, *, notes_only: bool, wait_s: float) -> Request:
    """Return what a cell's process is told; its folder is named here, because other processors name it otherwise."""
    into = str(planned.folder.absolute())
    how = {"resume": True, "notes_only": notes_only, "wait_s": wait_s, "into": into}
    return {"run": planned.cell.config.table(), "how": how}


def _announce(planned: Planned, place: int, *, fresh: bool) -> None:
    """Clear the place of a cell that begins anew, and write down that it waits, unless somebody is at work there."""
    if fresh:
        with locked(planned.folder):
            remove_run(planned.folder)
    known = read_status(planned.folder)
    if known is None or known.state != "running" or known.silent_s:
        _note(planned, place, "waiting")


def _note(planned: Planned, place: int, state: RunState) -> None:
    known = read_status(planned.folder) if planned.state == "begun" else None
    known = known or RunStatus(planned.cell.label, state, planned.cell.config.edits)
    write_status(planned.folder, replace(known, label=planned.cell.label, state=state, place=place, error=""))


def _failed(folder: Path) -> bool:
    known = read_status(folder)
    return known is not None and known.state == "failed"


def _outcome(planned: Planned, how: Ended) -> CellOutcome:
    label = planned.cell.label
    if how.code == 0 and how.output:
        return CellOutcome(label, planned.folder, "", how.wall_s)
    if how.stopped:
        return CellOutcome(label, None, "stopped; --resume goes on with it", how.wall_s, "interrupted")
    error = how.last_words.removeprefix("lifelong: ") or f"ended with code {how.code}"
    if how.code == -9:
        error = f"killed (by the system, if memory was short). Its last words: {error}"
    known = read_status(planned.folder)
    if known is not None:
        write_status(planned.folder, replace(known, state="failed", error=error))
    if how.where:
        error += f" (more in {how.where})"
    return CellOutcome(label, None, error, how.wall_s, "failed")


def _what_is_kept(outcomes: dict[int, CellOutcome], of: int) -> str:
    states = [one.state for one in outcomes.values()]
    done = sum(state in ("done", "finished already") for state in states)
    idle = of - len(states) + states.count("not started")
    counts = f"{done} of {of} runs are done, {states.count('interrupted')} interrupted, {idle} not started"
    failed = f", {states.count('failed')} failed" if "failed" in states else ""
    return f"sweep: stopped; committed panels are kept: {counts}{failed}. Go on with --resume."
