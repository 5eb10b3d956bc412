"""Metrics on hand-computed matrices: every expected number was worked out on paper."""

import math

import numpy as np
import polars as pl
import pytest

from reports.numbers import metrics

# R[step, edit], edits a, b, c made visible at steps 1, 2, 3; a is lost at 3 and comes back at 4, b is lost at 4.
CELLS = [
    (1, "a", 1),
    (2, "a", 1),
    (2, "b", 1),
    (3, "a", 0),
    (3, "b", 1),
    (3, "c", 0),
    (4, "a", 1),
    (4, "b", 0),
    (4, "c", 0),
]
BORN = {"a": 1, "b": 2, "c": 3}


def matrix() -> pl.DataFrame:
    rows = [{"step": s, "edit_id": e, "age": s - BORN[e], "score": float(v)} for s, e, v in CELLS]
    return pl.DataFrame(rows)


def test_forgetting_first_is_first_minus_last() -> None:
    # a: 1 - 1 = 0, b: 1 - 0 = 1, c: 0 - 0 = 0
    assert metrics.forgetting_first(matrix()) == pytest.approx(1 / 3)


def test_forgetting_max_is_best_minus_last() -> None:
    lost = matrix().with_columns(pl.when(pl.col("step") == 4).then(0.0).otherwise(pl.col("score")).alias("score"))
    # a: 1 - 0, b: 1 - 0, c: 0 - 0
    assert metrics.forgetting_max(lost) == pytest.approx(2 / 3)


def test_edits_probed_once_do_not_count_as_kept() -> None:
    once = pl.DataFrame({"step": [1], "edit_id": ["a"], "age": [0], "score": [1.0]})
    assert math.isnan(metrics.forgetting_first(once))


def test_half_life_is_the_first_age_bin_at_half_of_the_start() -> None:
    ages = [0, 1, 2, 5, 10]
    frame = pl.DataFrame(
        {"step": [20] * 5, "edit_id": list("abcde"), "age": ages, "score": [1.0, 0.9, 0.6, 0.5, 0.1]}
    )
    assert metrics.half_life(frame) == 5
    assert metrics.half_life(frame.with_columns(pl.lit(1.0).alias("score"))) == math.inf


def test_age_bins_are_closed_below() -> None:
    frame = pl.DataFrame({"step": [9, 9, 9], "edit_id": list("abc"), "age": [4, 5, 9], "score": [0.0, 1.0, 0.0]})
    got = {r["age_low"]: (r["mean"], r["n"]) for r in metrics.retention_by_age(frame).iter_rows(named=True)}
    assert got == {2: (0.0, 1), 5: (0.5, 2)}


def test_routing_counts_home_and_false_fires() -> None:
    def row(axis: str, variant: str, home: bool, n: int) -> dict[str, object]:
        base = {"editor": "x", "step": 1, "prompt_kind": "text", "scorer": "generated"}
        return base | {"axis": axis, "variant": variant, "routed_home": home, "routed_n": n}

    rows = pl.DataFrame(
        [
            row("reliability", "edit", True, 1),
            row("generality", "template", False, 1),
            row("locality", "near", False, 1),
            row("locality", "far", False, 0),
            row("specificity", "must-not", False, 0),
            row("reliability", "superseded", False, 1),
            row("generality", "withdrawn", False, 1),
            row("locality", "withdrawn", False, 1),
        ]
    )
    means = {
        r["measure"]: r["score"]
        for r in metrics.routing_scores(rows).group_by("measure").agg(pl.col("score").mean()).to_dicts()
    }
    assert means == {"recall": pytest.approx(1 / 2), "false fires": pytest.approx(1 / 3)}


def test_p99_is_withheld_below_100_samples() -> None:
    timed = pl.DataFrame(
        {"editor": ["x"] * 150, "operation": ["route"] * 150, "bank_len": [5] * 99 + [20] * 51, "wall_s": [1.0] * 150}
    )
    assert metrics.latency_bins(timed)["p99_s"].to_list() == [None, None]
    assert metrics.latency_bins(pl.concat([timed, timed]))["p99_s"].to_list() == [1.0, 1.0]


def test_wilson_covers_the_true_proportion_at_its_rate() -> None:
    draws = np.random.default_rng(0).binomial(50, 0.9, 4000)
    inside = [low <= 0.9 <= high for low, high in (metrics.wilson(d, 50) for d in draws)]
    assert 0.92 <= float(np.mean(inside)) <= 0.98
