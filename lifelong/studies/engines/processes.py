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
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import IO

from lifelong.running.signals import GRACE_S
from lifelong.studies.engines.engine import ALL_DONE, NOBODY, Ended, Hearer, Request

# glibc gives large blocks back to the system at once; logits of every batch would be paged in anew (4 % of a run).
ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": str(1 << 30), "MALLOC_TRIM_THRESHOLD_": str(1 << 32)}
OUT_OF_TIME_S = 2.0  # for the last lines of a process that has ended: a grandchild may hold its pipes


def run_processes(
    requests: Sequence[Request], jobs: int = 1, told: Hearer = NOBODY, *, sharing: int = 0
) -> list[Ended]:
    """Start a process for each request, `jobs` at a time, and return how each ended, in the order of the requests.

    Each gets its share of the cores among `sharing` processes (by default `jobs`). Whatever is raised meanwhile, also
    `KeyboardInterrupt`, asks those that run to stop, kills them `GRACE_S` later, and passes on; `on_end` is called
    for them, too.
    """
    cores = max(1, (os.cpu_count() or 1) // (sharing or jobs))
    found: dict[int, Ended] = {}
    arrived: queue.SimpleQueue[tuple[int, Ended]] = queue.SimpleQueue()
    running: dict[int, subprocess.Popen[str]] = {}
    todo = iter(enumerate(requests))

    def take(number: int, ended: Ended) -> None:
        del running[number]
        found[number] = ended
        told.on_end(number, ended)

    def attend(number: int, process: subprocess.Popen[str], request: Request) -> None:
        arrived.put((number, attended(process, request, lambda line: told.on_line(number, line))))

    try:
        while len(found) < len(requests):
            while len(running) < jobs and (following := next(todo, None)) is not None:
                number, request = following
                told.on_start(number)
                running[number] = process = started(cores if (sharing or jobs) > 1 else 0)
                threading.Thread(target=attend, args=(number, process, request), daemon=True).start()
            take(*arrived.get())
    except BaseException:
        end_all(running.values())
        with suppress(queue.Empty):
            while running:
                number, ended = arrived.get(timeout=2 * OUT_OF_TIME_S)
                take(number, replace(ended, asked=True))
        raise
    return [found[number] for number in range(len(requests))]


def started(cores: int = 0, home: str | None = None) -> subprocess.Popen[str]:
    """Start a process in a folder, which waits to be told what to do; so many threads compute (0: as it chooses)."""
    environment = ALLOCATOR | dict(os.environ)
    if cores:  # each process its share of the cores: more threads than cores only wait for one another
        environment.setdefault("OMP_NUM_THREADS", str(cores))
    return subprocess.Popen(
        [sys.executable, "-m", "lifelong.cli.cell"],
        env=environment,
        cwd=home,
        text=True,
        errors="replace",
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def attended(process: subprocess.Popen[str], request: Request, on_line: Callable[[str], None]) -> Ended:
    """Tell a process what to do, hear what it says, return how it ended; its standard input stays open so long.

    One that has said `ALL_DONE` has done its work, however it leaves: libraries abort now and then while a process
    ends. That is told by `on_line`.
    """
    begun = time.monotonic()
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
    if output[-1:] == [ALL_DONE]:
        output.pop()
        if code:
            on_line(f"its work was done when its process ended with code {code}")
        code = 0
    return Ended(code, tuple(output), last_words[-1] if last_words else "", time.monotonic() - begun)


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


def _listen(stream: IO[str] | None, lines: list[str], on_line: Callable[[str], None]) -> None:
    for line in stream or ():
        lines.append(line.rstrip())
        on_line(lines[-1])
