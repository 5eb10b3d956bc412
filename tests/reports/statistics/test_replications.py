"""Percentiles and shares over replications: they cover the truth of a queue whose truth is known, or are refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from reports.statistics.replications import after_warm_up, percentiles_over, share_over

REPLICATIONS = 10


def sojourns(rng: np.random.Generator, load: float, n: int, replications: int = REPLICATIONS) -> np.ndarray:
    """Times in an M/M/1 queue with a mean service of 1 s, by Lindley's recursion, the first tenth left out."""
    service = rng.exponential(1.0, (replications, n))
    more = np.zeros_like(service)
    more[:, 1:] = service[:, :-1] - rng.exponential(1 / load, (replications, n - 1))
    sums = np.cumsum(more, 1)
    waits = sums - np.minimum.accumulate(sums, 1)
    return (waits + service)[:, after_warm_up(np.arange(n), n)]


@pytest.mark.parametrize(("load", "n"), [(0.5, 2000), (0.8, 8000), (0.9, 30_000)])
def test_intervals_of_p50_and_p99_cover_the_sojourn_times_of_an_mm1_queue(load: float, n: int) -> None:
    """A sojourn time is exponential with rate mu - lambda."""
    rng = np.random.default_rng(22)
    covered = np.zeros(2)
    trials = 100
    for _ in range(trials):
        found = percentiles_over(list(sojourns(rng, load, n)), (0.5, 0.99))
        truths = (-math.log(0.5) / (1 - load), -math.log(0.01) / (1 - load))
        covered += [one.low <= truth <= one.high for one, truth in zip(found, truths, strict=True)]
    assert (covered / trials >= 0.9).all() and (covered / trials <= 0.98).all(), covered / trials


def test_a_p99_that_too_few_independent_samples_lie_beyond_is_refused_rather_than_wrong() -> None:
    rng = np.random.default_rng(3)
    truth = -math.log(0.01) / 0.1
    found = [percentiles_over(list(sojourns(rng, 0.9, 1000)), (0.99,))[0] for _ in range(60)]
    assert sum(one.known and not one.low <= truth <= one.high for one in found) <= 6
    assert sum(not one.known for one in found) > 40 and all(one.n == 9000 for one in found)


def test_the_effective_number_of_samples_is_far_below_their_number_in_a_busy_queue() -> None:
    """The mean of an M/M/1 queue at .9 is known as well as by about n / 380 independent samples."""
    rng = np.random.default_rng(4)
    busy = [percentiles_over(list(sojourns(rng, 0.9, 10_000)), (0.5,))[0].effective_n for _ in range(10)]
    free = [percentiles_over(list(rng.exponential(1, (10, 9000))), (0.5,))[0].effective_n for _ in range(10)]
    assert np.median(busy) < 0.03 * 90_000 and np.median(free) > 0.5 * 90_000


def test_a_share_over_replications_covers_the_share_that_is_true() -> None:
    rng = np.random.default_rng(5)
    truth, covered = 1 - math.exp(-0.3 * 8), 0
    for _ in range(120):
        within = (sojourns(rng, 0.7, 3000) <= 8).sum(1)
        found = share_over(within, np.full(REPLICATIONS, 2700))
        covered += found.low <= truth <= found.high
    assert 0.9 <= covered / 120 <= 0.98


def test_the_interval_of_a_share_is_students_of_the_jackknife_on_the_scale_of_log_odds() -> None:
    """By hand: 80, 85, 90, 78, 88 of 100 each; without the first 341 of 400, and so on."""
    found = share_over([80, 85, 90, 78, 88], [100] * 5)
    left = [math.log(k / (400 - k)) for k in (341, 336, 331, 343, 333)]
    half = stats.t.ppf(0.975, 4) * math.sqrt(0.8 * sum((one - np.mean(left)) ** 2 for one in left))
    odds = math.log(0.842 / 0.158)
    expected = [1 / (1 + math.exp(-(odds + side))) for side in (-half, half)]
    assert (found.value, found.low, found.high) == pytest.approx((0.842, *expected), rel=1e-4)
    linear = stats.t.ppf(0.975, 4) * np.std([0.8, 0.85, 0.9, 0.78, 0.88], ddof=1) / math.sqrt(5) / (0.842 * 0.158)
    assert half == pytest.approx(linear, rel=0.03)


def test_no_share_is_certain_however_alike_the_replications_are() -> None:
    all_good, none = share_over([1000] * 10, [1000] * 10), share_over([0] * 10, [1000] * 10)
    assert (all_good.value, all_good.high) == (1.0, 1.0) and 0.999 < all_good.low < 1.0
    assert (none.value, none.low) == (0.0, 0.0) and 0 < none.high < 0.001
    with pytest.raises(ValueError, match="each at most its n"):
        share_over([3], [2])


def test_few_replications_have_values_without_an_interval_and_no_samples_have_neither() -> None:
    four = percentiles_over([np.arange(200.0)] * 4, (0.5, 0.99))
    assert four[0].value == 99.0 and not any(one.known for one in four)
    nothing = percentiles_over([np.empty(0)] * 10, (0.5,))[0]
    assert math.isnan(nothing.value) and nothing.n == 0 and math.isnan(share_over([0] * 10, [0] * 10).value)


def test_equal_samples_are_their_own_percentile() -> None:
    found = percentiles_over([np.full(300, 0.25)] * 10, (0.5, 0.99))
    assert [(one.value, one.low, one.high) for one in found] == [(0.25, 0.25, 0.25)] * 2
