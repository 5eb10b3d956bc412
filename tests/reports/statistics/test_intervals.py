"""Intervals of scores cover what is true as often as they say: of one seed, of a few, of five or more."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import scipy.stats

from reports.statistics.curves import curve, over_all_seeds, within_seeds
from reports.statistics.seeds import ENOUGH, of_seeds, score_interval, student

DRAWS = 500


def answers(
    rng: np.random.Generator, edits: int, seeds: int, mean: float, *, probes: int, shared: float, spread: float = 0.0
) -> pl.DataFrame:
    """Draws of runs whose edits have 1 to `probes` questions, right together (`shared`), of seeds that differ."""
    shape = (DRAWS, seeds, edits)
    own = np.full((DRAWS, seeds, 1), mean)
    if spread:
        own = rng.beta(mean / spread, (1 - mean) / spread, (DRAWS, seeds, 1))
    chance = rng.beta(own / shared, (1 - own) / shared, shape) if shared else own
    count = rng.integers(1, probes + 1, shape)
    right = rng.random((*shape, probes)) < np.broadcast_to(chance, shape)[..., None]
    asked = np.arange(probes) < count[..., None]
    draw, seed, edit, probe = np.nonzero(asked)
    names = {"draw": draw, "seed": seed, "edit_id": edit, "probe_id": probe, "age": edit}
    frame = pl.DataFrame({**names, "score": right[asked].astype(float)}).with_columns(pl.lit(1.0).alias("weight"))
    return frame.with_columns(pl.col("edit_id", "probe_id").cast(pl.String))


def covered(table: pl.DataFrame, truth: float) -> float:
    return float(((table["low"] <= truth) & (truth <= table["high"])).mean())  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("mean", [0.5, 0.9, 0.97])
@pytest.mark.parametrize(("edits", "probes", "shared"), [(50, 4, 0.5), (200, 1, 0), (200, 4, 0.5)])
@pytest.mark.parametrize("seeds", [1, 3])
def test_the_interval_of_fewer_than_five_seeds_is_of_their_edits(
    mean: float, edits: int, probes: int, shared: float, seeds: int
) -> None:
    rows = answers(np.random.default_rng(edits + seeds), edits, seeds, mean, probes=probes, shared=shared)
    assert 0.92 <= covered(curve(rows, ("draw",)), mean) <= 0.98


@pytest.mark.parametrize("spread", [0.0, 0.02])
@pytest.mark.parametrize("mean", [0.5, 0.9, 0.97])
def test_the_interval_of_five_seeds_covers_what_another_stream_would_say(mean: float, spread: float) -> None:
    rows = answers(np.random.default_rng(3), 60, ENOUGH, mean, probes=4, shared=0.5, spread=spread)
    assert 0.92 <= covered(curve(rows, ("draw",)), mean) <= 0.98


@pytest.mark.parametrize("seeds", [1, 2, ENOUGH])
def test_the_interval_of_fractions_covers(seeds: int) -> None:
    """Token accuracies: most of what Wilson's interval takes for chance is not there."""
    rng = np.random.default_rng(seeds)
    rows = answers(rng, 100, seeds, 0.9, probes=1, shared=0)
    rows = rows.with_columns(pl.Series("score", np.round(4 * rng.beta(8, 2, len(rows))) / 4))
    truth = float(np.mean(np.round(4 * rng.beta(8, 2, 400_000)) / 4))
    found = curve(rows, ("draw",))
    assert 0.92 <= covered(found, truth) <= 0.98
    width = float((found["high"] - found["low"]).mean())  # pyright: ignore[reportArgumentType]
    assert seeds > 1 or width < 0.6 * 2 * 1.96 * (truth * (1 - truth) / 100) ** 0.5


def test_what_age_does_to_a_score_is_not_counted_as_chance() -> None:
    """Young edits are right and old ones wrong: a bootstrap that draws from all edits covers in 99 of 100."""
    rng, edits = np.random.default_rng(0), 60
    course = np.where(np.arange(edits) < 20, 0.95, 0.15)
    rows = answers(rng, edits, 1, 0.5, probes=1, shared=0)
    scores = rng.random((DRAWS, edits)) < course
    rows = rows.with_columns(
        pl.Series("score", scores[rows["draw"].to_numpy(), rows["age"].to_numpy()].astype(float))
    )
    found = curve(rows, ("draw",))
    assert 0.92 <= covered(found, float(course.mean())) <= 0.98
    half = 1.96 * scores.std(1, ddof=1) / edits**0.5
    assert np.mean(np.abs(scores.mean(1) - course.mean()) <= half) > 0.98


def test_standard_errors_are_those_of_a_bootstrap_that_draws_edits() -> None:
    """Without a course over ages: 4,000 draws of edits with all of their probes."""
    rng = np.random.default_rng(1)
    rows = answers(rng, 400, 1, 0.8, probes=5, shared=0.5).filter(pl.col("draw") < 40)
    found = within_seeds(rows, ("draw",))
    ratios = []
    for draw in range(40):
        edits = rows.filter(pl.col("draw") == draw).group_by("edit_id").agg(pl.col("score").sum(), pl.len())
        drawn = rng.multinomial(400, np.full(400, 1 / 400), 1000)
        means = drawn @ edits["score"].to_numpy() / (drawn @ edits["len"].to_numpy())
        ratios.append(found["variance"][draw] / means.var())
    assert np.mean(ratios) == pytest.approx(1, abs=0.05)


def test_where_every_answer_is_right_the_interval_says_of_how_many_edits() -> None:
    rows = answers(np.random.default_rng(0), 50, 1, 0.5, probes=3, shared=0).with_columns(pl.lit(1.0).alias("score"))
    found = curve(rows.filter(pl.col("draw") == 0), ("draw",)).row(0, named=True)
    assert found["high"] == 1 and 0.87 < found["low"] < 0.94 and found["edits"] == 50  # Wilson's of 50 begins at .929
    one = curve(rows.filter((pl.col("draw") == 0) & (pl.col("age") == 0)), ("draw",)).row(0, named=True)
    assert one["low"] < 0.05 and one["high"] == 1  # one edit says next to nothing


def test_numbers_beyond_0_to_1_have_students_interval() -> None:
    rng = np.random.default_rng(0)
    rows = answers(rng, 80, 1, 0.5, probes=1, shared=0)
    rows = rows.with_columns(pl.Series("score", rng.normal(3, 1, len(rows))))
    assert 0.92 <= covered(curve(rows, ("draw",)), 3.0) <= 0.98


def test_the_interval_of_five_seeds_is_students_where_it_is_far_from_the_ends() -> None:
    values = [0.50, 0.52, 0.49, 0.51, 0.50]
    one = {"draw": 0, "edit_id": "a", "probe_id": "a", "age": 0, "weight": 1.0}
    rows = pl.DataFrame({"seed": range(5), "score": values}).with_columns(**{k: pl.lit(v) for k, v in one.items()})
    found = curve(rows, ("draw",)).row(0, named=True)
    low, high = scipy.stats.t.interval(0.95, 4, np.mean(values), scipy.stats.sem(values))
    assert (found["low"], found["high"]) == (pytest.approx(low, abs=1e-3), pytest.approx(high, abs=1e-3))
    table = of_seeds(values, 5, share=True)
    assert (table["low"], table["high"]) == (pytest.approx(found["low"]), pytest.approx(found["high"]))


def test_a_share_of_seeds_never_reaches_beyond_0_and_1() -> None:
    found = of_seeds([1.0, 1.0, 0.98, 1.0, 1.0], 500, share=True)
    assert 0.96 < found["low"] < found["mean"] < found["high"] <= 1
    assert of_seeds([1.0] * 5, 500, share=True)["low"] < 1


def test_quantiles_of_student_and_wilsons_interval_are_those_of_scipy() -> None:
    freedom = np.array([1, 2, 3, 4.5, 7.3, 19.2, 33, 200, 5000])
    assert student(freedom) == pytest.approx(scipy.stats.t.ppf(0.975, freedom), rel=0.02)
    for right in (0, 3, 25, 50):
        wanted = scipy.stats.binomtest(right, 50).proportion_ci(method="wilson")
        assert score_interval(right / 50, 50, 1.959964) == (pytest.approx(wanted.low), pytest.approx(wanted.high))


def test_two_thousand_edits_on_ten_axes_at_twelve_panels_take_seconds() -> None:
    rng, edits, axes, panels = np.random.default_rng(0), 2000, 10, 12
    n = edits * axes * panels
    grid = np.indices((panels, axes, edits)).reshape(3, n)
    rows = pl.DataFrame({"step": grid[0], "axis": grid[1], "age": grid[2], "edit_id": grid[2].astype(str),
                         "probe_id": grid[2].astype(str), "score": rng.random(n).round(), "weight": 1.0,
                         "seed": 0})  # fmt: skip
    within = within_seeds(rows, ("step", "axis"))
    assert len(over_all_seeds(within, ("step", "axis"))) == axes * panels
