"""A fleet by simulation: theory for one and many replicas, and what each way of replication does to staleness."""

from __future__ import annotations

from math import factorial

import numpy as np
import pytest

from lifelong.simulation import fleet
from lifelong.simulation.fleet import FleetOutcome, FleetSettings, Load, simulate_fleet
from lifelong.simulation.jobs import NANO
from lifelong.simulation.service_times import DrawnServices

PART = ("answer",)


def load(
    queries: int,
    rate: float,
    service_s: float,
    changes: int = 0,
    change_s: float = 1.0,
    seed: int = 0,
    about: int = -1,
) -> Load:
    rng = np.random.default_rng(seed)
    at = np.cumsum(rng.exponential(NANO / rate, queries)).astype(np.int64)
    end = int(at[-1]) if queries else NANO
    changed = np.sort(rng.integers(0, end, changes))
    asked = np.full(queries, -1)
    if about >= 0:
        asked = np.searchsorted(changed, at, side="right") - 1
    drawn = DrawnServices(PART, rng.exponential(service_s, (queries, 1)), np.zeros((queries, 1)))
    made = DrawnServices(PART, np.full((changes, 1), change_s), np.zeros((changes, 1)))
    return Load(changed, np.ones(changes, int), at, asked, made, drawn)


def response_s(found: FleetOutcome, given: Load) -> tuple[float, float]:
    """The mean and its standard error, of 40 batches."""
    times = (found.ended - given.queries_at) / NANO
    means = np.array([part.mean() for part in np.array_split(times, 40)])
    return float(times.mean()), float(means.std(ddof=1) / np.sqrt(40))


def erlang_c(workers: int, offered: float) -> float:
    top = offered**workers / factorial(workers) * workers / (workers - offered)
    return top / (sum(offered**k / factorial(k) for k in range(workers)) + top)


@pytest.mark.parametrize("workers", [1, 4])
def test_one_replica_is_a_queue_with_many_workers(workers: int) -> None:
    given = load(30_000, 0.7 * workers, 1.0)
    mean, error = response_s(simulate_fleet(given, FleetSettings(workers=workers)), given)
    wait = erlang_c(workers, 0.7 * workers) / (0.3 * workers)
    assert abs(mean - 1 - wait) < 4 * error < 0.5


def test_a_random_split_over_replicas_waits_longer_than_the_shorter_queue() -> None:
    """Round robin gives each of R replicas Erlang arrivals: less waiting than M/M/1, more than one common queue."""
    given = load(30_000, 2.8, 1.0)
    robin = response_s(simulate_fleet(given, FleetSettings(replicas=4, balancer="round_robin")), given)
    least = response_s(simulate_fleet(given, FleetSettings(replicas=4)), given)
    common = 1 + erlang_c(4, 2.8) / 1.2
    assert common < least[0] < robin[0] < 1 / 0.3


def test_staleness_is_the_share_of_time_that_an_edit_takes_to_reach_a_replica() -> None:
    """Queries ask about the last edit, in service for .2 s beside them; copies come 2 s later to three of four."""
    given = load(20_000, 10.0, 0.01, changes=300, change_s=0.2, about=0)
    stale = {
        name: simulate_fleet(
            given, FleetSettings(4, workers=2, replication=name, delay_s=2.0 * (name == "async"))
        ).stale.mean()
        for name in ("sync", "async", "sharded")
    }
    gap = float(given.queries_at[-1]) / NANO / 300
    at_once, later = 1 - np.exp(-0.2 / gap), 1 - np.exp(-2.2 / gap)
    assert stale["sync"] == pytest.approx(at_once, rel=0.25) and stale["sharded"] == pytest.approx(at_once, rel=0.25)
    assert stale["async"] == pytest.approx(0.75 * later + 0.25 * at_once, rel=0.1)


def test_shards_hold_their_share_of_the_bank_and_serve_their_own_queries() -> None:
    given = load(4000, 10.0, 0.01, changes=100, change_s=0.01, about=0)
    found = simulate_fleet(given, FleetSettings(5, replication="sharded"))
    about = given.about >= 0
    assert (found.replica[about] == given.about[about] % 5).all()
    assert found.bank_len.max() <= 20


def test_every_change_is_visible_everywhere_at_the_same_moment_when_synchronous() -> None:
    given = load(200, 10.0, 0.01, changes=30, change_s=0.1)
    visible = simulate_fleet(given, FleetSettings(3)).visible_at
    assert (visible == visible[0]).all() and (visible[0] >= given.ready_at + NANO // 10).all()


def test_one_worker_in_order_is_served_without_events_exactly_as_by_events() -> None:
    """Random loads with many equal moments, services of no time, and questions about changes that come later."""
    for seed in range(300):
        rng = np.random.default_rng(seed)
        queries, changes, unit = int(rng.integers(0, 60)), int(rng.integers(0, 30)), int(rng.choice([1, NANO]))
        drawn = [
            DrawnServices(
                ("a", "b"),
                rng.choice([0.0, 0.5, 1.3], (n, 2)) * unit / NANO,
                rng.choice([0.0, 0.1], (n, 2)) * unit / NANO,
            )
            for n in (changes, queries)
        ]
        at = [np.sort(rng.integers(0, 20, n)) * unit for n in (changes, queries)]
        about = rng.integers(-1, changes, queries) if changes else np.full(queries, -1)
        given = Load(at[0], rng.choice([1, 3], changes).astype(int), at[1], about, *drawn)
        for settings in (FleetSettings(), FleetSettings(replication="sharded")):
            events = vars(fleet._Fleet(given, settings).run())
            for name, value in vars(simulate_fleet(given, settings)).items():
                assert np.array_equal(value, events[name]), (seed, name)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [({"replicas": 0}, "replicas=0"), ({"balancer": "best"}, "round_robin"), ({"delay_s": 1.0}, "async")],
)
def test_wrong_settings_are_named(wrong, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        FleetSettings(**wrong)
