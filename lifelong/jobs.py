"""How arrivals become jobs for a worker: batches of edits and single withdrawals, cut from their order alone.

Knows nothing of time passing, editors or logs. Whole nanoseconds of simulated time make all sums exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from streams.types import Arrival, Edit, Withdraw, digest_of

NANO = 10**9


def nanoseconds(seconds: float) -> int:
    """Return simulated seconds as whole nanoseconds.

    >>> nanoseconds(1.5)
    1500000000
    """
    return round(seconds * NANO)


@dataclass(frozen=True)
class Job:
    """What a worker serves at once: some edits, or one withdrawal.

    `arrivals` are the positions of its items among all arrivals; it may begin when arrival `ready` is there (the one
    that fills the batch, the withdrawal that cuts it short, or the last of the stream).
    """

    items: tuple[Edit, ...] | tuple[Withdraw]
    arrivals: tuple[int, ...]
    ready: int

    @property
    def edits(self) -> tuple[Edit, ...]:
        """The edits (none in a withdrawal)."""
        return tuple(item for item in self.items if isinstance(item, Edit))

    @property
    def withdrawn(self) -> str:
        """The id of the edit to take back ('' in a batch of edits)."""
        return next((item.edit_id for item in self.items if isinstance(item, Withdraw)), "")

    @property
    def operation(self) -> str:
        """What a clock is asked about: `edit` or `remove`."""
        return "remove" if self.withdrawn else "edit"


def jobs_of(arrivals: Sequence[Arrival], turn: int) -> list[Job]:
    """Return the jobs of arrivals in order: batches of `turn` edits, shorter before a withdrawal and at the end.

    Raises `ValueError` for no arrivals, a `turn` below 1, time running backwards, an id twice, or a query.
    """
    if not arrivals or turn < 1:
        raise ValueError(f"{len(arrivals)} arrivals in batches of {turn}: there must be at least one of each.")
    jobs: list[Job] = []
    batch: list[tuple[int, Edit]] = []
    seen: set[str] = set()

    def close(ready: int) -> None:
        if batch:
            jobs.append(Job(tuple(edit for _, edit in batch), tuple(place for place, _ in batch), ready))
            batch.clear()

    for place, arrival in enumerate(arrivals):
        if place and arrival.at_s < arrivals[place - 1].at_s:
            raise ValueError(f"arrival {place} is at {arrival.at_s} s, before the one it follows.")
        if isinstance(arrival.item, Edit):
            if arrival.item.id in seen:
                raise ValueError(
                    f"edit {arrival.item.id!r} arrives twice; an edit made again needs an id of its own."
                )
            seen.add(arrival.item.id)
            batch.append((place, arrival.item))
            if len(batch) == turn:
                close(place)
        elif isinstance(arrival.item, Withdraw):
            close(place)
            jobs.append(Job((arrival.item,), (place,), place))
        else:
            raise ValueError(f"arrival {place} is a {type(arrival.item).__name__}; edits and withdrawals are served.")
    close(len(arrivals) - 1)
    return jobs


def arrivals_digest(arrivals: Sequence[Arrival], turn: int, workers: int) -> str:
    """Return 16 hexadecimal digits of everything that decides which job runs when, service times aside."""
    parts = [str(turn), str(workers)]
    for arrival in arrivals:
        item = arrival.item
        what = "+" + item.id if isinstance(item, Edit) else "-" + getattr(item, "edit_id", "")
        parts += [str(nanoseconds(arrival.at_s)), what]
    return digest_of(*parts)
