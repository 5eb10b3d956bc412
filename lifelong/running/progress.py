"""What a run shows while it works: one live line on a terminal, plain lines elsewhere. Always on standard error.

Knows facts by their names only; nothing about how they come about. Something is shown at least every ten seconds.
"""

from __future__ import annotations

import math
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import IO, Any

from lifelong.log import Fact, Gauged
from lifelong.log.status import RunStatus
from lifelong.running.panel_numbers import means_of
from lifelong.running.remaining import Remaining, Stretch
from streams.text import printable

PLAIN_EVERY_S = 10.0
NOTES_SHOWN = 3  # edits or withdrawals of a run that went wrong and are told one by one
LOADING_AFTER_S = PLAIN_EVERY_S  # what is wrong is mostly found before, and is said in one line then


class Progress:
    """The display of one run; `close` it, also after an error (or use it as a context)."""

    def __init__(
        self,
        title: str,
        total: int,
        *,
        stream: IO[str] | None = None,
        quiet: bool = False,
        notes_only: bool = False,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.title, self.total = title, total
        self.stream = stream if stream is not None else sys.stderr
        self.quiet, self.clock = quiet, clock
        self.notes_only = notes_only  # somebody else shows how far it is, by `status`
        self.numbers: dict[str, float] = {}
        self.remaining: Remaining | None = None
        self._step, self._first_step, self._shown_at = 0, 0, clock()
        self._made = self._started = self._panel_at = self._doing_since = clock()
        self._panel_step, self._edit_wall_s, self._panels_left = 0, 0.0, [math.nan]
        self._doing = ""
        self.note = few_notes(self.say)
        self._live: Any = None
        self._over = threading.Event()
        if quiet:
            return
        if self.stream.isatty() and not notes_only:
            from rich.console import Console
            from rich.live import Live

            self._live = Live("", console=Console(file=self.stream), refresh_per_second=8, transient=False)
            self._live.start()
        threading.Thread(target=self._beat, daemon=True, name="progress").start()

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def say(self, text: str) -> None:
        """Show one line that stays: what is being prepared, or what went wrong."""
        if self.quiet:
            return
        line = printable(f"{self.title}: {text}")
        self._shown_at = self.clock()
        if self._live is not None:
            self._live.console.print(line, highlight=False, markup=False)
        else:
            print(line, file=self.stream, flush=True)

    @contextmanager
    def doing(self, what: str, *, after_s: float = 0.0) -> Iterator[None]:
        """Show what is being prepared in the body before it begins, and every ten seconds how long it takes.

        `after_s`: only where it takes so long, because a mistake that is found at once is said in one line.
        """
        if after_s:
            self._shown_at = self.clock() - PLAIN_EVERY_S + after_s
        else:
            self.say(what)
        self._doing, self._doing_since = what, self.clock()
        try:
            yield
        finally:
            self._doing = ""

    def begin(self, step: int, remaining: Remaining | None = None) -> None:
        """Start counting at a step (0, or where a resumed run goes on); `remaining` says how long the rest takes."""
        self._step = self._first_step = self._panel_step = step
        self._started = self._shown_at = self._panel_at = self.clock()
        self.remaining = remaining

    def at(self, step: int, edit_wall_s: float = 0.0) -> None:
        """Say that `step` edits are visible now, the last of which took so many seconds."""
        self._step = step
        self._edit_wall_s += edit_wall_s
        if self._live is not None:
            self._live.update(self.line())
        elif self.clock() - self._shown_at > PLAIN_EVERY_S:
            self._print()

    def panel(self, step: int, facts: Sequence[Fact], committed: Sequence[Fact] = ()) -> None:
        """Take the numbers of a panel and show them: of its facts, or of all that were `committed` with it.

        The panel does not ask again what the last edit was asked at once.
        """
        now = self.clock()
        self._step = step
        self.numbers |= shown_of(committed or facts)
        if self.remaining is not None:
            passed = now - self._panel_at
            self.remaining.panel(Stretch.of(step, self._panel_step, facts, passed, self._edit_wall_s))
            self._panels_left = self.remaining.panels_wall_s()
        self._panel_step, self._panel_at, self._edit_wall_s = step, now, 0.0
        if self._live is not None:
            self._live.update(self.line())
        else:
            self._print()

    def left_wall_s(self) -> float:
        """Return about how many seconds are left; nan before it can be said.

        Up to the next panel that is at least what its edits take at the pace since the last one: edits of some
        editors take longer with each edit that is stored.
        """
        first, *later = self._panels_left or [0.0]
        if math.isnan(first):
            return first
        passed, made = self.clock() - self._panel_at, self._step - self._panel_step
        steps = self.remaining.steps if self.remaining is not None else ()
        due = next((step for step in steps if step > self._panel_step), self._step) - self._step
        return max(0.0, first - passed, due * passed / made if made > 0 else 0.0) + sum(later)

    def line(self) -> str:
        """Return the line as it is shown now."""
        passed = self.clock() - self._started
        parts = [f"{self.title}: {self._step}/{self.total} edits", pace(self._step - self._first_step, passed)]
        parts += [f"{name} {value:.3f}" for name, value in self.numbers.items() if name != "bank"]
        parts += [f"bank {self.numbers['bank']:.0f}"] if "bank" in self.numbers else []
        left = self.left_wall_s()
        if self._step < self.total and not math.isnan(left):
            parts.append(f"about {in_clock(left)} left")
        return printable("  ".join(part for part in parts if part))

    def status(self) -> RunStatus:
        """Return how far the run is, for its status file."""
        passed = self.clock() - self._started
        made = self._step - self._first_step
        doing = f"{self._doing}, {in_clock(self.clock() - self._doing_since)} so far" if self._doing else ""
        return RunStatus(
            self.title,
            "running",
            total=self.total,
            edits=self._step,
            edits_per_s=made / passed if made > 0 and passed > 0 else math.nan,
            left_s=self.left_wall_s(),
            numbers=dict(self.numbers),
            doing=doing,
            wall_s=self.clock() - self._made,
        )

    def close(self) -> None:
        """Take the live line down."""
        self._over.set()
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _beat(self) -> None:
        """Show that something works, where nothing was shown for a while."""
        while not self._over.wait(1.0):
            passed = self.clock() - self._doing_since
            live, doing = self._live, self._doing
            if live is not None:
                live.update(printable(f"{self.title}: {doing} ({in_clock(passed)})") if doing else self.line())
            elif self.clock() - self._shown_at > PLAIN_EVERY_S:
                if doing and not self.notes_only:
                    self.say(f"{doing}: {passed:.0f} s so far")
                else:
                    self._print()

    def _print(self) -> None:
        self._shown_at = self.clock()
        if not (self.quiet or self.notes_only or self.stream.closed):  # whoever gave it may have ended before
            print(self.line(), file=self.stream, flush=True)


@contextmanager
def heartbeat(
    say: Callable[[str], None], what: str, *, after_s: float = 0.0, every_s: float = PLAIN_EVERY_S
) -> Iterator[None]:
    """Say what is done in the body before it begins, and every `every_s` seconds how long it has taken so far.

    `after_s`: only where it takes so long, because a mistake that is found at once is said in one line.
    """
    over = threading.Event()
    began = time.perf_counter()

    def beat() -> None:
        wait_s = after_s or every_s
        while not over.wait(wait_s):
            wait_s = every_s
            say(f"{what}: {time.perf_counter() - began:.0f} s so far")

    if not after_s:
        say(what)
    beating = threading.Thread(target=beat, daemon=True, name="heartbeat")
    beating.start()
    try:
        yield
    finally:
        over.set()


def busy_machine() -> str:
    """Return a line about a machine with more work than cores, or an empty text."""
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    if load <= cores:
        return ""
    return f"others work here too (load average {load:.1f} on {cores} cores): this takes longer than it would alone"


def few_notes(say: Callable[[str], None]) -> Callable[[str], None]:
    """Return what says that something went wrong with an edit: the first times each, then at every tenfold number.

    All are in the run's facts, and a run of an editor that fails at every edit has thousands.
    """
    told = [0]

    def note(text: str) -> None:
        told[0] += 1
        if told[0] < NOTES_SHOWN:
            say(text)
        elif told[0] == NOTES_SHOWN:
            say(f"{text} Further ones are counted; `lifelong list edits RUN` shows all.")
        elif told[0] == 10 ** (len(str(told[0])) - 1):
            say(f"{told[0]} edits or withdrawals went wrong so far, the last one so: {text}")

    return note


def every_tenth(tell: Callable[[int, int], None]) -> Callable[[int, int], None]:
    """Return a callback of (done, total) that passes on the first call in each tenth of the total."""
    told = [0]

    def on_progress(done: int, total: int) -> None:
        if done * 10 // total > told[0]:
            told[0] = done * 10 // total
            tell(done, total)

    return on_progress


def shown_of(facts: Sequence[Fact]) -> dict[str, float]:
    """Return what the live line shows of a panel's facts: retention and locality of generated answers, bank size."""
    means = means_of(facts)
    found = {name: means[f"{name}/generated"] for name in ("retention", "locality") if f"{name}/generated" in means}
    sizes = [f.value for f in facts if isinstance(f, Gauged) and f.name == "bank_len"]
    return found | ({"bank": sizes[-1]} if sizes else {})


def pace(edits: int, passed_s: float) -> str:
    """Return how fast edits pass, panels included: edits a second, or seconds an edit where they are slower.

    >>> pace(30, 10.0), pace(1, 12.0), pace(0, 5.0)
    ('3.0 edits/s', '12.0 s an edit', '')
    """
    if edits <= 0 or passed_s <= 0:
        return ""
    return f"{edits / passed_s:.1f} edits/s" if edits >= passed_s else f"{passed_s / edits:.1f} s an edit"


def in_clock(seconds: float) -> str:
    """Return seconds as minutes and seconds, with hours where there are any.

    >>> in_clock(75), in_clock(7384)
    ('1:15', '2:03:04')
    """
    whole = int(seconds)
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60}:{rest % 60:02d}"
