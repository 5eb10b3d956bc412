"""How far a run is, as one small file beside its folder, for whoever looks on: a table of a sweep, `lifelong status`.

Knows no run and no fact; the file is a hint and never a truth: facts count by what the run folder vouches for.
"""

from __future__ import annotations

import json
import math
import os
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args

from lifelong.log.files import LogError, read_regular, write_atomic

RunState = Literal["waiting", "running", "done", "stopped", "failed", "not started"]
SILENT_S = 60.0
"""A run that writes nothing for so long while it is `running` was killed, or its machine was."""
_END = ".status.json"


@dataclass(frozen=True)
class RunStatus:
    """Where a run stands: `edits` of `total` are made, at `edits_per_s`, about `left_s` are left (nan: not known).

    `doing` says what is prepared, `error` is the first line of what went wrong, `place` orders the cells of a sweep,
    `at` is when this was written, in seconds since 1970.
    """

    label: str
    state: RunState
    total: int = 0
    edits: int = 0
    edits_per_s: float = math.nan
    left_s: float = math.nan
    numbers: dict[str, float] = field(default_factory=dict)
    doing: str = ""
    error: str = ""
    place: int = 0
    wall_s: float = 0.0
    at: float = field(default_factory=time.time)
    host: str = field(default_factory=socket.gethostname)
    process: int = field(default_factory=os.getpid)

    @property
    def silent_s(self) -> float:
        """Seconds since a running run gave its last sign, 0 where that is not long ago or it does not run."""
        passed = time.time() - self.at
        return passed if self.state == "running" and passed > SILENT_S else 0.0


def status_path(folder: Path) -> Path:
    """Return the file of a run folder's status; it lies beside the folder, which need not be there yet."""
    return folder.parent / f".{folder.name}{_END}"


def run_of_status(path: Path) -> Path:
    """Return the run folder that a status file is of."""
    return path.parent / path.name.removeprefix(".").removesuffix(_END)


def write_status(folder: Path, status: RunStatus) -> None:
    """Write a run's status; a disk that refuses is no reason to end a run, so nothing is raised."""
    data = json.dumps(asdict(status)).encode()
    with suppress(LogError, OSError):
        folder.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(status_path(folder), lambda file: file.write(data))


def read_status(folder: Path) -> RunStatus | None:
    """Return a run's status; None where there is none, or none that can be read."""
    try:
        known: Any = json.loads(read_regular(status_path(folder)))
        found = RunStatus(**{f.name: known[f.name] for f in fields(RunStatus)})
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if found.state in get_args(RunState) else None


def statuses_below(folder: Path) -> Iterator[tuple[Path, RunStatus]]:
    """Yield every run folder below `folder` that has a status, with it."""
    for path in sorted(folder.rglob(f".*{_END}")):
        status = read_status(run := run_of_status(path))
        if status is not None:
            yield run, status
