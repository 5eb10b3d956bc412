"""Many copies of the edited model behind a balancer, by simulation: no model is called.

Knows moments, which edit a query is about, and drawn service times; nothing of what is asked or answered. Quality is
therefore not simulated: staleness here is by version (had the edit become visible on the replica that answered?).

`sync`: every replica makes every edit, which is visible everywhere when the last one has made it. `async`: one
replica, in turn, makes it, and it is visible on the others `delay_s` later, at no cost to them. `sharded`: an edit
lives on one replica, by its number; queries about it go there, all others anywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from lifelong.simulation.jobs import NANO, Policy
from lifelong.simulation.service_times import DrawnServices
from lifelong.simulation.station import Service, Station, play

Balancer = Literal["round_robin", "least_queue"]
ReplicationMode = Literal["sync", "async", "sharded"]
NEVER = np.iinfo(np.int64).max


@dataclass(frozen=True)
class FleetSettings:
    """How many replicas, with how many workers each, under which policy; who gets a query; how edits reach all."""

    replicas: int = 1
    workers: int = 1
    policy: Policy = "fifo"
    balancer: Balancer = "least_queue"
    replication: ReplicationMode = "sync"
    delay_s: float = 0.0

    def __post_init__(self) -> None:
        if self.replicas < 1 or not self.delay_s >= 0:
            raise ValueError(
                f"replicas={self.replicas}, delay_s={self.delay_s}: at least one, and no negative delay."
            )
        if self.delay_s and self.replication != "async":
            raise ValueError(f"delay_s={self.delay_s}: only replication=async copies edits later.")
        for name, known in (("balancer", Balancer), ("replication", ReplicationMode)):
            if getattr(self, name) not in get_args(known):
                raise ValueError(f"{name}={getattr(self, name)!r} is not known. Known: {', '.join(get_args(known))}.")


@dataclass(frozen=True)
class Load:
    """What arrives, in whole simulated nanoseconds: changes (batches of edits, withdrawals) and queries.

    `ready_at` and `sizes` (entries that each change adds to the bank), `queries_at` and `about` (the change that a
    query's answer depends on, -1: none), and the drawn services of both.
    """

    ready_at: np.ndarray
    sizes: np.ndarray
    queries_at: np.ndarray
    about: np.ndarray
    changes: DrawnServices
    queries: DrawnServices


@dataclass(frozen=True)
class FleetOutcome:
    """What became of a load: per query its replica, the moments of its service, the bank it met, and staleness.

    `visible_at` (replicas, changes) is when each change became visible where (`NEVER`: it did not). `serving` are the
    nanoseconds that all workers served until the last arrival, `offered` those that they served in all.
    """

    replica: np.ndarray
    begun: np.ndarray
    ended: np.ndarray
    bank_len: np.ndarray
    stale: np.ndarray
    visible_at: np.ndarray
    serving: int
    offered: int


def simulate_fleet(load: Load, settings: FleetSettings) -> FleetOutcome:
    """Serve a load by a fleet until all is done."""
    if settings.replicas == settings.workers == 1 and settings.policy == "fifo":
        return _in_order(load)
    return _Fleet(load, settings).run()


def _in_order(load: Load) -> FleetOutcome:
    """Serve a load by one worker in order of arrival: as `_Fleet` does, in a hundredth of its time.

    Every change is made before whatever came after it begins, so each service meets the entries of all changes that
    arrived before. A service ends when all work since the last idle moment is done (Lindley's recursion).
    """
    queries, changes = len(load.queries_at), len(load.ready_at)
    moments = np.concatenate([load.ready_at, load.queries_at])
    order = np.argsort(moments, kind="stable")  # changes before queries of the same moment
    at, is_change = moments[order], order < changes
    entries = np.where(is_change, load.sizes[np.minimum(order, changes - 1)] if changes else 0, 0)
    bank = np.cumsum(entries) - entries
    constant_s, entry_s = (
        np.concatenate([getattr(load.changes, name).sum(1), getattr(load.queries, name).sum(1)])[order]
        for name in ("constant_s", "entry_s")
    )
    service = np.round((constant_s + entry_s * bank) * NANO).astype(np.int64)
    done = np.cumsum(service)
    ended = done + np.maximum.accumulate(at - (done - service)) if len(at) else done
    begun = ended - service
    last = at[-1] if len(at) else 0
    found = {"begun": begun, "ended": ended, "bank_len": bank}
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    by_query = {name: values[place[changes:]] for name, values in found.items()}
    stale = np.zeros(queries, bool)
    asks = np.flatnonzero(load.about >= 0)
    stale[asks] = place[load.about[asks]] > place[changes + asks]  # it comes later, so it is made later
    serving = int((np.minimum(ended, last) - np.minimum(begun, last)).sum())
    replica = np.zeros(queries, np.int64)
    visible_at, offered = ended[place[:changes]][None], int(service.sum())
    return FleetOutcome(replica, **by_query, stale=stale, visible_at=visible_at, serving=serving, offered=offered)


class _Fleet:
    """One simulation. Jobs are numbered: queries from 0, then changes."""

    def __init__(self, load: Load, settings: FleetSettings) -> None:
        self.load, self.settings = load, settings
        n, r = len(load.queries_at), settings.replicas
        self.queries = n
        self.replica = np.zeros(n, np.int64)
        self.begun, self.ended = np.zeros(n, np.int64), np.zeros(n, np.int64)
        self.bank_len = np.zeros(n, np.int64)
        self.stale = np.zeros(n, bool)
        self.visible_at = np.full((r, len(load.ready_at)), NEVER, np.int64)
        self.bank = [0] * r
        self.made = np.zeros(len(load.ready_at), np.int64)
        self.stations = [Station(settings.workers, settings.policy, self._begins(k), self._ends(k)) for k in range(r)]
        self.turn = self.served = self.serving = 0
        # Plain lists: a single element of an array costs ten times as much to read.
        self._about, self._sizes = load.about.tolist(), load.sizes.tolist()
        self._query_s = load.queries.constant_s.sum(1).tolist(), load.queries.entry_s.sum(1).tolist()
        self._change_s = load.changes.constant_s.sum(1).tolist(), load.changes.entry_s.sum(1).tolist()

    def run(self) -> FleetOutcome:
        """Play everything through."""
        load = self.load
        moments = np.concatenate([load.ready_at, load.queries_at])
        order = np.argsort(moments, kind="stable")  # changes before queries of the same moment
        numbers = np.concatenate([np.arange(len(load.ready_at)) + self.queries, np.arange(self.queries)])[
            order
        ].tolist()
        moments = moments[order].tolist()

        def happens(event: int) -> None:
            self._happens(numbers[event])
            if event == len(moments) - 1:
                self.serving = self.served + sum(station.begun_work(moments[event]) for station in self.stations)

        play(self.stations, moments, happens)
        return FleetOutcome(
            self.replica,
            self.begun,
            self.ended,
            self.bank_len,
            self.stale,
            self.visible_at,
            self.serving,
            self.served,
        )

    def _happens(self, job: int) -> None:
        if job < self.queries:
            chosen = self._choose(self._about[job])
            self.replica[job] = chosen
            self.stations[chosen].submit(job, "query")
        else:
            for replica in self._makers(job - self.queries):
                self.stations[replica].submit(job, "change")

    def _choose(self, about: int) -> int:
        r = self.settings.replicas
        if r == 1:
            return 0
        if self.settings.replication == "sharded" and about >= 0:
            return about % r
        self.turn = (self.turn + 1) % r
        if self.settings.balancer == "round_robin":
            return self.turn
        inside = [station.inside for station in self.stations]
        least = min(inside)
        return next(k % r for k in range(self.turn, self.turn + r) if inside[k % r] == least)

    def _makers(self, change: int) -> Sequence[int]:
        r = self.settings.replicas
        return range(r) if self.settings.replication == "sync" else (change % r,)

    def _begins(self, replica: int) -> Callable[[int, int], int]:
        def begin(job: int, now: int) -> int:
            bank = self.bank[replica]
            if job >= self.queries:
                constant, entry = self._change_s
                return round((constant[job - self.queries] + entry[job - self.queries] * bank) * NANO)
            constant, entry = self._query_s
            about = self._about[job]
            self.bank_len[job] = bank
            self.stale[job] = about >= 0 and self.visible_at[replica, about] > now
            return round((constant[job] + entry[job] * bank) * NANO)

        return begin

    def _ends(self, replica: int) -> Callable[[int, Service], None]:
        def end(job: int, service: Service) -> None:
            self.served += service.service
            if job < self.queries:
                self.begun[job], self.ended[job] = service.begun, service.ended
            else:
                self._made(job - self.queries, replica, service.ended)

        return end

    def _made(self, change: int, replica: int, now: int) -> None:
        """Note that a replica has made a change, and where it is visible from when on."""
        kind, delay = self.settings.replication, round(self.settings.delay_s * NANO)
        self.made[change] += 1
        if kind == "sync" and self.made[change] < self.settings.replicas:
            return
        if kind == "sharded":
            self.visible_at[replica, change] = now
            self.bank[replica] += self._sizes[change]
            return
        self.visible_at[:, change] = now + (delay if kind == "async" else 0)
        self.visible_at[replica, change] = now
        self.bank = [size + self._sizes[change] for size in self.bank]
