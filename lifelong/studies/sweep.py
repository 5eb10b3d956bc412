"""Many runs: the product of a grid, one operating-system process per cell, finished cells skipped.

Knows configurations, runs' labels and the command line's `run`; nothing about what a run does.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from lifelong.running.config import RunConfig, find_table, from_table
from lifelong.running.labels import label_of_words
from lifelong.running.prepare import resolve
from lifelong.running.words import ConfigError, to_toml, words_of
from streams.near import near

SWEEP_KEYS = ("title", "run", "grid")
# glibc gives large blocks back to the system at once; logits of every batch would be paged in anew (4 % of a run).
ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": str(1 << 30), "MALLOC_TRIM_THRESHOLD_": str(1 << 32)}


@dataclass(frozen=True)
class Cell:
    """One run of a sweep: what sets it apart (its run's label and what else the grid varies), its configuration."""

    label: str
    config: RunConfig


@dataclass(frozen=True)
class CellOutcome:
    """How a cell ended: its run folder, or the last line of its error; and its seconds."""

    label: str
    folder: Path | None
    error: str
    wall_s: float


def is_sweep(source: str) -> bool:
    """Return whether a recipe or file has a grid; raises `ConfigError` where there is none of that name."""
    return bool(find_table(source).get("grid"))


def cells(source: str, changes: Mapping[str, Any] | None = None) -> list[Cell]:
    """Return the cells of a sweep recipe or file with changes by dotted key.

    A change of a key that the grid varies replaces its values: `editor=none,ft` runs these two. Every cell's
    configuration is checked before anything runs; raises `ConfigError`.
    """
    table = find_table(source)
    if not table.get("grid"):
        raise ConfigError(f"{source} is one run (it has no [grid] of lists): use `lifelong run {source}`.")
    for key in table:
        if key not in SWEEP_KEYS:
            raise ConfigError(f"{source}: a sweep has no table {key!r}.{near(key, SWEEP_KEYS)}")
    changes = dict(changes or {})
    grid = {k: _values(changes.pop(k, v)) for k, v in table["grid"].items()}
    found = []
    for values in itertools.product(*grid.values()):
        own = dict(zip(grid, values, strict=True))
        config = from_table(table.get("run", {}), {**changes, **own})
        found.append(Cell(_label(config, own), config))
    return found


def _label(config: RunConfig, own: Mapping[str, Any]) -> str:
    try:
        label = resolve(config).label
    except (ValueError, OSError, ImportError):  # the cell's own run says what is wrong with its editor
        label = label_of_words(config.editor.name, config.editor.options)
    rest = {k: v for k, v in own.items() if k.split(".")[0] != "editor"}
    return " ".join([label, *words_of(rest)])


def _values(given: Any) -> list[Any]:
    return list(given) if isinstance(given, list | tuple) else [given]


def sweep(
    source: str,
    changes: Mapping[str, Any] | None = None,
    *,
    jobs: int = 1,
    fresh: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> list[CellOutcome]:
    """Run every cell of a sweep, `jobs` at a time, and return how each ended, in the order of the grid.

    A partial cell is gone on with (or replaced, with `fresh`). A failed cell does not stop the others.
    """
    if jobs < 1:
        raise ConfigError(f"jobs={jobs}: expected at least 1.")
    todo = cells(source, changes)
    with tempfile.TemporaryDirectory(prefix="lifelong-sweep-") as folder, ThreadPoolExecutor(jobs) as pool:
        waiting = []
        for i, cell in enumerate(todo):
            path = Path(folder) / f"cell-{i}.toml"
            path.write_text(to_toml(cell.config.table()))
            waiting.append(pool.submit(_run_cell, cell, path, jobs, fresh, say))
        return [w.result() for w in waiting]


def _run_cell(cell: Cell, path: Path, jobs: int, fresh: bool, say: Callable[[str], None]) -> CellOutcome:
    started = time.perf_counter()
    say(f"{cell.label}: started")
    environment = ALLOCATOR | dict(os.environ)
    if jobs > 1:  # each process its share of the cores: more threads than cores only wait for one another
        environment.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // jobs)))
    words = [sys.executable, "-m", "lifelong.cli", "run", str(path), "--fresh" if fresh else "--resume"]
    alone = jobs == 1 and sys.stderr.isatty()
    process = subprocess.Popen(
        words, env=environment, text=True, stdout=subprocess.PIPE, stderr=None if alone else subprocess.PIPE
    )
    last_words: list[str] = []
    listener = threading.Thread(target=_listen, args=(process.stderr, cell.label, last_words, say))
    listener.start()
    output = process.stdout.read().splitlines() if process.stdout else []
    code = process.wait()
    listener.join()
    wall_s = time.perf_counter() - started
    if code == 0 and output:
        say(f"{cell.label}: done in {wall_s:.0f} s ({output[-1]})")
        return CellOutcome(cell.label, Path(output[-1]), "", wall_s)
    error = last_words[-1] if last_words else f"ended with code {code}"
    say(f"{cell.label}: failed after {wall_s:.0f} s: {error}")
    return CellOutcome(cell.label, None, error, wall_s)


def _listen(stream: IO[str] | None, label: str, last_words: list[str], say: Callable[[str], None]) -> None:
    for line in stream or ():
        last_words[:] = [line.rstrip()]
        say(f"[{label}] {line.rstrip()}")
