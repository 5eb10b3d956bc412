"""What a run shows while it works: one live line on a terminal, plain lines elsewhere. Always on standard error.

Knows facts by their names only; nothing about how they come about. Edits per second and the time left count edits
and panels together, as they pass on the wall.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from typing import IO, Any

from lifelong.log import Fact, Gauged, Probed
from streams.text import printable

PLAIN_EVERY_S = 30.0


class Progress:
    """The display of one run; `close` it, also after an error (or use it as a context)."""

    def __init__(self, title: str, total: int, *, stream: IO[str] | None = None, quiet: bool = False) -> None:
        self.title, self.total = title, total
        self.stream = stream if stream is not None else sys.stderr
        self.quiet = quiet
        self.numbers: dict[str, float] = {}
        self._step, self._first_step, self._shown_at = 0, 0, 0.0
        self._started = time.perf_counter()
        self._live: Any = None
        if not quiet and self.stream.isatty():
            from rich.console import Console
            from rich.live import Live

            self._live = Live("", console=Console(file=self.stream), refresh_per_second=8, transient=False)
            self._live.start()

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def say(self, text: str) -> None:
        """Show one line that stays: what is being prepared, or what went wrong."""
        if self.quiet:
            return
        line = printable(f"{self.title}: {text}")
        if self._live is not None:
            self._live.console.print(line, highlight=False, markup=False)
        else:
            print(line, file=self.stream, flush=True)

    def begin(self, step: int) -> None:
        """Start counting at a step (0, or where a resumed run goes on)."""
        self._step = self._first_step = step
        self._started = self._shown_at = time.perf_counter()

    def at(self, step: int) -> None:
        """Say that `step` edits are visible now."""
        self._step = step
        if self._live is not None:
            self._live.update(self.line())
        elif time.perf_counter() - self._shown_at > PLAIN_EVERY_S:
            self._print()

    def panel(self, step: int, facts: Sequence[Fact]) -> None:
        """Take the numbers of a panel's facts and show them."""
        self._step = step
        self.numbers |= numbers_of(facts)
        if self._live is not None:
            self._live.update(self.line())
        else:
            self._print()

    def line(self) -> str:
        """Return the line as it is shown now."""
        passed = time.perf_counter() - self._started
        rate = (self._step - self._first_step) / passed if passed > 0 else 0.0
        left = f"{_clock((self.total - self._step) / rate)} left" if rate and self._step < self.total else ""
        parts = [f"{self.title}: {self._step}/{self.total} edits", f"{rate:.1f} edits/s"]
        parts += [f"{name} {value:.3f}" for name, value in self.numbers.items() if name != "bank"]
        parts += [f"bank {self.numbers['bank']:.0f}"] if "bank" in self.numbers else []
        return printable("  ".join([*parts, left]).rstrip())

    def close(self) -> None:
        """Take the live line down."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _print(self) -> None:
        self._shown_at = time.perf_counter()
        if not self.quiet:
            print(self.line(), file=self.stream, flush=True)


def every_tenth(tell: Callable[[int, int], None]) -> Callable[[int, int], None]:
    """Return a callback of (done, total) that passes on the first call in each tenth of the total."""
    told = [0]

    def on_progress(done: int, total: int) -> None:
        if done * 10 // total > told[0]:
            told[0] = done * 10 // total
            tell(done, total)

    return on_progress


def numbers_of(facts: Sequence[Fact]) -> dict[str, float]:
    """Return retention, locality (means over generated answers at the last step of the facts) and the bank's size."""
    last = max((f.step for f in facts), default=0)
    found = {}
    for name, axis in (("retention", "reliability"), ("locality", "locality")):
        rows = [f for f in facts if isinstance(f, Probed) and f.step == last and f.scorer == "generated"]
        scores = [f.score for f in rows if f.axis == axis and f.variant not in ("superseded", "withdrawn")]
        if scores:
            found[name] = sum(scores) / len(scores)
    sizes = [f.value for f in facts if isinstance(f, Gauged) and f.name == "bank_len"]
    return found | ({"bank": sizes[-1]} if sizes else {})


def _clock(seconds: float) -> str:
    whole = int(seconds)
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60}:{rest % 60:02d}"
