"""Routers' scores against scipy's rank test, the normal law, and intervals that hold what they say."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
from scipy.stats import mannwhitneyu, norm

from reports.analyses.roc import area, recall_at, roc, router_scores, separation


def normal(seed: int, n: int, apart: float) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.normal(apart, 1, n), rng.normal(0, 1, n)]), np.repeat([True, False], n)


@pytest.mark.parametrize("digits", [0, 1, 8])
def test_the_area_is_the_statistic_of_mann_and_whitney_ties_included(digits: int) -> None:
    best, inside = normal(0, 150, 0.8)
    best = np.round(best, digits)
    theirs = mannwhitneyu(best[inside], best[~inside]).statistic / 150**2
    assert area(*roc(best, inside)) == pytest.approx(theirs)


def test_recall_at_a_price_is_that_of_the_normal_law() -> None:
    best, inside = normal(1, 200_000, 2.0)
    curve = roc(best, inside)
    for price in (0.01, 0.05):
        assert recall_at(*curve, price) == pytest.approx(1 - norm.cdf(norm.ppf(1 - price) - 2), abs=0.01)
    assert area(*curve) == pytest.approx(norm.cdf(2 / math.sqrt(2)), abs=0.005)


def test_recall_at_a_price_by_hand() -> None:
    best, inside = np.array([9.0, 8, 7, 6, 5]), np.array([True, False, True, False, True])
    assert recall_at(*roc(best, inside), 0.0) == pytest.approx(1 / 3)  # only the first lies above all others
    assert recall_at(*roc(best, inside), 0.5) == pytest.approx(2 / 3)
    tied = np.array([1.0, 1.0])
    assert recall_at(*roc(tied, np.array([True, False])), 0.5) == 0  # both fire or none does


def test_what_was_not_searched_for_never_fires() -> None:
    best, inside = np.array([1.0, -np.inf, 0.5, -np.inf]), np.array([True, True, False, False])
    false_fires, recall = roc(best, inside)
    assert false_fires[-1] == 0.5 and recall[-1] == 0.5 and recall_at(false_fires, recall, 1.0) == 0.5


def rows(seed: int, edits: int = 60, spread: float = 1.0) -> pl.DataFrame:
    """Edits with four questions in scope and four out of it, whose scores share the edit's own shift."""
    rng = np.random.default_rng(seed)
    shift = rng.normal(0, spread, edits)
    out = [(f"e{i}", rng.normal(1.5 * inside + shift[i]), bool(inside))
           for i in range(edits) for inside in (1, 0) for _ in range(4)]  # fmt: skip
    frame = pl.DataFrame(out, schema=["edit_id", "best", "inside"], orient="row")
    return frame.with_columns(pl.lit("x").alias("editor"), pl.lit(0).alias("seed"), pl.lit(5).alias("step"),
                              (pl.col("best") > 1).alias("fired"))  # fmt: skip


def test_the_interval_of_an_area_holds_the_truth_though_questions_of_an_edit_are_alike() -> None:
    truth = norm.cdf(1.5 / math.sqrt(2 * 2))  # scores of two kinds, each with variance 2
    inside = []
    for seed in range(80):
        (one,) = separation(rows(seed), draws=150, seed=seed).to_dicts()
        inside.append(one["auc low"] <= truth <= one["auc high"])
    assert 0.90 <= np.mean(inside) <= 1


def test_many_levels_of_scores_give_the_same_as_all(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = separation(rows(0, 400))
    monkeypatch.setattr("reports.analyses.roc._LEVELS", 10**9)
    exact = separation(rows(0, 400))
    for name in whole.columns[1:]:
        assert whole[name].item() == pytest.approx(exact[name].item(), abs=0.01)


def test_the_router_as_it_is_set_lies_beside_its_scores() -> None:
    (one,) = separation(rows(3)).to_dicts()
    frame = rows(3)
    assert one["recall"] == frame.filter("inside")["fired"].mean() and one["n_in"] == one["n_out"] == 240


def test_panels_at_which_nothing_was_searched_are_left_out() -> None:
    base = {"editor": "x", "seed": 0, "scorer": "generated", "modality": "text", "routed_n": 0, "age": 0}
    probed = pl.DataFrame(
        [
            base | {"step": s, "probe_id": p, "edit_id": "e", "axis": a, "variant": "v", "best_score": b}
            for s, p, a, b in (
                (1, "p", "reliability", None),
                (2, "p", "reliability", 0.5),
                (2, "q", "locality", None),
            )
        ]
    )
    found = router_scores(probed, pl.DataFrame([{"editor": "x", "seed": 0, "step": s} for s in (1, 2)]))
    assert found.select("step", "inside", "best").rows() == [(2, True, 0.5), (2, False, -math.inf)]
    assert separation(found.filter("inside")).is_empty()
