"""A panel that asks about a sample of edits by age is estimated without bias, on real runs and on made-up ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

import lifelong
from lifelong.probing.due import log_age_sample
from reports.numbers.metrics import asked_rows, panel_rows
from reports.statistics.curves import curve, mean_score
from reports.table import load_runs

SMALL = {"editor": "ft", "editor.learning_rate": 0.01, "editor.steps": 4, "model": "tiny", "stream": "toy",
         "edits": 30, "panels.at": [24, 30], "panels.instant": False, "panels.latency_routes": 0,
         "threads": 1}  # fmt: skip
ASKED = ("editor", "seed", "step", "edit_id", "age", "axis", "variant", "probe_id", "scorer", "score")


def panels(
    ages: dict[int, list[int]],
    *,
    scores: np.ndarray | None = None,
    probes: int = 1,
    axis: str = "generality",
    variant: str = "template",
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Panels that asked about edits of some ages; `scores` are (draws, ages of all panels, probes)."""
    places = [(step, age) for step, some in ages.items() for age in some]
    scores = np.ones((1, len(places), probes)) if scores is None else scores
    twin = [places[:i].count(place) for i, place in enumerate(places)]  # edits made together have one age
    ids = [f"e{step - age}" + "+" * n for (step, age), n in zip(places, twin, strict=True)]
    rows = [
        (str(draw), 0, step, edit, age, axis, variant, f"{edit}.{p}", "generated", s)
        for draw, drawn in enumerate(scores)
        for (step, age), edit, answers in zip(places, ids, drawn.tolist(), strict=True)
        for p, s in enumerate(answers)
    ]
    probed = pl.DataFrame(rows, schema=ASKED, orient="row")
    return probed, probed.select("editor", "seed", "step").unique()


def weights(probed: pl.DataFrame, gauged: pl.DataFrame, axis: str = "generality") -> list[float]:
    rows = panel_rows(probed, gauged).filter(pl.col("axis") == axis).sort("age")
    return rows.unique("edit_id", maintain_order=True)["weight"].to_list()


def young(edits: int, n: int) -> list[int]:
    """The ages of a sample by age, as panels draw it."""
    return [edits - place for place in log_age_sample(range(1, edits + 1), n)]


def test_an_edit_stands_for_itself_and_half_of_those_up_to_the_next_one_asked() -> None:
    assert weights(*panels({10: [0, 1, 4, 9]})) == [1.0, 2.0, 4.0, 3.0]  # 2 and 3 are not asked, nor 5 to 8
    assert weights(*panels({10: [2, 3]})) == [3.0, 7.0]  # the youngest and the oldest stand for all beyond them
    assert weights(*panels({4: [0, 1, 2, 3]})) == [1.0] * 4


@pytest.mark.parametrize(("edits", "n"), [(10, 50), (51, 50), (400, 50), (2000, 200), (7, 1), (999, 2)])
def test_the_edits_asked_stand_for_all_edits(edits: int, n: int) -> None:
    found = weights(*panels({edits: young(edits, n)}))
    assert sum(found) == pytest.approx(edits) and min(found) >= 1 and len(found) == min(n, edits)


def test_edits_made_together_have_one_age_and_share_what_they_stand_for() -> None:
    assert weights(*panels({12: [0, 0, 0, 0, 4, 4, 4, 4, 8, 8, 8, 8]})) == [1.0] * 12
    assert weights(*panels({12: [0, 0, 0, 0, 8, 8, 8, 8]})) == [1.5] * 8
    assert weights(*panels({12: [0, 0, 8, 8]})) == [2.5, 2.5, 3.5, 3.5]  # two of four, three of eight ... of 12


def test_what_is_asked_at_once_of_one_axis_does_not_count_as_a_sample_of_another() -> None:
    """A panel asks about edits of age 0 and 9; the four youngest were asked their reliability as they were made."""
    (probed, gauged), (at_once, _) = panels({10: [0, 9]}), panels({10: [0, 0, 0, 0, 9]}, axis="reliability")
    later, panel = panels({20: list(range(20))})  # where it shows that they have questions on the other axis too
    at_once = at_once.with_columns(
        edit_id=pl.Series(["e10", "e9", "e8", "e7", "e1"]), probe_id=pl.Series(list("abcde"))
    )
    both = pl.concat([probed, at_once, later])
    rows = panel_rows(both, pl.concat([gauged, panel])).filter(pl.col("step") == 10)
    found = {axis: part["weight"].to_list() for (axis,), part in rows.sort("age", "edit_id").group_by("axis")}
    assert found["generality"] == [5.0, 5.0] and found["reliability"] == [1.625] * 4 + [3.5]


def test_an_edit_without_questions_of_an_axis_stands_for_others_without() -> None:
    """Of ages 0 and 9 only 0 has questions of locality: it counts for its half of the edits, not for all."""
    everyone, gauged = panels({10: [0, 9]})
    local, _ = panels({10: [0]}, axis="locality")
    both = pl.concat([everyone, local.with_columns(probe_id=pl.lit("l"))])
    assert weights(both, gauged, "locality") == [5.0]


def test_replaced_edits_are_asked_one_question_and_keep_their_place_in_the_sample() -> None:
    first, _ = panels({5: [0]})
    first = first.with_columns(edit_id=pl.lit("e6"), probe_id=pl.lit("e6.0"))
    asked, gauged = panels({10: [0, 4, 9]})
    replaced = pl.col("edit_id") == "e6"
    told = asked.filter(replaced).with_columns(axis=pl.lit("reliability"), variant=pl.lit("superseded"))
    both = pl.concat([first, asked.filter(~replaced), told])
    assert weights(both, gauged) == [2.5, 3.0]  # the replaced one stands for the middle


def test_questions_about_no_edit_and_answers_between_panels_count_once() -> None:
    general, gauged = panels({10: [10, 10]}, axis="general")
    general = general.with_columns(edit_id=pl.lit(""), probe_id=pl.Series(["g1", "g2"]))
    between, _ = panels({7: [0]})
    rows = asked_rows(pl.concat([general, between, panels({10: [0, 9]})[0]]), gauged)
    assert rows.filter(pl.col("edit_id") == "")["weight"].to_list() == [1.0, 1.0]
    assert rows.filter(~pl.col("at_panel"))["weight"].to_list() == [1.0]


SHAPES = {
    "straight": lambda age: 0.95 - 0.7 * age,
    "fast": lambda age: 0.1 + 0.85 * np.exp(-6 * age),
    "cliff": lambda age: np.where(age < 0.3, 0.95, 0.2),
    "flat": lambda age: np.full_like(age, 0.8),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("edits", "n", "probes"), [(2000, 200, 1), (500, 200, 1), (1000, 100, 3)])
def test_a_sample_of_a_retention_that_falls_with_age_is_unbiased_and_its_interval_covers(
    shape: str, edits: int, n: int, probes: int
) -> None:
    rng, ages, draws = np.random.default_rng(edits), young(edits, n), 600
    course = SHAPES[shape](np.arange(edits) / edits)
    own = course[ages]
    effects = rng.beta(own * 3, (1 - own) * 3, (draws, len(ages)))[..., None] if probes > 1 else own[None, :, None]
    scores = (rng.random((draws, len(ages), probes)) < effects).astype(float)
    found = curve(panel_rows(*panels({edits: ages}, scores=scores, probes=probes)), ("editor", "step"))
    truth, error = float(course.mean()), float(found["mean"].std()) / draws**0.5  # pyright: ignore[reportArgumentType]
    assert float(found["mean"].mean()) == pytest.approx(truth, abs=3 * error + 0.005)  # pyright: ignore[reportArgumentType]
    if shape != "flat":
        assert abs(scores.mean() - truth) > 0.08  # a plain mean is one of young edits
    covered = ((found["low"] <= truth) & (truth <= found["high"])).mean()
    assert 0.92 <= float(covered) <= 0.98 and found["sampled"].all()  # pyright: ignore[reportArgumentType]


def test_a_real_run_that_was_asked_a_sample_says_what_the_same_run_says_asked_whole(tmp_path: Path) -> None:
    """Every answer is the same; the estimates of all axes and scorers lie beside those of all edits."""
    folders = [lifelong.run(None, quiet=True, **SMALL, **{"panels.sample": n, "out": str(tmp_path / str(n))})
               for n in (12, 30)]  # fmt: skip
    some, every = (load_runs([folder])[0] for folder in folders)
    cell = ["step", "probe_id", "scorer", "score"]
    answers, of_all = some.probed.select(cell), every.probed.select(cell)
    pairs = answers.join(of_all, on=cell[:3], suffix=" of all")
    assert len(pairs) == len(answers) < len(of_all)
    assert (pairs["score"] - pairs["score of all"]).abs().max() == pytest.approx(0, abs=1e-4)
    keys = ("step", "axis", "scorer")
    rows, whole = (panel_rows(f.probed, f.gauged).filter(pl.col("edit_id") != "") for f in (some, every))
    both = curve(rows, keys).join(curve(whole, keys), on=keys, suffix=" of all")
    sampled = both.filter(pl.col("step") == 24)
    assert sampled["sampled"].all() and not sampled["sampled of all"].any() and len(sampled) > 8
    assert (
        both.filter(pl.col("step") == 30).select((pl.col("mean") - pl.col("mean of all")).abs()).max().item() < 1e-4
    )
    within = (sampled["low"] <= sampled["mean of all"]) & (sampled["mean of all"] <= sampled["high"])
    assert within.all()
    for axis in ("reliability", "locality"):
        one = (pl.col("step") == 24) & (pl.col("axis") == axis) & (pl.col("scorer") == "teacher_forced")
        assert mean_score(rows.filter(one)) == pytest.approx(mean_score(whole.filter(one)), abs=0.03)
