"""Metrics on hand-computed matrices: every expected number was worked out on paper."""

import math
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from reports.numbers import metrics
from reports.statistics.percentiles import percentiles
from reports.statistics.seeds import over_seeds

ROOT = Path(__file__).parents[3]

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
    rows = [{"seed": 0, "step": s, "edit_id": e, "age": s - BORN[e], "score": float(v)} for s, e, v in CELLS]
    return whole(pl.DataFrame(rows))


def whole(cells: pl.DataFrame) -> pl.DataFrame:
    """Cells of panels that asked about every edit."""
    return cells.with_columns(pl.lit(1.0).alias("weight"), pl.lit(True).alias("at_panel"))


def test_forgetting_first_is_first_minus_last() -> None:
    # a: 1 - 1 = 0, b: 1 - 0 = 1, c: 0 - 0 = 0
    assert metrics.forgetting_first(matrix()) == pytest.approx(1 / 3)


def test_forgetting_max_is_best_minus_last() -> None:
    lost = matrix().with_columns(pl.when(pl.col("step") == 4).then(0.0).otherwise(pl.col("score")).alias("score"))
    # a: 1 - 0, b: 1 - 0, c: 0 - 0
    assert metrics.forgetting_max(lost) == pytest.approx(2 / 3)


def test_edits_probed_once_do_not_count_as_kept() -> None:
    once = whole(pl.DataFrame({"seed": [0], "step": [1], "edit_id": ["a"], "age": [0], "score": [1.0]}))
    assert math.isnan(metrics.forgetting_first(once))


def test_half_life_is_the_first_age_bin_at_half_of_the_start() -> None:
    ages = [0, 1, 2, 5, 10]
    scores = [1.0, 0.9, 0.6, 0.5, 0.1]
    frame = pl.DataFrame({"seed": [0] * 5, "step": [20] * 5, "edit_id": list("abcde"), "age": ages, "score": scores})
    assert metrics.half_life(frame) == 5
    assert metrics.half_life(frame.with_columns(pl.lit(1.0).alias("score"))) == math.inf


def test_age_bins_are_closed_below() -> None:
    cells = {"seed": [0] * 3, "step": [9, 9, 9], "edit_id": list("abc"), "age": [4, 5, 9], "score": [0.0, 1.0, 0.0]}
    frame = whole(pl.DataFrame(cells))
    got = {r["age_low"]: (r["mean"], r["n"]) for r in metrics.retention_by_age(frame).iter_rows(named=True)}
    assert got == {2: (0.0, 1), 5: (0.5, 2)}


def test_routing_counts_home_and_false_fires() -> None:
    def row(axis: str, variant: str, home: bool, n: int) -> dict[str, object]:
        base = {"editor": "x", "seed": 0, "step": 1, "prompt_kind": "text", "scorer": "generated"}
        base |= {"edit_id": "a", "probe_id": axis + variant, "age": 0, "weight": 1.0}
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


def timed(wall_s: list[float], bank_len: int = 5) -> pl.DataFrame:
    n = len(wall_s)
    return pl.DataFrame(
        {"editor": ["x"] * n, "operation": ["route"] * n, "bank_len": [bank_len] * n, "wall_s": wall_s}
    )


def test_a_percentile_in_a_table_is_a_value_that_was_measured_or_none() -> None:
    few = metrics.latency_bins(timed([1e-3] * 99 + [1.0]))
    assert few.select("p50_s", "p90_s", "p99_s", "n").rows() == [(1e-3, 1e-3, None, 100)]
    many = metrics.latency_bins(pl.concat([timed([1e-3] * 990 + [1.0] * 10), timed([2e-3] * 7, 20)]))
    assert many["p99_s"].to_list() == [1e-3, None] and many["p50_s"].to_list() == [1e-3, None]


def test_samples_of_panels_far_apart_are_not_pooled_also_where_a_bank_is_a_little_smaller_than_the_step() -> None:
    """Edits that join an entry leave a bank of 99,931 after 100,000 of them."""
    panels = {100: 1e-3, 1000: 2e-3, 9_961: 3e-3, 29_786: 4e-3, 99_931: 5e-3, 300_000: 6e-3, 1_000_000: 7e-3}
    found = metrics.latency_bins(pl.concat([timed([wall_s] * 8, size) for size, wall_s in panels.items()]))
    assert dict(found.select("bank_len", "p50_s").rows()) == panels


@pytest.mark.parametrize("n", [0, 7, 8, 52, 53, 100, 562, 563, 1000])
def test_every_table_and_page_has_the_same_percentiles_as_the_one_function(n: int) -> None:
    """Of samples between which nothing was measured: metrics, evidence, summary and the last panel agree."""
    wall_s = [2.0**-k for k in np.random.default_rng(n).integers(0, 20, n)]
    wanted = [p.value if p.known else None for p in percentiles(wall_s, (0.5, 0.9, 0.99))]
    assert all(v is None or v in wall_s for v in wanted) and [v is None for v in wanted] == [n < 8, n < 53, n < 563]
    rows = metrics.latency_bins(timed(wall_s)).select("p50_s", "p90_s", "p99_s").rows()
    assert rows == ([tuple(wanted)] if n else [])


# Bounds of redrawn samples and cuts of scores are quantiles, and no percentiles of what was measured.
BOOTSTRAPS = {
    "reports/figures/router.py",
    *(f"reports/statistics/{name}.py" for name in ("censored", "clusters")),
    *(f"reports/analyses/{name}.py" for name in ("interference", "laws", "roc", "survival")),
}


def test_no_other_file_makes_percentiles_of_its_own() -> None:
    """Quantiles that are drawn from, or cut scores, are no percentiles of what was measured: those are named here."""
    may = {
        "reports/statistics/percentiles.py",
        "reports/numbers/metrics.py",  # the size of banks in a bin
        "reports/figures/cost.py",  # a running median is drawn and not told
        "reports/figures/losses.py",
        "lifelong/simulation/service_times.py",  # drawn from; an error of a p99 is told where `percentile` tells one
        "lifelong/editors/liveedit/calibration.py",
        "lifelong/running/threads.py",
        "lifelong/studies/bench/gpu.py",  # of a handful of edits, which the page says
        "lifelong/studies/bench/threads.py",  # of the ratios of pairs, all of which are printed
        *BOOTSTRAPS,
    }
    found = {
        str(path.relative_to(ROOT))
        for package in ("lifelong", "reports", "streams")
        for path in (ROOT / package).rglob("*.py")
        if re.search(r"quantile\(|percentile\(.*linear|median\(|np\.(nan)?percentile\(", path.read_text())
    }
    assert found <= may


def two_seeds() -> pl.DataFrame:
    """Seed 0 asks three edits and keeps all, seed 1 asks one and forgets it: ids are alike."""
    cells = [(0, 1, e, 1.0) for e in "abc"] + [(0, 2, e, 1.0) for e in "abc"] + [(1, 1, "a", 1.0), (1, 2, "a", 0.0)]
    names = ["seed", "step", "edit_id", "score"]
    rows = pl.DataFrame(cells, schema=names, orient="row")
    told = {"axis": "reliability", "scorer": "generated", "variant": "edit", "editor": "x"}
    rows = rows.with_columns(age=pl.col("step") - 1, probe_id=pl.col("edit_id"))
    return whole(rows.with_columns(**{k: pl.lit(v) for k, v in told.items()}))


def test_statistics_are_taken_within_a_seed_and_then_over_seeds() -> None:
    matrix = metrics.retention_matrix(two_seeds())
    assert over_seeds(matrix, metrics.forgetting_first)["seeds"] == [0.0, 1.0]
    assert over_seeds(matrix, metrics.forgetting_max)["mean"] == 0.5
    at_two = metrics.curve(two_seeds(), ("editor", "step")).row(1, named=True)
    assert (at_two["mean"], at_two["n"], at_two["seeds"]) == (0.5, 4, 2), "pooled probes would give 3 / 4"
    assert metrics.retention_by_age(matrix).filter(pl.col("step") == 2)["mean"].to_list() == [0.5]


def test_forgetting_and_half_life_are_of_each_seeds_own_edits() -> None:
    """Two seeds have the same ids in another order, and each loses one: pooled by id they would lose nothing."""
    cells = [(0, 1, "a", 0, 1.0), (0, 2, "a", 1, 0.0), (0, 2, "b", 0, 1.0), (0, 3, "a", 2, 0.0), (0, 3, "b", 1, 1.0)]
    cells += [(1, 2, "a", 0, 1.0), (1, 1, "b", 0, 1.0), (1, 2, "b", 1, 0.0), (1, 3, "b", 2, 0.0), (1, 3, "a", 1, 1.0)]
    both = whole(pl.DataFrame(cells, schema=["seed", "step", "edit_id", "age", "score"], orient="row"))
    assert metrics.forgetting_first(both) == metrics.forgetting_max(both) == 0.5
    assert metrics.half_life(both) == 1.0
    assert over_seeds(both, metrics.forgetting_first)["seeds"] == [0.5, 0.5]


def test_nothing_is_forgotten_or_halved_where_nothing_was_learnt() -> None:
    never = matrix().with_columns(pl.lit(0.0).alias("score"))
    assert all(math.isnan(f(never)) for f in (metrics.forgetting_first, metrics.forgetting_max, metrics.half_life))


def test_age_0_is_asked_as_soon_as_an_edit_is_visible() -> None:
    """Edits a and b are made between panels 1 and 3 (b on the panel), and right at once; at panel 3 a is wrong."""
    names = ["seed", "step", "edit_id", "age", "score", "weight", "at_panel"]
    cells = [(0, 1, "z", 0, 1.0, 1.0, True), (0, 2, "a", 0, 1.0, 1.0, False), (0, 3, "a", 1, 0.0, 1.0, True)]
    cells += [(0, 3, "b", 0, 1.0, 1.0, True), (0, 4, "c", 0, 0.0, 1.0, False)]  # no panel after c yet
    table = metrics.retention_by_age(pl.DataFrame(cells, schema=names, orient="row"))
    found = {(r["step"], r["age_low"]): (r["mean"], r["edits"]) for r in table.iter_rows(named=True)}
    assert found == {(1, 0): (1.0, 1), (3, 0): (1.0, 2), (3, 1): (0.0, 1)}
