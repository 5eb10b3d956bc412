"""How long a service takes in simulated time: by a model, as measured, or as an earlier run measured it.

Knows nothing about queues, editors or the event loop. A clock's whole state is how many services of each operation it
has timed, so a resumed run goes on exactly.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

PARTS = ("encode", "route", "apply", "answer")
"""The operations that a query's service is made of, in their order; the others are `edit` and `remove`."""


class ClockError(ValueError):
    """A clock's name or option is wrong, or a replayed log does not fit; the message is one line."""


class Clock(Protocol):
    """Turns a service into simulated seconds. `measures` says whether it needs the measured time first."""

    measures: bool

    def service_s(self, operation: str, n: int, bank_len: int, measured_wall_s: float | None) -> float:
        """Return the simulated seconds of one service of n items, begun with `bank_len` entries in the bank."""
        ...

    def state(self) -> dict[str, int]:
        """Return what `load` needs: services timed so far, by operation."""
        ...

    def load(self, state: Mapping[str, int]) -> None:
        """Go on from a state."""
        ...


@dataclass(frozen=True)
class Cost:
    """Mean service time: constant_s + item_s * n + entry_s * bank_len."""

    constant_s: float = 0.0
    item_s: float = 0.0
    entry_s: float = 0.0

    def mean_s(self, n: int, bank_len: int) -> float:
        """Return the mean in simulated seconds.

        >>> Cost(0.5, 0.25, 0.001).mean_s(2, 100)
        1.1
        """
        return self.constant_s + self.item_s * n + self.entry_s * bank_len


class CountedClock:
    """Counts services by operation; that count is all the state a clock has."""

    measures = False

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def state(self) -> dict[str, int]:
        """Return services timed so far, by operation."""
        return dict(self._counts)

    def load(self, state: Mapping[str, int]) -> None:
        """Go on from a state."""
        self._counts = {name: int(count) for name, count in state.items()}

    def _next(self, operation: str) -> int:
        self._counts[operation] = self._counts.get(operation, 0) + 1
        return self._counts[operation] - 1


def uniform(seed: int, operation: str, count: int) -> float:
    """Return a number in (0, 1) for the count-th service of an operation, whatever else was drawn."""
    words = hashlib.sha256(f"service {seed} {operation} {count}".encode()).digest()
    # 53 random bits, shifted by a half step off zero: a logarithm is finite
    return ((int.from_bytes(words[:8], "big") >> 11) + 0.5) * 2.0**-53


class ModelledClock(CountedClock):
    """Service times from explicit costs: the same on any machine. `costs` has one `Cost` per operation.

    With `distribution="exponential"` the k-th service of an operation draws from (seed, operation, k), so that no
    draw depends on another.
    """

    def __init__(
        self,
        costs: Mapping[str, Cost],
        *,
        distribution: Literal["constant", "exponential"] = "constant",
        seed: int = 0,
    ) -> None:
        super().__init__()
        self._costs = dict(costs)
        self._exponential = distribution == "exponential"
        self._seed = seed

    def service_s(self, operation: str, n: int, bank_len: int, measured_wall_s: float | None = None) -> float:
        """Return the modelled seconds; raises `ClockError` for an operation without a cost."""
        if operation not in self._costs:
            raise ClockError(f"no cost is known for {operation!r}; known: {', '.join(sorted(self._costs))}.")
        count, mean_s = self._next(operation), self._costs[operation].mean_s(n, bank_len)
        if not self._exponential:
            return mean_s
        return -mean_s * math.log(uniform(self._seed, operation, count))


class MeasuredClock(CountedClock):
    """Simulated time passes as the wall clock measured it: honest about this machine, not reproducible."""

    measures = True

    def service_s(self, operation: str, n: int, bank_len: int, measured_wall_s: float | None) -> float:
        """Return the measured seconds; raises `ClockError` without a measurement."""
        if measured_wall_s is None:
            raise ClockError(f"a measured clock was asked about {operation!r} before it was measured.")
        self._next(operation)
        return measured_wall_s


class ReplayedClock(CountedClock):
    """The service times of an earlier run, in its order: a measured experiment run again deterministically.

    `recorded` has, by operation, an array of (seconds, items) rows, one per service.
    """

    def __init__(self, recorded: Mapping[str, Sequence[tuple[float, int]] | np.ndarray]) -> None:
        super().__init__()
        self._recorded = {k: np.asarray(rows, dtype=np.float64).reshape(-1, 2) for k, rows in recorded.items()}

    def service_s(self, operation: str, n: int, bank_len: int, measured_wall_s: float | None = None) -> float:
        """Return the recorded seconds; raises `ClockError` when the log has no such service."""
        rows = self._recorded.get(operation, np.zeros((0, 2)))
        count = self._next(operation)
        if count >= len(rows):
            raise ClockError(
                f"the replayed log holds {len(rows)} services of {operation!r}; this run needs more. "
                "Replay a run of at least as many edits."
            )
        wall_s, items = rows[count]
        if int(items) != n:
            raise ClockError(
                f"service {count} of {operation!r} took {n} items here, {int(items)} in the replayed log: "
                "both runs need the same edits per batch."
            )
        return float(wall_s)
