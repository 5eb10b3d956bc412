"""Figures of survival, laws, interference, dose, routers and unlearning: drawn of what is there, "not asked" else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from runs_made_up import PROBES, fake_run

from reports.figures.dose import locality_dose
from reports.figures.interference import interference
from reports.figures.laws import laws
from reports.figures.router import router, router_frontier
from reports.figures.style import image_bytes
from reports.figures.survival import survival
from reports.figures.unlearning import unlearning
from reports.table import Facts, load_runs

STEPS = (*range(1, 13), 40)


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> Facts:
    """Two editors over 40 edits, one of which forgets; with words, scores of routers, and edits taken back."""
    out = tmp_path_factory.mktemp("runs")
    runs = [
        fake_run(out, editor, keep, steps=STEPS, probes=PROBES[:5]) for editor, keep in (("grace", 1), ("ft", 0.4))
    ]
    found, _ = load_runs(runs)
    names = [(e, s, f"e{i}", i) for e in ("grace", "ft") for s in (0,) for i in range(1, 41)]
    told = pl.DataFrame([{"editor": e, "seed": s, "step": i, "edit_id": n, "prompt": f"What is thing {i}?",
                          "picture": f"p{i}", "target": "t"} for e, s, n, i in names])  # fmt: skip
    edited = found.edited.clear().vstack(
        pl.DataFrame([{"editor": e, "seed": s, "edit_id": n, "step": i} for e, s, n, i in names])
        .join(found.edited.drop("edit_id", "step").unique(["editor", "seed"]), on=["editor", "seed"])
        .select(pl.col(c).cast(t) for c, t in found.edited.schema.items())
    )
    outside = found.probed.filter(pl.col("axis") == "locality").unique(["editor", "seed", "probe_id"])
    outside = outside.with_columns(pl.lit("What is thing 3?").alias("prompt"), pl.lit("p3").alias("picture"))
    best = pl.when(pl.col("axis") == "locality").then(0.2).otherwise(0.8) + pl.col("age") * 0.01
    return replace(found, told=told.with_columns(pl.col("seed").cast(pl.Int32)), edited=edited, outside=outside,
                   probed=found.probed.with_columns(best.alias("best_score")))  # fmt: skip


def test_survival_of_an_editor_that_keeps_all_stays_at_1_and_the_other_falls(facts: Facts) -> None:
    drawn = survival(facts)
    last = drawn.table.filter(pl.col("kept").is_not_null()).group_by("editor").agg(pl.col("kept").last())
    kept = dict(last.rows())
    assert kept["grace"] == 1 and kept["ft"] < 0.9 and "at risk" in drawn.table.columns
    assert drawn.figure is not None and image_bytes(drawn.figure)


def test_laws_are_fitted_and_not_checked_where_nothing_came_later(facts: Facts) -> None:
    drawn = laws(facts)
    assert set(drawn.table["editor"]) == {"grace", "ft"} and drawn.table["inside"].is_null().all()
    assert "nothing is checked" in drawn.caption and drawn.figure is not None and image_bytes(drawn.figure)


def test_interference_names_breakers_and_draws_who_forgets(facts: Facts) -> None:
    drawn = interference(facts)
    lost = drawn.table.filter(pl.col("victim").is_not_null())
    assert set(lost["editor"]) == {"ft"} and drawn.figure is not None and image_bytes(drawn.figure)
    assert len(drawn.figure.axes) == 2  # one matrix, and what breaks


def test_a_dose_of_equal_words_has_a_line_from_the_edit_on_that_brings_it(facts: Facts) -> None:
    drawn = locality_dose(facts)
    assert drawn.figure is not None and image_bytes(drawn.figure)
    equal = drawn.table.filter((pl.col("alike") == 1) & pl.col("same_picture"))
    assert equal["step"].min() == 3


def test_routers_that_tell_apart_have_an_area_of_nearly_1(facts: Facts) -> None:
    drawn = router(facts)
    assert (drawn.table["auc"] > 0.9).all() and drawn.figure is not None and image_bytes(drawn.figure)
    frontier = router_frontier(facts)
    assert frontier.figure is not None and image_bytes(frontier.figure)


def test_unlearning_needs_an_edit_that_was_taken_back(facts: Facts) -> None:
    assert unlearning(facts).figure is None
    gone = pl.DataFrame({"editor": ["grace"], "seed": [0], "step": [40], "name": ["e1"], "value": [1.0]})
    back = pl.when(pl.col("edit_id") == "e1").then(pl.lit("withdrawn")).otherwise("variant").alias("variant")
    drawn = unlearning(replace(facts, withdrawals=gone, probed=facts.probed.with_columns(back)))
    assert drawn.figure is not None and image_bytes(drawn.figure)
    assert drawn.table.filter(pl.col("measure") == "agreement")["share"].to_list() == [1 / 40]


@pytest.mark.parametrize("draw", [survival, laws, interference, locality_dose, router, router_frontier, unlearning])
def test_one_edit_at_one_panel_is_not_enough_for_any(draw, tmp_path: Path) -> None:
    found, _ = load_runs([fake_run(tmp_path, "grace", 0.9, steps=(1,), samples=0)])
    drawn = draw(found)
    assert drawn.figure is None and drawn.caption.startswith("Not asked")
