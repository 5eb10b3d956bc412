"""What the event loop counts about itself: the queue in simulated time, and where the measured time went.

Knows nothing about simpy, editors or panels. Sums of simulated nanoseconds are whole numbers, hence exact.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Literal

from lifelong.log import Gauged
from lifelong.simulation.jobs import NANO

_PARTS = ("edit", "probe", "commit", "traffic")
_SUMS = ("items", "jobs", "wait", "sojourn", "service", "area", "now", "inside", "longest")


class Tally:
    """Sums since the beginning of the run (the queue), and since the last gauges (measured seconds)."""

    def __init__(self) -> None:
        self._sum: dict[str, int] = {name: 0 for name in _SUMS}
        self._spent = dict.fromkeys(_PARTS, 0.0)
        self._began = time.perf_counter()

    def begin(self) -> None:
        """Start measuring: what came before (loading, restoring) is not the loop's."""
        self._began = time.perf_counter()

    def count(self, now: int, change: int) -> None:
        """Note that `change` items came into the system (or left it) at simulated nanosecond `now`."""
        s = self._sum
        s["area"] += s["inside"] * (now - s["now"])
        s["now"] = now
        s["inside"] += change
        s["longest"] = max(s["longest"], s["inside"])

    def served(self, end: int, service: int, arrived: Sequence[int]) -> None:
        """Note the end of a service of so many nanoseconds, of items that arrived at the given moments.

        What is not service is waiting, interruptions too.
        """
        self.count(end, -len(arrived))
        self._sum["jobs"] += 1
        self._sum["items"] += len(arrived)
        self._sum["wait"] += sum(end - service - a for a in arrived)
        self._sum["sojourn"] += sum(end - a for a in arrived)
        self._sum["service"] += service

    def worked(self, wall_s: float) -> None:
        """Note measured seconds spent inside the editor's `edit` or `remove`."""
        self._spent["edit"] += wall_s

    @contextmanager
    def on(self, part: Literal["probe", "commit", "traffic"]) -> Iterator[None]:
        """Add the measured time of the body to a part (committing shows in the next gauges)."""
        start = time.perf_counter()
        yield
        self._spent[part] += time.perf_counter() - start

    def gauges(self, step: int, sim_s: float) -> list[Gauged]:
        """Return the numbers of the queue and of the loop, and begin measuring anew.

        `loop`: measured seconds since the last panel, by part; `own_wall_s` is everything outside the others.
        """
        now, spent = time.perf_counter(), self._spent
        loop = spent | {"own": max(0.0, now - self._began - sum(spent.values()))}
        self._spent, self._began = dict.fromkeys(_PARTS, 0.0), now
        return self.queue(step, sim_s) + [
            Gauged(step, sim_s, "loop", f"{part}_wall_s", wall_s) for part, wall_s in loop.items()
        ]

    def queue(self, step: int, sim_s: float, kind: str = "queue") -> list[Gauged]:
        """Return the numbers of the queue alone.

        Means over all items so far of waiting and sojourn time (from arrival), mean service time of a batch,
        time averages of items in the system and of busy workers, most items at once, arrivals served per simulated
        second.
        """
        s, elapsed = self._sum, max(1, self._sum["now"])
        items, jobs = max(1, s["items"]), max(1, s["jobs"])
        queue = {
            "wait_mean_s": (s["wait"] / items / NANO, s["items"]),
            "sojourn_mean_s": (s["sojourn"] / items / NANO, s["items"]),
            "service_mean_s": (s["service"] / jobs / NANO, s["jobs"]),
            "in_system_mean": (s["area"] / elapsed, s["items"]),
            "in_system_max": (float(s["longest"]), s["items"]),
            "busy_workers_mean": (s["service"] / elapsed, s["jobs"]),
            "served_per_s": (s["items"] / elapsed * NANO, s["items"]),
        }
        return [Gauged(step, sim_s, kind, name, value, n) for name, (value, n) in queue.items()]

    def state(self) -> dict[str, int]:
        """Return the sums of simulated time (measured seconds are not part of a state)."""
        return dict(self._sum)

    def load(self, state: Mapping[str, int]) -> None:
        """Go on from a state."""
        self._sum = {name: int(state[name]) for name in _SUMS}
