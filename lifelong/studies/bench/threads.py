"""How much longer a run takes beside busy processes: the same run alone and beside them, in processes of its own.

Knows the command line's `run`; nothing of threads, editors or models. A run that waits for threads by spinning, or
that uses more of them than there are free cores, takes many times as long; a fair share of two cores among three
processes would be one and a half times.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from lifelong.running.config import load_config
from lifelong.running.words import parse_words
from lifelong.studies.engines.processes import run_processes

RUN_WORDS = ("editor=liveedit", "edits=20", "panels.latency_routes=0")
BUSY = """
import os, sys, threading
threading.Thread(target=lambda: sys.stdin.read() or os._exit(0), daemon=True).start()
while True: pass
"""  # until whoever started it closes its standard input, or ends


@dataclass(frozen=True)
class Beside:
    """Seconds of one run alone and beside `busy` processes, pair by pair."""

    busy: int
    alone_wall_s: tuple[float, ...]
    beside_wall_s: tuple[float, ...]

    @property
    def ratio(self) -> float:
        """How many times as long it took beside them: the median over pairs."""
        return median(b / a for a, b in zip(self.alone_wall_s, self.beside_wall_s, strict=True))

    def text(self) -> str:
        """Return two lines of words."""
        alone, beside = (", ".join(f"{s:.1f}" for s in some) for some in (self.alone_wall_s, self.beside_wall_s))
        lines = f"alone {alone} s; beside {self.busy} busy processes {beside} s"
        return f"{lines}\n{self.ratio:.2f} times as long beside them, on {os.cpu_count()} cores"


def run_beside(
    words: Sequence[str] = RUN_WORDS, *, busy: int = 2, times: int = 2, say: Callable[[str], None] = lambda _: None
) -> Beside:
    """Run `lifelong run WORDS` alone and beside `busy` processes that never rest, in turns, and return the seconds.

    The frozen model's answers are made before, outside of what is measured. Raises `RuntimeError` where a run fails.
    """
    alone, beside = [], []
    with tempfile.TemporaryDirectory() as folder:
        _timed(words, Path(folder) / "first", Path(folder))
        for number in range(times):
            alone.append(_timed(words, Path(folder) / f"alone-{number}", Path(folder)))
            others = [subprocess.Popen([sys.executable, "-c", BUSY], stdin=subprocess.PIPE) for _ in range(busy)]
            try:
                beside.append(_timed(words, Path(folder) / f"beside-{number}", Path(folder)))
            finally:
                for other in others:
                    other.kill()
                    other.wait()
            say(f"alone {alone[-1]:.1f} s, beside {busy} busy processes {beside[-1]:.1f} s")
    return Beside(busy, tuple(alone), tuple(beside))


def _timed(words: Sequence[str], out: Path, cache: Path) -> float:
    places = {"out": str(out), "cache": str(cache / "cache")}
    config = load_config(None, {**parse_words(words), **places})
    (done,) = run_processes([{"run": config.table()}])
    if done.code:
        raise RuntimeError(f"the run failed: {done.last_words}")
    return done.wall_s
