"""The median of sizes of which only bounds are known: as theory has it, unbiased where some never broke, covering."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import optimize, stats

from reports.statistics.censored import typical_size
from reports.statistics.seeds import log_interval, log_mean


def test_sizes_that_are_known_closely_have_students_interval_of_their_logarithms() -> None:
    sizes = [80.0, 90.0, 100.0, 110.0, 125.0]
    found = typical_size([s * 0.9999 for s in sizes], [s * 1.0001 for s in sizes])
    low, high = log_interval(sizes) or (0.0, 0.0)
    assert (found.median, found.low, found.high) == pytest.approx((log_mean(sizes), low, high), rel=1e-3)


def test_the_median_is_the_likeliest_one() -> None:
    low, high = np.array([50, 80, 120, 200, 200, 70.0]), np.array([55, 90, 130, np.inf, np.inf, 75])

    def minus_likelihood(at: np.ndarray) -> float:
        below, above = ((np.log(ends) - at[0]) / np.exp(at[1]) for ends in (low, high))
        return -float(np.log(stats.norm.cdf(above) - stats.norm.cdf(below)).sum())

    best = optimize.minimize(minus_likelihood, [4.5, 0.0], method="Nelder-Mead", options={"xatol": 1e-8})
    assert typical_size(low, high).median == pytest.approx(math.exp(best.x[0]), rel=1e-3)


def test_where_a_third_never_breaks_the_median_is_not_too_low_and_its_interval_covers() -> None:
    """Searched to a tenth, up to a size that a third exceed: a mean of the last fine sizes is a fifth too low."""
    rng = np.random.default_rng(0)
    end = 100 * math.exp(0.5 * stats.norm.ppf(0.65))
    errors, naive, covered, trials = [], [], 0, 60
    for _ in range(trials):
        steps = np.floor(np.log(100 * np.exp(0.5 * rng.standard_normal(8))) / math.log(1.1))
        low, high = 1.1**steps, 1.1 ** (steps + 1)
        low, high = np.where(low > end, end, low), np.where(low > end, np.inf, high)
        found = typical_size(low, high)
        errors.append(math.log(found.median / 100))
        naive.append(float(np.log(low).mean()) - math.log(100))
        covered += (found.low or 0) <= 100 <= (found.high or 0)
    assert abs(np.mean(errors)) < 0.06 and np.mean(naive) < -0.15
    assert 0.9 <= covered / trials


def test_what_no_bound_tells_is_said_so() -> None:
    never = typical_size([100.0] * 6, [math.inf] * 6)
    assert never.at_least and never.median == pytest.approx(100) and never.low is None
    assert typical_size([0.0, 0.0], [1.0, 2.0]).median == 0.0
    one = typical_size([99.5], [109.5])
    assert 99.5 < one.median < 109.5 and one.low is None
    split = typical_size([0.0] * 3 + [500.0] * 2, [2.0] * 3 + [math.inf] * 2)
    assert (split.median, split.low, split.high) == (0.0, 0.0, math.inf)
    for low, high in (([], []), ([2.0], [1.0]), ([-1.0], [1.0])):
        with pytest.raises(ValueError, match="0 <= low < high"):
            typical_size(low, high)
