"""Differences of editors: intervals cover at their rate, and of equal editors hardly ever is one called better."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from reports.statistics.paired import SeedScores, holm, pairs_apart, seeds_apart, students_95, two_sided


def first_measure(means: np.ndarray, seed: int) -> np.ndarray:
    return means[..., :1]


def table(rng: np.random.Generator, rates, edits: int, probes: int = 3, together: float = 0.6) -> SeedScores:
    """Editors who answer probes rightly at `rates`; an edit that is hard is so for all its probes and editors."""
    hard = rng.random((edits, 1))
    own = rng.random((len(rates), edits, probes))
    right = np.where(rng.random((len(rates), edits, 1)) < together, hard, own) < np.reshape(rates, (-1, 1, 1))
    return SeedScores(right.sum(2, keepdims=True).astype(float), np.full((edits, 1), float(probes)))


def test_p_and_quantile_are_students() -> None:
    for freedom in (1, 2, 3, 4, 7, 40):
        assert students_95(freedom) == pytest.approx(stats.t.ppf(0.975, freedom))
        for t in (0.0, 0.5, 2.0, 6.0):
            assert two_sided(-t, freedom) == pytest.approx(2 * stats.t.sf(t, freedom), abs=1e-12)


def test_five_seeds_are_a_paired_t_test() -> None:
    one, other = np.array([0.7, 0.8, 0.75, 0.9, 0.6]), np.array([0.6, 0.75, 0.7, 0.8, 0.58])
    found, known = seeds_apart(list(one - other)), stats.ttest_rel(one, other)
    assert found.p == pytest.approx(known.pvalue)  # pyright: ignore[reportAttributeAccessIssue]
    low, high = known.confidence_interval()  # pyright: ignore[reportAttributeAccessIssue]
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))
    assert seeds_apart([0.0] * 5).p == 1.0 and seeds_apart([0.1] * 5).p == 0.0


def test_holm_is_worked_by_hand_and_leaves_out_what_was_not_asked() -> None:
    assert holm([0.04, math.nan, 0.01, 0.03])[::2] == [pytest.approx(0.06), pytest.approx(0.03)]
    assert math.isnan(holm([0.04, math.nan])[1]) and holm([]) == [] and holm([0.9, 0.8]) == [1.0, 1.0]


def test_one_seed_of_five_edits_that_one_editor_alone_answers_is_the_sign_test() -> None:
    sums = np.zeros((2, 40, 1))
    sums[0, :5] = 1
    ((found,),) = pairs_apart([SeedScores(sums, np.ones((40, 1)))], [(0, 1)], first_measure, 20_000)
    assert found.value == 0.125 and found.p == pytest.approx(2 / 2**5, abs=0.006)


def test_two_editors_alike_in_all_edits_are_not_known_to_be_equal() -> None:
    sums = np.ones((2, 100, 1))
    ((found,),) = pairs_apart([SeedScores(sums, np.ones((100, 1)))], [(0, 1)], first_measure)
    assert found.value == 0 and found.p == 1 and found.low < -0.015 and found.high > 0.015


@pytest.mark.parametrize(
    ("rates", "seeds", "edits"),
    [((0.7, 0.6), 1, 60), ((0.7, 0.6), 3, 40), ((0.5, 0.1), 1, 60), ((0.99, 0.97), 1, 300), ((0.99, 0.97), 4, 100)],
)
def test_the_interval_over_edits_covers_the_true_difference(rates, seeds: int, edits: int) -> None:
    rng, hits, n = np.random.default_rng(int(100 * rates[0]) + seeds), 0, 300
    for _ in range(n):
        ((found,),) = pairs_apart([table(rng, rates, edits) for _ in range(seeds)], [(0, 1)], first_measure, 400)
        hits += found.low <= rates[0] - rates[1] <= found.high
    assert 0.92 <= hits / n <= 0.98


def test_the_interval_over_five_seeds_covers_the_true_difference() -> None:
    """Streams differ: what one editor has over another is another in each."""
    rng, hits, n = np.random.default_rng(5), 0, 1000
    for _ in range(n):
        seeds = [table(rng, (0.7 + rng.normal(0, 0.05), 0.6), 40) for _ in range(5)]
        ((found,),) = pairs_apart(seeds, [(0, 1)], first_measure)
        hits += found.low <= 0.1 <= found.high
    assert 0.92 <= hits / n <= 0.98


@pytest.mark.parametrize("seeds", [1, 5])
def test_of_five_equal_editors_one_is_called_better_in_at_most_five_of_a_hundred_tables(seeds: int) -> None:
    rng, wrong, n = np.random.default_rng(seeds), 0, 200
    pairs = [(i, j) for i in range(5) for j in range(i)]
    for _ in range(n):
        found = pairs_apart([table(rng, [0.8] * 5, 40) for _ in range(seeds)], pairs, first_measure, 1000)
        found = [one for (one,) in found]
        adjusted = holm([one.p for one in found])
        wrong += any(p < 0.05 and not d.low <= 0 <= d.high for p, d in zip(adjusted, found, strict=True))
    assert wrong / n <= 0.08  # 5 % and what 200 tables leave open


def test_what_one_of_two_was_not_asked_has_no_difference() -> None:
    nothing = SeedScores(np.zeros((2, 9, 1)), np.zeros((9, 1)))
    ((found,),) = pairs_apart([nothing], [(0, 1)], first_measure, 50)
    assert math.isnan(found.value) and math.isnan(found.p)
