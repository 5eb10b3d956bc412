"""What asks a process to stop, as one exception: Ctrl-C, a signal, and the end of the process that started it.

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

GRACE_S = 60.0
"""How long a process may take to end after it was asked to, before it is killed: a panel at work is ended first."""
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR2)  # the last is a cluster's warning


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


class _Handler:
    """What handles signals while a command works; `number` is the first one that came.

    `patient`: whoever works asks by itself, and must not be torn out of it.
    """

    def __init__(self) -> None:
        self.number = 0
        self.patient = False

    def __call__(self, number: int, _: FrameType | None) -> None:
        first, self.number = not self.number, self.number or number
        if first and self.patient:
            os.write(2, _PATIENT)  # a handler must not print: the print that it interrupts may hold the stream
        elif first or (self.patient and number == signal.SIGINT):
            self.patient = False
            raise Stopped(self.number)
        elif number == signal.SIGINT:
            os._exit(128 + number)


_PATIENT = b"lifelong: stopping: the edit or panel at work is finished and committed first; Ctrl-C leaves at once.\n"


@contextmanager
def stoppable() -> Iterator[None]:
    """Turn the first of `STOP_SIGNALS` into `Stopped`, raised in the body; a second Ctrl-C ends at once.

    In a part that is `patient` the first one waits for it, the second Ctrl-C raises, and the third ends at once.

    To be entered in the main thread, by a command; in Python a `KeyboardInterrupt` remains what it is. What a library
    makes of an exception that meets it at work (a file that cannot be written, say) is `Stopped` again afterwards.
    """
    handler = _Handler()
    before = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    for number, known in before.items():
        if known != signal.SIG_IGN:
            signal.signal(number, handler)
    try:
        yield
    except Stopped:
        raise
    except BaseException as error:
        if handler.number:
            raise Stopped(handler.number) from error
        raise
    finally:
        for number, known in before.items():
            signal.signal(number, known)


@contextmanager
def patient() -> Iterator[None]:
    """Let the body end by itself where a signal comes: it looks at `asked_to_stop`; a second Ctrl-C raises `Stopped`.

    Without `stoppable` around it this does nothing.
    """
    handlers = _handlers()
    try:
        for handler in handlers:
            handler.patient = True
        yield
    finally:
        for handler in handlers:
            handler.patient = False


def asked_to_stop() -> int:
    """Return the signal that asked this process to stop, 0 where none did."""
    return max((handler.number for handler in _handlers()), default=0)


def _handlers() -> list[_Handler]:
    known = (signal.getsignal(number) for number in STOP_SIGNALS)
    return [handler for handler in known if isinstance(handler, _Handler)]


def stop_if_asked() -> None:
    """Raise `Stopped` where a signal came and something swallowed the exception; to be called in long loops."""
    number = asked_to_stop()
    if number:
        raise Stopped(number)


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
