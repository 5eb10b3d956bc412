"""Many runs: the product of a grid, one operating-system process per cell, finished cells skipped.

Knows cells, what is planned for each, and processes; nothing about what a run does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lifelong.log.shown import Shown, short_repr
from lifelong.running.signals import mark_told
from lifelong.running.words import ConfigError
from lifelong.studies.grid import cells as cells
from lifelong.studies.grid import is_sweep as is_sweep
from lifelong.studies.planned import Planned, plan
from lifelong.studies.processes import Ended, run_processes


@dataclass(frozen=True)
class CellOutcome:
    """How a cell ended: its run folder, or the last line of its error; and its seconds."""

    label: str
    folder: Path | None
    error: str
    wall_s: float
    state: Literal["done", "finished already", "interrupted", "failed"] = "done"

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
    resume: bool = False,
    fresh: bool = False,
    say: Callable[[str], None] = lambda _: None,
    **changes: Any,
) -> list[CellOutcome]:
    """Run every cell of a sweep, `jobs` at a time, and return how each ended, in the order of the grid.

    `changes` are keys of the configuration; those that are lists vary (`editor=["none", "grace"]`, `seed=[0, 1]`).
    Everything is checked before the first cell starts; raises `ConfigError` naming the cell. `resume` goes on with
    partial cells, `fresh` replaces what is there, and without either a partial cell is an error. A failed cell does
    not stop the others. An interrupted sweep ends its cells within seconds; `resume` takes them up.
    """
    if resume and fresh:
        raise ConfigError("--resume goes on with runs and --fresh replaces them: give one of them.")
    planned = plan(source, changes, jobs=jobs, say=say).cells
    begun = [one for one in planned if one.state == "begun"]
    if begun and not (resume or fresh):
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
    todo = [number for number in range(len(planned)) if number not in outcomes]

    def ended(place: int, how: Ended) -> None:
        one = outcomes[todo[place]] = _outcome(planned[todo[place]], how)
        what = {"done": f"({one.folder})", "interrupted": "(--resume goes on with it)"}.get(one.state, one.error)
        say(f"{one.label}: {one.state} {'in' if one.state == 'done' else 'after'} {how.wall_s:.0f} s {what}")

    try:
        run_processes(
            [{"run": planned[n].cell.config.table(), "resume": not fresh, "fresh": fresh} for n in todo],
            jobs,
            live=jobs == 1,
            on_start=lambda place: say(f"{planned[todo[place]].cell.label}: started"),
            on_line=lambda place, line: say(f"[{planned[todo[place]].cell.label}] {line}"),
            on_end=ended,
        )
    except BaseException as error:
        if not isinstance(error, Exception):  # Ctrl-C or a signal: what is kept, and how to go on
            say(_what_is_kept(outcomes, len(planned)))
            mark_told(error)
        raise
    return Shown(outcomes[number] for number in range(len(planned)))


def _outcome(planned: Planned, how: Ended) -> CellOutcome:
    label = planned.cell.label
    if how.code == 0 and how.output:
        return CellOutcome(label, Path(how.output[-1]), "", how.wall_s)
    if how.stopped:
        return CellOutcome(label, None, "stopped; --resume goes on with it", how.wall_s, "interrupted")
    error = how.last_words.removeprefix("lifelong: ") or f"ended with code {how.code}"
    if how.code == -9:
        error = f"killed (by the system, if memory was short). Its last words: {error}"
    return CellOutcome(label, None, error, how.wall_s, "failed")


def _what_is_kept(outcomes: dict[int, CellOutcome], of: int) -> str:
    states = [one.state for one in outcomes.values()]
    done = sum(state in ("done", "finished already") for state in states)
    counts = (
        f"{done} of {of} runs are done, {states.count('interrupted')} interrupted, {of - len(states)} not started"
    )
    failed = f", {states.count('failed')} failed" if "failed" in states else ""
    return f"sweep: stopped; committed panels are kept: {counts}{failed}. Go on with --resume."
