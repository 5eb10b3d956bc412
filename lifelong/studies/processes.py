"""Processes of a study: each is told on its standard input what to do, and none outlives the process that started it.

Knows the door `lifelong.cli.cell` by its name and the JSON that it takes; nothing of what is run. There are no files
in between: a process that is killed leaves none behind.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import IO, Any

from lifelong.running.signals import GRACE_S, STOP_SIGNALS

# glibc gives large blocks back to the system at once; logits of every batch would be paged in anew (4 % of a run).
ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": str(1 << 30), "MALLOC_TRIM_THRESHOLD_": str(1 << 32)}
OUT_OF_TIME_S = 2.0  # for the last lines of a process that has ended: a grandchild may hold its pipes


@dataclass(frozen=True)
class Ended:
    """How a process ended: exit code, the lines of its standard output, the last line of standard error, seconds.

    `asked`: it was asked to stop by us, and killed where it took too long.
    """

    code: int
    output: tuple[str, ...]
    last_words: str
    wall_s: float
    asked: bool = False

    @property
    def stopped(self) -> bool:
        """Whether it was asked to stop, by us or by a signal from elsewhere: it did not fail."""
        return self.asked or self.code in {sign for number in STOP_SIGNALS for sign in (-number, 128 + number)}


def run_processes(
    requests: Sequence[Mapping[str, Any]],
    jobs: int = 1,
    *,
    sharing: int = 0,
    live: bool = False,
    on_start: Callable[[int], None] = lambda _: None,
    on_line: Callable[[int, str], None] = lambda _, __: None,
    on_end: Callable[[int, Ended], None] = lambda _, __: None,
) -> list[Ended]:
    """Start a process for each request, `jobs` at a time, and return how each ended, in the order of the requests.

    Each gets its share of the cores among `sharing` processes (by default `jobs`). Where standard error is a
    terminal, `live` leaves it to them. Callbacks get a request's place: when it starts, for each line of its
    standard error (from another thread), and when it ends. Whatever is raised meanwhile, also `KeyboardInterrupt`,
    asks those that run to stop, kills them `GRACE_S` later, and passes on; `on_end` is called for them, too.
    """
    words = [sys.executable, "-m", "lifelong.cli.cell"]
    environment = _environment(sharing or jobs)
    live = live and sys.stderr.isatty()
    found: dict[int, Ended] = {}
    arrived: queue.SimpleQueue[tuple[int, Ended]] = queue.SimpleQueue()
    running: dict[int, subprocess.Popen[str]] = {}
    todo = iter(enumerate(requests))

    def take(number: int, ended: Ended) -> None:
        del running[number]
        found[number] = ended
        on_end(number, ended)

    try:
        while len(found) < len(requests):
            while len(running) < jobs and (following := next(todo, None)) is not None:
                number, request = following
                on_start(number)
                running[number] = process = subprocess.Popen(
                    words,
                    env=environment,
                    text=True,
                    errors="replace",
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=None if live else subprocess.PIPE,
                )
                hear = (number, process, request, lambda line, n=number: on_line(n, line), arrived)
                threading.Thread(target=_attend, args=hear, daemon=True).start()
            take(*arrived.get())
    except BaseException:
        end_all(running.values())
        with suppress(queue.Empty):
            while running:
                number, ended = arrived.get(timeout=2 * OUT_OF_TIME_S)
                take(number, replace(ended, asked=True))
        raise
    return [found[number] for number in range(len(requests))]


def end_all(processes: Iterable[subprocess.Popen[str]]) -> None:
    """Ask processes to stop; kill those that have not ended `GRACE_S` later, or at once when interrupted again."""
    alive = [process for process in processes if process.poll() is None]
    until = time.monotonic() + GRACE_S
    try:
        for process in alive:
            process.terminate()
        for process in alive:
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, until - time.monotonic()))
    finally:
        for process in alive:
            if process.poll() is None:
                process.kill()
                process.wait()


def _environment(jobs: int) -> dict[str, str]:
    environment = ALLOCATOR | dict(os.environ)
    if jobs > 1:  # each process its share of the cores: more threads than cores only wait for one another
        environment.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // jobs)))
    return environment


def _attend(
    number: int,
    process: subprocess.Popen[str],
    request: Mapping[str, Any],
    on_line: Callable[[str], None],
    arrived: queue.SimpleQueue[tuple[int, Ended]],
) -> None:
    """Tell a process what to do, read what it says, pass on how it ended; its standard input stays open so long."""
    started = time.monotonic()
    last_words: list[str] = []
    output: list[str] = []
    ears = [
        threading.Thread(target=_listen, args=(process.stderr, last_words, on_line), daemon=True),
        threading.Thread(target=_listen, args=(process.stdout, output, lambda _: None), daemon=True),
    ]
    for ear in ears:
        ear.start()
    if process.stdin is not None:
        with suppress(OSError):  # it ended before it listened
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
    code = process.wait()
    for ear in ears:
        ear.join(OUT_OF_TIME_S)
    if process.stdin is not None:
        with suppress(OSError):
            process.stdin.close()
    said = last_words[-1] if last_words else ""
    arrived.put((number, Ended(code, tuple(output), said, time.monotonic() - started)))


def _listen(stream: IO[str] | None, lines: list[str], on_line: Callable[[str], None]) -> None:
    for line in stream or ():
        lines.append(line.rstrip())
        on_line(lines[-1])
