"""Policies of a station: waiting times against queueing theory, and what an interrupted service keeps."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest

from lifelong.simulation.jobs import NANO, Policy, jobs_of
from lifelong.simulation.station import Service, Station, Waiting
from streams.times.arrivals import timetable
from streams.types import Edit, Query, Withdraw

JOBS = 40_000


def served(policy: Policy, moments, services, kinds, workers: int = 1) -> dict[int, Service]:
    """Serve jobs that arrive at `moments` with service times `services` (both in seconds)."""
    out: dict[int, Service] = {}
    station = Station(workers, policy, lambda job, now: round(services[job] * NANO), out.__setitem__)
    station.run([round(m * NANO) for m in moments], lambda n: station.submit(n, kinds[n]))
    return out


def mean_response_s(policy: Policy, rates: tuple[float, float], means: tuple[float, float], seed: int):
    """Mean time from arrival to end of queries and changes (exponential services), each with its standard error."""
    rng = np.random.default_rng(seed)
    moments = np.cumsum(rng.exponential(1 / sum(rates), JOBS))
    query = rng.random(JOBS) < rates[0] / sum(rates)
    services = rng.exponential(np.where(query, *means))
    done = served(policy, moments, services, ["query" if q else "change" for q in query])
    times = np.array([done[n].ended / NANO for n in range(JOBS)]) - moments
    out = []
    for chosen in (query, ~query):
        batches = np.array([part.mean() for part in np.array_split(times[chosen], 40)])
        out.append((times[chosen].mean(), batches.std(ddof=1) / np.sqrt(40)))
    return out


def theory_s(policy: str, rates: tuple[float, float], means: tuple[float, float]) -> tuple[float, float]:
    """Mean responses of M/M/1 with two classes (Cobham 1954; preemptive resume: Kleinrock 1976, section 3.6)."""
    (a, b), (s, t) = rates, means
    one, both, residual = a * s, a * s + b * t, a * s**2 + b * t**2
    if policy == "fifo":
        return residual / (1 - both) + s, residual / (1 - both) + t
    if policy == "preempt":
        return s / (1 - one), (t * (1 - both) + residual) / ((1 - one) * (1 - both))
    if policy == "edits_first":
        change, query = theory_s("queries_first", (b, a), (t, s))
        return query, change
    return residual / (1 - one) + s, residual / ((1 - one) * (1 - both)) + t


@pytest.mark.parametrize("policy", ["fifo", "queries_first", "edits_first", "preempt"])
def test_responses_of_queries_and_changes_agree_with_theory(policy: Policy) -> None:
    rates, means = (0.8, 0.2), (0.25, 2.0)
    found = mean_response_s(policy, rates, means, seed=3)
    for (mean, error), expected in zip(found, theory_s(policy, rates, means), strict=True):
        assert abs(mean - expected) < 4 * error < 0.35 * expected


def test_an_interrupted_change_is_served_to_its_whole_length_and_before_later_ones() -> None:
    done = served("preempt", [0, 1, 2, 2.5], [10, 10, 3, 1], ["change", "change", "query", "query"])
    assert [done[n].ended / NANO for n in range(4)] == [14, 24, 5, 6]
    assert done[0] == Service(0, 10 * NANO, 14 * NANO)


def test_two_queries_at_once_take_two_workers_from_changes() -> None:
    done = served("preempt", [0, 0, 1, 1], [5, 5, 1, 1], ["change", "change", "query", "query"], workers=2)
    assert [done[n].ended / NANO for n in range(4)] == [6, 6, 2, 2]


def test_a_query_that_comes_with_a_change_is_served_first() -> None:
    done = served("preempt", [0, 0], [5, 1], ["change", "query"])
    assert [done[n].ended / NANO for n in range(2)] == [6, 1]


@pytest.mark.parametrize("policy", ["fifo", "preempt"])
def test_a_station_stopped_after_any_service_goes_on_as_if_it_had_not(policy: Policy) -> None:
    rng = np.random.default_rng(1)
    moments = (np.cumsum(rng.exponential(1.0, 60)) * NANO).astype(int).tolist()
    services = (rng.exponential(1.7, 60) * NANO).astype(int).tolist()
    kinds: list[Literal["query", "change"]] = ["query" if n % 3 else "change" for n in range(60)]
    whole: dict[int, Service] = {}
    seen: list[tuple[int, dict[int, Waiting], int, int]] = []
    happened = 0

    def happens(n: int) -> None:
        nonlocal happened
        happened = n + 1
        station.submit(n, kinds[n])

    def end(job: int, service: Service) -> None:
        whole[job] = service
        seen.append((service.ended, *station.left(), happened))

    station = Station(2, policy, lambda job, now: services[job], end)
    station.run(moments, happens)
    for now, jobs, submitted, first in seen[::7]:
        rest: dict[int, Service] = {}
        again = Station(2, policy, lambda job, now: services[job], rest.__setitem__)
        again.run(
            moments, lambda n, to=again: to.submit(n, kinds[n]), first=first, now=now, jobs=jobs, submitted=submitted
        )
        assert rest and rest == {job: whole[job] for job in rest}


def test_a_window_closes_a_batch_that_is_not_full() -> None:
    edits = [Edit(str(n), Query(str(n)), "a", "s") for n in range(5)]
    jobs = jobs_of(timetable([*edits[:3], Withdraw("0"), *edits[3:]], [0, 1, 5, 5.5, 6, 7]), 3, window_s=2.0)
    assert [(len(job.edits), job.ready / NANO) for job in jobs] == [(2, 2), (1, 5.5), (0, 5.5), (2, 8)]


def test_a_wrong_policy_and_no_workers_are_refused() -> None:
    with pytest.raises(ValueError, match="Known: fifo"):
        served("lifo", [], [], [])  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="workers=0"):
        served("fifo", [], [], [], workers=0)
