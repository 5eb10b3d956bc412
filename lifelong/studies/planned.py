"""What a sweep is going to do: its cells, each one's folder and whether it is finished, and about how long they take.

Knows prepared runs and their logs. Everything is checked in a process of its own, in the environment of the cells,
without the weights of a model that does not ship: a cell's own process loads them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from lifelong.log import LogError, RunLog
from lifelong.log.hive import is_run, runs_below
from lifelong.running.config import NOT_HASHED, RunConfig
from lifelong.running.plan import in_bytes, plan_run, planned_run
from lifelong.running.prepare import Loaded, Prepared, model_key, prepare, resolve, stream_key
from lifelong.running.progress import LOADING_AFTER_S, heartbeat, in_clock
from lifelong.running.ready import check_ready
from lifelong.running.signals import Stopped
from lifelong.running.words import ConfigError
from lifelong.studies.engines.engine import Ended, Hearer
from lifelong.studies.engines.processes import run_processes
from lifelong.studies.grid import Cell, cells

HowFar = Literal["finished", "begun", "new"]


@dataclass(frozen=True)
class Needed:
    """What a cell takes: bytes of weights, of what the editor stores at the end (None: not known), of caches at most.

    `asked` are answers that panels ask for at most. `trial_wall_s` are the seconds at most by a trial edit (nan: none
    was made).
    """

    weights_bytes: int
    bank_bytes: int | None
    cache_bytes: int
    asked: int
    trial_wall_s: float = math.nan

    @property
    def resident_bytes(self) -> int:
        """Bytes of memory at most, without what torch itself takes."""
        return self.weights_bytes + (self.bank_bytes or 0) + self.cache_bytes

    @property
    def disk_bytes(self) -> int:
        """Bytes on the disk, about: facts, and the state of the last two panels."""
        return self.asked * ANSWER_BYTES + 2 * (self.bank_bytes or 0)

    def line(self) -> str:
        """Return it in words."""
        known = "not known before an edit" if self.bank_bytes is None else in_bytes(self.bank_bytes)
        caches = f"caches {in_bytes(self.cache_bytes)} at most"
        return f"weights {in_bytes(self.weights_bytes)}, bank {known}, {caches}; disk {in_bytes(self.disk_bytes)}"


ANSWER_BYTES = 40  # of an answer's rows in Parquet: 6 to 25 bytes a row in finished runs, two or three rows an answer


@dataclass(frozen=True)
class Planned:
    """One cell that could start: its folder, how far it is, an estimate of its seconds (nan: unknown), its needs."""

    cell: Cell
    folder: Path
    state: HowFar
    wall_s: float
    needed: Needed | None = None

    def lines(self) -> list[str]:
        """Return it as a row, and one for what it needs where it still has to run."""
        cost = "" if self.state == "finished" or math.isnan(self.wall_s) else f"  about {in_clock(self.wall_s)}"
        row = f"{self.state:<8}  {self.cell.label}  {self.folder}{cost}"
        return [row] if self.state == "finished" or self.needed is None else [row, f"          {self.needed.line()}"]


@dataclass(frozen=True)
class Plan:
    """The cells of a sweep in the order of its grid, and how many run at a time."""

    cells: tuple[Planned, ...]
    jobs: int

    def lines(self) -> list[str]:
        """Return a row for each cell, and how many there are with the time that they take together."""
        left = [one for one in self.cells if one.state != "finished"]
        known = [one.wall_s for one in left if not math.isnan(one.wall_s)]
        if len(known) < len(left):
            time = "time unknown until a first cell of each editor ran; --trial makes an edit of each"
        else:
            time = f"about {in_clock(sum(known) / self.jobs)} in all, by finished runs beside them and trial edits"
        counts = f"{len(self.cells)} runs, {len(self.cells) - len(left)} finished, {self.jobs} at a time"
        needs = sorted((one.needed.resident_bytes for one in left if one.needed is not None), reverse=True)
        disk = sum(one.needed.disk_bytes for one in left if one.needed is not None)
        memory = f"memory about {in_bytes(sum(needs[: self.jobs]))} at a time and torch's own, disk {in_bytes(disk)}"
        told = [counts, time, memory] if needs else [counts, time] if left else [counts]
        return [*(line for one in self.cells for line in one.lines()), "; ".join(told)]


def plan(
    source: str | None,
    changes: Mapping[str, Any] | None = None,
    *,
    jobs: int = 1,
    needs: bool = False,
    trial: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> Plan:
    """Return what a sweep would do; called before its first cell starts, or instead (`--dry-run`).

    With `needs` it is told what memory and disk each cell takes, with `trial` also how long, by one edit and its
    answers on the model for all cells that differ in their seed alone and of which none has run before. Raises
    `ConfigError` naming the first cell that could not start, and for two cells that are one run.
    """
    if jobs < 1:
        raise ConfigError(f"jobs={jobs}: expected at least 1.")
    todo = cells(source, changes)
    request = {"check": [cell.config.table() for cell in todo], "needs": needs or trial, "trial": trial}
    errors: list[str] = []
    with heartbeat(say, f"checking {len(todo)} runs", after_s=LOADING_AFTER_S):
        (ended,) = run_processes([request], told=Hearer(on_line=lambda _, line: errors.append(line)), sharing=jobs)
    _raise_unless_checked(ended, todo, errors)
    taken = _taken_wall_s({cell.config.out for cell in todo})
    found: dict[str, Cell] = {}
    planned: dict[int, Planned] = {}
    for told in map(json.loads, ended.output):
        if "folder" in told:
            cell, folder = todo[told["cell"]], Path(told["folder"])
            needed = Needed(**told["needed"]) if "needed" in told else None
            tried_wall_s = math.nan if needed is None else needed.trial_wall_s
            wall_s = taken.get(_but_for_seed(cell.config.table()), tried_wall_s)
            planned[told["cell"]] = Planned(cell, folder, told["state"], wall_s, needed)
            if told["folder"] in found:
                raise ConfigError(
                    f"{found[told['folder']].label} and {cell.label} are one run ({folder}): leave one out."
                )
            found[told["folder"]] = cell
    return Plan(tuple(planned[number] for number in range(len(todo))), jobs)


def _raise_unless_checked(ended: Ended, todo: Sequence[Cell], errors: Sequence[str]) -> None:
    if ended.code == 0:
        return
    if ended.stopped:
        raise Stopped(ended.code - 128 if ended.code > 128 else -ended.code)
    reached = [json.loads(line)["cell"] for line in ended.output]
    name = f"{todo[reached[-1]].label}: " if reached else ""
    said = errors[-1].removeprefix("lifelong: ") if errors else f"its check ended with code {ended.code}"
    raise ConfigError(f"{name}{said}")


def checked(configs: Sequence[RunConfig], *, needs: bool = False, trial: bool = False) -> Iterator[dict[str, Any]]:
    """Yield for each configuration that it is checked now, then its folder and state; raises what is wrong with it.

    Called in the process of its own; every cell says its number of threads, so that no weights are needed to name its
    folder. Those that share a model or a stream are checked one after the other. `needs` and `trial` as for `plan`.
    """
    tried = dict[str, float]()
    loaded = Loaded()
    order = sorted(range(len(configs)), key=lambda n: (model_key(configs[n]), stream_key(configs[n])))
    for number in order:
        yield {"cell": number}
        ready = prepare(resolve(configs[number]), loaded=loaded, empty=True)
        check_ready(ready, lambda _: None)
        state: HowFar = "new"
        if is_run(ready.folder):
            state = "finished" if RunLog.open(ready.folder).done() else "begun"
        told = {"cell": number, "folder": str(ready.folder), "state": state}
        if needs and state != "finished":
            alike = _but_for_seed(configs[number].table())
            if trial and alike not in tried:
                tried[alike] = plan_run(configs[number], trial=True).most_wall_s
            told["needed"] = asdict(_needed(ready, tried.get(alike, math.nan)))
        yield told


def _needed(ready: Prepared, trial_wall_s: float) -> Needed:
    plan = planned_run(ready)
    return Needed(plan.weights_bytes, plan.bank_bytes, ready.config.cache_bytes, plan.asked, trial_wall_s)


def _taken_wall_s(folders: Iterable[str]) -> dict[str, float]:
    """Return the mean seconds of the finished runs in some folders, by all of their configuration but the seed."""
    taken: dict[str, list[float]] = {}
    for run in (path for folder in folders for path in runs_below(Path(folder)) if (path / "DONE").exists()):
        try:
            log = RunLog.open(run)
            wall_s = sum(map(float, log.notes["wall_s"].values()))
            taken.setdefault(_but_for_seed(log.config()), []).append(wall_s)
        except (LogError, OSError, ValueError, KeyError, AttributeError):
            continue  # another version's run, or a damaged one: it tells nothing about time
    return {key: sum(each) / len(each) for key, each in taken.items()}


def _but_for_seed(table: Mapping[str, Any]) -> str:
    kept = {k: v for k, v in table.items() if k not in (*NOT_HASHED, "seed", "name")}
    return json.dumps(kept, sort_keys=True, default=str)
