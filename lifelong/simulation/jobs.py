"""How arrivals become jobs for a worker: batches of edits, single withdrawals and queries, cut from arrivals alone.

Knows nothing of services, editors or logs. Whole nanoseconds of simulated time make all sums exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from streams.types import Arrival, Edit, Posed, Withdraw, digest_of, identity_of

Policy = Literal["fifo", "queries_first", "edits_first", "preempt"]


NANO = 10**9


def nanoseconds(seconds: float) -> int:
    """Return simulated seconds as whole nanoseconds.

    >>> nanoseconds(1.5)
    1500000000
    """
    return round(seconds * NANO)


@dataclass(frozen=True)
class Job:
    """What a worker serves at once: some edits, one withdrawal, or one query.

    `arrivals` are the positions of its items among all arrivals. It may begin at `ready` (simulated nanoseconds):
    when a batch is full, cut short by a withdrawal, has waited for its window, or the last edit has come.
    """

    items: tuple[Edit, ...] | tuple[Withdraw] | tuple[Posed]
    arrivals: tuple[int, ...]
    ready: int

    @property
    def edits(self) -> tuple[Edit, ...]:
        """The edits (none in a withdrawal or a query)."""
        return tuple(item for item in self.items if isinstance(item, Edit))

    @property
    def withdrawn(self) -> str:
        """The id of the edit to take back ('' in other jobs)."""
        return next((item.edit_id for item in self.items if isinstance(item, Withdraw)), "")

    @property
    def posed(self) -> Posed | None:
        """The query, if it is one."""
        return next((item for item in self.items if isinstance(item, Posed)), None)

    @property
    def operation(self) -> str:
        """What a clock is asked about: `edit` or `remove` (a query is several operations)."""
        return "remove" if self.withdrawn else "edit"

    @property
    def kind(self) -> Literal["query", "change"]:
        """What a policy tells apart."""
        return "query" if isinstance(self.items[0], Posed) else "change"


def jobs_of(arrivals: Sequence[Arrival], turn: int, window_s: float = 0.0, chunk: int = 0) -> list[Job]:
    """Return the jobs of arrivals, ascending by `ready`: batches of `turn` edits, shorter before a withdrawal.

    With `window_s` a batch also closes so many seconds after its first edit, with `chunk` after every so many edits.
    Raises `ValueError` for no arrivals, a `turn` below 1, time running backwards, or an id twice.
    """
    if not arrivals or turn < 1 or window_s < 0:
        raise ValueError(f"{len(arrivals)} arrivals in batches of {turn}: there must be at least one of each.")
    jobs: list[Job] = []
    batch: list[tuple[int, Edit]] = []
    seen: set[str] = set()
    window = nanoseconds(window_s) if window_s else None

    def close(ready: int) -> None:
        if batch:
            jobs.append(Job(tuple(edit for _, edit in batch), tuple(place for place, _ in batch), ready))
            batch.clear()

    changed = 0
    for place, arrival in enumerate(arrivals):
        if place and arrival.at_s < arrivals[place - 1].at_s:
            raise ValueError(f"arrival {place} is at {arrival.at_s} s, before the one it follows.")
        now, item = nanoseconds(arrival.at_s), arrival.item
        if isinstance(item, Posed):
            jobs.append(Job((item,), (place,), now))
            continue
        changed = now
        closes = nanoseconds(arrivals[batch[0][0]].at_s) + window if batch and window is not None else now
        if closes < now:
            close(closes)
        if isinstance(item, Edit):
            if item.id in seen:
                raise ValueError(f"edit {item.id!r} arrives twice; an edit made again needs an id of its own.")
            seen.add(item.id)
            batch.append((place, item))
            if len(batch) == turn or (chunk and len(seen) % chunk == 0):
                close(now)
        elif isinstance(item, Withdraw):
            close(now)
            jobs.append(Job((item,), (place,), now))
        else:
            raise ValueError(
                f"arrival {place} is a {type(item).__name__}; edits, withdrawals and posed queries arrive."
            )
    if batch:
        close(changed if window is None else nanoseconds(arrivals[batch[0][0]].at_s) + window)
    return sorted(jobs, key=lambda job: job.ready)


def arrivals_digest(arrivals: Sequence[Arrival], turn: int, workers: int, *others: str) -> str:
    """Return 16 hexadecimal digits of everything that decides which job runs when, service times aside."""
    parts = [str(turn), str(workers), *others]
    for arrival in arrivals:
        parts += [str(nanoseconds(arrival.at_s)), _word(arrival.item)]
    return digest_of(*parts)


def _word(item: Edit | Posed | Withdraw) -> str:
    if isinstance(item, Posed):  # of a probe its id is enough: it is made of everything else in it
        return identity_of((item.probe.id, item.scope, item.edit_id, item.before, item.withdrawn))
    return identity_of(item)
