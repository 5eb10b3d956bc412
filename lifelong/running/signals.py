"""What asks a process to stop, as one exception: Ctrl-C, SIGTERM, SIGHUP, and the end of the process that started it.

Knows signals and exit codes; nothing of runs. A signal that is ignored (`nohup`) stays ignored.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

GRACE_S = 10.0
"""How long a process may take to end after it was asked to, before it is killed."""
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(BaseException):  # not a KeyboardInterrupt: libraries of command lines swallow that one
    """A signal asked this process to stop; `told` is set by whoever has said what is kept and how to go on."""

    def __init__(self, number: int) -> None:
        super().__init__(number)  # nothing else: libraries make exceptions anew from their `args`
        self.number = number
        self.told = False

    def __str__(self) -> str:
        return f"stopped by {signal.Signals(self.number).name}"

    @property
    def code(self) -> int:
        """The exit code that shells give a process that ended by this signal."""
        return 128 + self.number


@contextmanager
def stoppable() -> Iterator[None]:
    """Turn the first of Ctrl-C, SIGTERM and SIGHUP into `Stopped`, raised in the body; a second Ctrl-C ends at once.

    To be entered in the main thread, by a command; in Python a `KeyboardInterrupt` remains what it is.
    """
    stopped: list[int] = []

    def on_signal(number: int, _: FrameType | None) -> None:
        if not stopped:
            stopped.append(number)
            raise Stopped(number)
        if number == signal.SIGINT:
            os._exit(128 + number)

    before = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    for number, handler in before.items():
        if handler != signal.SIG_IGN:
            signal.signal(number, on_signal)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def mark_told(error: BaseException) -> None:
    """Note on a stop that its line was printed, so that a command does not print another."""
    if isinstance(error, Stopped):
        error.told = True


def end_with_starter(descriptor: int) -> None:
    """End this process when `descriptor` closes: the reading end of a pipe that its starter holds open.

    It is asked to stop first, as by SIGTERM, and ends after `GRACE_S` in any case. However the starter ended, even
    killed, its processes do not outlive it.
    """

    def watch() -> None:
        while os.read(descriptor, 4096):
            pass
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(GRACE_S)
        os._exit(128 + signal.SIGTERM)

    threading.Thread(target=watch, daemon=True, name="end-with-starter").start()
