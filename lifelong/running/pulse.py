"""The sign of life of a run: its status file, written every few seconds and once more when it ends, however it ends.

Knows what a display knows; nothing of how the work is done.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from lifelong.log.status import RunState, RunStatus, read_status, write_status
from lifelong.running.signals import Stopped, asked_to_stop
from streams.text import printable

EVERY_S = 5.0


@contextmanager
def pulse(folder: Path, status: Callable[[], RunStatus], *, every_s: float = EVERY_S) -> Iterator[None]:
    """Write what `status` returns beside a run folder while the body works, and how it ended."""
    over = threading.Event()
    known = read_status(folder)
    named = {} if known is None else {"place": known.place, "label": known.label}  # as a sweep calls it

    def write(state: RunState = "running", error: str = "") -> None:
        write_status(folder, replace(status(), state=state, error=error, **named))

    def beat() -> None:
        while not over.wait(every_s):
            write()

    write()
    beating = threading.Thread(target=beat, daemon=True, name="pulse")
    beating.start()
    state: RunState = "stopped"
    error = ""
    try:
        yield
        state = "done"
    except (KeyboardInterrupt, Stopped):
        raise
    except Exception as failure:
        if not asked_to_stop():
            state, error = "failed", first_line(failure)
        raise
    finally:
        over.set()
        beating.join()
        write(state, error)


def first_line(error: BaseException) -> str:
    """Return an error in one line: its first one, or its type where it says nothing.

    >>> first_line(ValueError("no such layer\\nsee above")), first_line(KeyError())
    ('no such layer', 'KeyError')
    """
    lines = str(error).strip().splitlines()
    return printable(lines[0]) if lines else type(error).__name__
