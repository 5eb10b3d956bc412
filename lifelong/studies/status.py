"""How far runs are: the rows of a sweep's table while it works, and of `lifelong status` later, from folders alone.

Knows status files and whether a run is finished; nothing of what runs measure.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lifelong.log import LogError, RunLog
from lifelong.log.hive import is_run, runs_below
from lifelong.log.shown import Shown
from lifelong.log.status import RunStatus, read_status, statuses_below
from lifelong.running.progress import in_clock, pace
from lifelong.running.words import ConfigError
from streams.text import printable

ORDER = ("failed", "running", "waiting", "stopped", "not started", "done")


@dataclass(frozen=True)
class RunRow:
    """A run and where it stands."""

    folder: Path
    status: RunStatus

    @property
    def state(self) -> str:
        """Its state; `lost` where it was running and has given no sign for a minute."""
        return "lost" if self.status.silent_s else self.status.state

    def cells(self) -> tuple[str, str, str, str, str, str]:
        """Return what a table shows: state, label, edits, pace, the numbers of its last panel, and the rest."""
        one, running = self.status, self.state == "running"
        numbers = "  ".join(f"{name} {value:.3f}" for name, value in one.numbers.items() if name != "bank")
        per_s = pace(1, 1 / one.edits_per_s) if running and one.edits_per_s > 0 else ""
        return self.state, one.label, f"{one.edits}/{one.total}" if one.total else "", per_s, numbers, self._rest()

    def _rest(self) -> str:
        one = self.status
        if self.state == "failed":
            return one.error
        if self.state == "lost":
            return f"no sign of it for {in_clock(one.silent_s)}, last on {one.host}; --resume goes on with it"
        if self.state == "running":
            left = "" if math.isnan(one.left_s) else f"about {in_clock(one.left_s)} left"
            return one.doing or left
        if self.state == "done":
            return f"in {in_clock(one.wall_s)}" if one.wall_s else ""
        return ""

    def line(self) -> str:
        """Return it as a line of words, without empty ones."""
        state, *others = self.cells()
        return printable(f"{state:<8}  " + "  ".join(word for word in others if word))


def status(folders: str | Path | Iterable[str | Path]) -> Sequence[RunRow]:
    """Return how far every run is that lies below folders (or is one), those of a sweep in its order.

    What a run says of itself is a hint: that it is finished is read off its folder, and a finished run counts as such
    whatever else is there. Raises `ConfigError` where no run is found.
    """
    given = [Path(path) for path in ([folders] if isinstance(folders, str | Path) else folders)]
    found: dict[Path, RunRow] = {}
    for path in given:
        own = {path: known} if (known := read_status(path)) is not None else {}
        told: Mapping[Path, RunStatus] = own | dict(statuses_below(path))
        places = [path, *(child for child in path.iterdir() if child.is_dir())] if path.is_dir() else []
        runs = sorted(
            {*told, *(run for place in places for run in runs_below(place))} | ({path} if is_run(path) else set())
        )
        for folder in sorted(runs):
            row = row_of(folder, told.get(folder))
            if row is not None:
                found[folder] = row
        if not runs:
            raise ConfigError(f"{path}: no run lies in it or below it, and none is planned there.")
    return Shown(sorted(found.values(), key=lambda row: (row.status.place, row.status.label)))


def row_of(folder: Path, told: RunStatus | None) -> RunRow | None:
    """Return the row of a run folder with what it said last; None where both are gone."""
    if not is_run(folder):
        return RunRow(folder, told) if told is not None and told.state != "done" else None
    try:
        log = RunLog.open(folder)
    except LogError as error:
        return RunRow(folder, RunStatus(folder.name, "failed", error=str(error)))
    label, edits = str(log.manifest.get("label") or folder.name), int(log.config().get("edits", 0))
    known = told or RunStatus(label, "stopped", edits)
    if log.done():
        return RunRow(folder, replace(known, state="done", edits=known.edits or known.total))
    return RunRow(folder, replace(known, state="stopped") if known.state == "done" else known)


def counted(rows: Sequence[RunRow]) -> str:
    """Return how many runs are in which state, in one line.

    >>> counted([RunRow(Path("a"), RunStatus("a", "done")), RunRow(Path("b"), RunStatus("b", "waiting"))])
    '2 runs: 1 waiting, 1 done'
    """
    counts = Counter(row.state for row in rows)
    named = ", ".join(f"{counts[state]} {state}" for state in (*ORDER[:2], "lost", *ORDER[2:]) if counts[state])
    return f"{len(rows)} runs: {named}"
