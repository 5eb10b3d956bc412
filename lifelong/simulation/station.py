"""Workers that serve jobs in simulated time, by a policy. The only import of simpy.

Knows numbers of jobs, their order and their service times; nothing of edits, queries, editors or logs. Simulated
time is whole nanoseconds, so sums are exact. Everything that outlives a checkpoint is plain data: what was submitted
and is not done yet; simpy's own generators are made anew.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import simpy
import simpy.events

from lifelong.simulation.jobs import Policy

POLICIES: tuple[Policy, ...] = get_args(Policy)
RANKS: Mapping[Policy, Mapping[str, int]] = {
    "fifo": {"query": 0, "change": 0},
    "queries_first": {"query": 0, "change": 1},
    "edits_first": {"query": 1, "change": 0},
    "preempt": {"query": 0, "change": 1},
}
"""Who is served first: the lower number, and among equals who came first. `change`: edits and withdrawals."""


@dataclass(frozen=True)
class Waiting:
    """A job that was submitted and is not done.

    `order` is (rank, number of the submission); `begun` the moment its service first began (None: it only waits),
    `service` all it needs, `left` what it still needs, `until` when it ends (None: it waits, perhaps interrupted).
    """

    order: tuple[int, int]
    begun: int | None = None
    service: int = 0
    left: int = 0
    until: int | None = None


@dataclass(frozen=True)
class Service:
    """A service that has ended: when it first began, how long it took without interruptions, when it ended."""

    begun: int
    service: int
    ended: int


class _Arrival(simpy.Event):
    """An event after `delay` that comes before the end of any service at the same moment.

    So who waits when a worker becomes free never depends on which of the two was planned first.
    """

    def __init__(self, env: simpy.Environment, delay: int) -> None:
        super().__init__(env)
        self._ok, self._value = True, None
        env.schedule(self, simpy.events.URGENT, delay)


class Station:
    """`workers` serve one job each at a time; the best waiting job (by rank, then by submission) is next.

    `begin(job, now)` gives the nanoseconds of a service at its beginning; `end(job, served)` is told of its end.
    With the policy `preempt` a query takes a worker away from a change where all are busy; what is left of the
    change is served later, before any other change that waits.
    """

    def __init__(
        self, workers: int, policy: Policy, begin: Callable[[int, int], int], end: Callable[[int, Service], None]
    ) -> None:
        if workers < 1:
            raise ValueError(f"workers={workers}: at least one is needed to serve anything.")
        if policy not in POLICIES:
            raise ValueError(f"policy={policy!r}: no such policy. Known: {', '.join(POLICIES)}.")
        self.policy: Policy = policy
        self._count = workers
        self._begin, self._end = begin, end
        self._urgent = self._submitted = 0  # urgent: may interrupt, and its service has not begun
        self._open: dict[int, Waiting] = {}
        self._serving: dict[int, int] = {}  # worker -> job
        self._workers: list[simpy.Process] = []

    def run(
        self,
        moments: Sequence[int],
        happens: Callable[[int], None],
        *,
        first: int = 0,
        now: int = 0,
        jobs: Mapping[int, Waiting] | None = None,
        submitted: int = 0,
    ) -> None:
        """Let event n happen at moment n (ascending), from `first` on, and serve until nothing is left to do.

        `now`, `jobs` and `submitted` go on from a checkpoint (see `left`).
        """
        play([self], moments, happens, first=first, now=now, left=[(jobs or {}, submitted)])

    def start(self, env: simpy.Environment, jobs: Mapping[int, Waiting], submitted: int) -> None:
        """Begin the workers' day, with jobs left from an earlier one."""
        self._env = env
        self._waiting = simpy.PriorityStore(env)
        self._open, self._submitted = dict(jobs), submitted
        self._urgent = sum(self._interrupts(known.order) and known.begun is None for known in self._open.values())
        going_on = [job for job, known in self._open.items() if known.until is not None]
        for job, known in self._open.items():
            if known.until is None:
                self._waiting.put(simpy.PriorityItem(known.order, job))
        for number in range(self._count):
            first_job = going_on[number] if number < len(going_on) else None
            self._workers.append(env.process(self._work(number, first_job)))

    @property
    def inside(self) -> int:
        """Jobs that were submitted and are not done."""
        return len(self._open)

    def submit(self, job: int, kind: Literal["query", "change"]) -> None:
        """Let a job join the queue now."""
        order = (RANKS[self.policy][kind], self._submitted)
        self._submitted += 1
        self._open[job] = Waiting(order)
        self._urgent += self._interrupts(order)
        self._waiting.put(simpy.PriorityItem(order, job))
        if self._lacking():
            self._interrupt()

    def begun_work(self, now: int) -> int:
        """Return the nanoseconds that jobs which are not done have been served until now."""
        begun = [known for known in self._open.values() if known.begun is not None]
        return sum(known.service - (known.left if known.until is None else known.until - now) for known in begun)

    def left(self) -> tuple[dict[int, Waiting], int]:
        """Return the jobs that are not done, and how many were ever submitted: what `run` needs to go on."""
        return dict(self._open), self._submitted

    def _interrupts(self, order: tuple[int, int]) -> bool:
        return self.policy == "preempt" and order[0] == RANKS["preempt"]["query"]

    def _lacking(self, beside: int = 0) -> bool:
        """Whether fewer workers are free (or coming), `beside` some of them, than jobs wait that may interrupt."""
        return self._urgent > self._count - len(self._serving) - beside

    def _interrupt(self) -> None:
        """Take the worker of the change that was submitted last, unless none is served or it just ends."""
        now = int(self._env.now)
        found = {
            worker: known
            for worker, job in self._serving.items()
            if not self._interrupts((known := self._open[job]).order) and (known.until or now) > now
        }
        if found:
            worker = max(found, key=lambda w: found[w].order)
            job, known = self._serving.pop(worker), found[worker]
            self._open[job] = replace(known, left=int(known.until or now) - now, until=None)
            self._workers[worker].interrupt(job)

    def _work(self, worker: int, job: int | None) -> Generator[simpy.Event, Any, None]:
        """Serve for ever; `job` is one in service at the checkpoint that this run goes on from."""
        while True:
            if job is None:
                job = (yield self._waiting.get()).item
            assert job is not None
            known = self._open[job]
            if known.until is None and not self._interrupts(known.order) and self._lacking(beside=1):
                self._waiting.put(simpy.PriorityItem(known.order, job))  # a query came at the same moment
                job = None
                continue
            known = self._begun(job)
            self._serving[worker] = job
            try:
                yield self._env.timeout(int(known.until or 0) - int(self._env.now))
            except simpy.Interrupt:
                self._waiting.put(simpy.PriorityItem(known.order, job))
                job = None
                continue
            del self._serving[worker]
            del self._open[job]
            self._end(job, Service(int(known.begun or 0), known.service, int(self._env.now)))
            job = None

    def _begun(self, job: int) -> Waiting:
        """Begin a service, or go on with one; jobs in service stay in the order in which they were begun."""
        now, known = int(self._env.now), self._open.pop(job)
        if known.until is None:
            if known.begun is None:
                self._urgent -= self._interrupts(known.order)
                service = self._begin(job, now)
                known = Waiting(known.order, now, service, service)
            known = replace(known, until=now + known.left)
        self._open[job] = known
        return known


def play(
    stations: Sequence[Station],
    moments: Sequence[int],
    happens: Callable[[int], None],
    *,
    first: int = 0,
    now: int = 0,
    left: Sequence[tuple[Mapping[int, Waiting], int]] = (),
) -> None:
    """Let event n happen at moment n (ascending) on one time axis of several stations, until nothing is left to do.

    `first`, `now` and what is `left` at each station go on from a checkpoint.
    """
    env = simpy.Environment(initial_time=now)
    for place, station in enumerate(stations):
        jobs, submitted = left[place] if left else ({}, 0)
        station.start(env, jobs, submitted)

    def source() -> Generator[simpy.Event, Any, None]:
        for number in range(first, len(moments)):
            if moments[number] > env.now:
                yield _Arrival(env, moments[number] - int(env.now))
            happens(number)

    env.process(source())
    env.run()
