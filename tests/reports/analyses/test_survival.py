"""Survival of edits on lives whose law is known, and against Kaplan-Meier and log-rank of scipy."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
from scipy.stats import CensoredData, ecdf, logrank

from reports.analyses.survival import (
    lifetimes,
    log_rank,
    log_rank_scores,
    rounded_ages,
    survival_band,
    turnbull,
)
from reports.statistics.paired import holm


def looked_at_every_age(seed: int, n: int = 60, mean: float = 8.0) -> tuple[np.ndarray, np.ndarray]:
    """Ages at failure, and at which following ended first: each failure lies in the step before it."""
    rng = np.random.default_rng(seed)
    fails, ends = rng.geometric(1 / mean, n).astype(float), rng.integers(1, 20, n).astype(float)
    return np.where(fails <= ends, fails - 1, ends), np.where(fails <= ends, fails, np.inf)


def panels(rng: np.random.Generator, n: int, mean: float | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Edits 1 ... n of a run with lives of a mean, looked at when they are new and at a few panels."""
    born, lives = np.arange(n), np.ceil(rng.exponential(mean, n))
    steps = np.array([s for s in (10, 20, 50, 100, 200, 500, 1000) if s <= n])
    ages = np.where(steps[None] > born[:, None], steps[None] - born[:, None], 0).astype(float)
    left = np.where(ages < lives[:, None], ages, 0).max(1)
    right = np.where((ages >= lives[:, None]) & (ages > 0), ages, np.inf).min(1)
    return left, right


def cells(**by_edit: list[tuple[int, int]]) -> pl.DataFrame:
    rows = [
        {"editor": "x", "seed": 0, "edit_id": edit, "age": age, "score": float(right), "axis": "reliability",
         "variant": "edit", "scorer": "generated"}
        for edit, asked in by_edit.items() for age, right in asked
    ]  # fmt: skip
    return pl.DataFrame(rows)


@pytest.mark.parametrize("seed", range(5))
def test_looked_at_every_age_turnbull_is_kaplan_meier(seed: int) -> None:
    left, right = looked_at_every_age(seed)
    fails = np.isfinite(right)
    theirs = ecdf(CensoredData(right[fails], right=left[~fails])).sf
    ours = turnbull(left, right).at(theirs.quantiles)
    np.testing.assert_allclose(ours, theirs.probabilities, atol=2e-3)


def test_turnbulls_own_kind_of_example_comes_out_as_by_hand() -> None:
    # (0, 1] twice, (0, 2] once, (1, 3] once: mass in (0, 1] and (1, 2]; 3/4 and 1/4 make l = 2 log p + log(1-p) best
    found = turnbull(np.array([0, 0, 0, 1]), np.array([1, 1, 2, 3]))
    assert found.low.tolist() == [0, 1] and found.high.tolist() == [1, 2]
    np.testing.assert_allclose(found.mass, [2 / 3, 1 / 3], atol=1e-3)


def test_no_other_law_makes_sparse_panels_more_likely() -> None:
    left, right = panels(np.random.default_rng(0), 200, 60)
    found = turnbull(left, right)
    holds = (left[:, None] <= found.low) & (found.high <= right[:, None])
    slope = (holds / (holds @ found.mass)[:, None]).mean(0)
    assert slope.max() < 1 + 2e-4 and found.mass.sum() == pytest.approx(1)


def test_sparse_panels_find_the_law_that_the_lives_were_drawn_from() -> None:
    lives = [panels(np.random.default_rng(seed), 1000, 150.0) for seed in range(5)]
    found = turnbull(np.concatenate([a for a, _ in lives]), np.concatenate([b for _, b in lives]))
    ages = np.array([10.0, 50, 100, 200, 400])
    np.testing.assert_allclose(found.at(ages), np.exp(-ages / 150), atol=0.06)  # a cube-root law: slow


def test_a_band_holds_the_truth_as_often_as_it_says() -> None:
    ages, inside = np.array([20.0, 60.0]), []
    for seed in range(80):
        left, right = panels(np.random.default_rng(seed), 200, 60.0)
        lives = pl.DataFrame({"seed": [0] * 200, "left": left, "right": right})
        _, low, high = survival_band(lives, ages, draws=120, seed=seed)
        truth = np.exp(-ages / 60)
        inside += ((low <= truth) & (truth <= high)).tolist()
    assert 0.90 <= np.mean(inside) <= 0.99


def test_the_scores_of_a_group_add_up_to_scipys_statistic() -> None:
    (left, right), (left2, right2) = looked_at_every_age(0, 80, 6.0), looked_at_every_age(1, 80, 10.0)
    one, two = (CensoredData(r[np.isfinite(r)], right=a[~np.isfinite(r)])
                for a, r in ((left, right), (left2, right2)))  # fmt: skip
    theirs = logrank(one, two)
    scores = log_rank_scores(np.concatenate([left, left2]), np.concatenate([right, right2]))
    # The variance of observed less expected failures, by the hypergeometric law at every age.
    everyone, ends = np.concatenate([right, right2]), np.concatenate([left, left2])
    variance = 0.0
    for age in np.unique(everyone[np.isfinite(everyone)]):
        at_risk = np.where(np.isfinite(everyone), everyone, ends) >= age
        n, d, m = at_risk.sum(), (everyone == age).sum(), at_risk[:80].sum()
        variance += d * m * (n - m) * (n - d) / (n * n * max(1, n - 1))
    assert scores[:80].sum() == pytest.approx(theirs.statistic * math.sqrt(variance), abs=0.05)
    spread = math.sqrt((scores**2).sum() * 80 * 80 / (160 * 159))  # by exchanging the groups' labels
    assert math.erfc(abs(scores[:80].sum() / spread) / math.sqrt(2)) == pytest.approx(theirs.pvalue, abs=0.01)


def paired(seed: int, n: int, mean: float, other: float) -> pl.DataFrame:
    """Two editors over one stream; an edit that is hard for one is hard for both."""
    rng = np.random.default_rng(seed)
    hard = rng.gamma(2, 0.5, n)
    frames = []
    for editor, m in (("a", mean), ("b", other)):
        left, right = panels(rng, n, m * hard)
        frames.append(pl.DataFrame({"editor": [editor] * n, "seed": [0] * n, "edit_id": [str(i) for i in range(n)],
                                    "left": left, "right": right}))  # fmt: skip
    return pl.concat(frames)


def test_equal_editors_are_told_apart_in_one_case_of_twenty_and_others_always() -> None:
    alike = [log_rank(paired(seed, 100, 40, 40), "a", "b")[1] for seed in range(200)]
    assert 0.01 <= np.mean(np.array(alike) < 0.05) <= 0.09
    z, p, n = log_rank(paired(0, 200, 20, 80), "a", "b")
    assert z > 4 and p < 1e-4 and n == 200
    assert math.isnan(log_rank(paired(0, 10, 20, 80), "a", "b")[1])


def test_only_edits_right_at_once_live_and_the_first_wrong_answer_ends_it() -> None:
    found = lifetimes(
        cells(
            kept=[(0, 1), (3, 1), (9, 1)],
            lost=[(0, 1), (3, 1), (9, 0), (20, 1)],
            never=[(0, 0), (3, 1)],
            late=[(3, 1)],  # nobody asked at once
        )
    )
    assert found.select("edit_id", "left", "right").rows() == [("kept", 9.0, math.inf), ("lost", 3.0, 9.0)]


def test_an_edit_that_was_replaced_is_followed_until_then() -> None:
    frame = cells(old=[(0, 1), (3, 1), (9, 0)])
    gone = frame.with_columns(
        pl.when(pl.col("age") == 9).then(pl.lit("superseded")).otherwise("variant").alias("variant")
    )
    assert lifetimes(gone)["right"].to_list() == [math.inf] and lifetimes(gone)["left"].to_list() == [3.0]


def test_rounding_keeps_every_interval_and_moves_no_age_by_more_than_a_twentieth() -> None:
    rng = np.random.default_rng(0)
    left = rng.integers(0, 5000, 2000).astype(float)
    right = np.where(rng.random(2000) < 0.3, np.inf, left + rng.integers(1, 300, 2000))
    got = rounded_ages(pl.DataFrame({"left": left, "right": right}))
    assert (got["left"] < got["right"]).all()
    assert (np.abs(got["left"].to_numpy() - left) <= 0.05 * left + 0.5).all()


def test_p_values_are_adjusted_for_their_number() -> None:
    assert holm([0.04]) == [0.04] and holm([math.nan, 0.5])[1] == 0.5 and math.isnan(holm([math.nan])[0])
