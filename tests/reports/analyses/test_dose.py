"""Locality by dose on made-up words, and means by edit against what a formula says."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from reports.analyses.dose import dosed, locality_by_dose, nearest_edit
from reports.numbers.metrics import panel_rows
from reports.statistics.clusters import edit_means


def test_the_nearest_edit_is_the_nearest_of_those_made_by_then() -> None:
    got = nearest_edit(["red car", "xyz"], ["blue boat", "red car", "red cart"], [0, 1, 2, 3])
    assert got[:, 0].tolist() == [-1, -1] and got[0, 1] < 0.2
    assert got[0, 2:].tolist() == pytest.approx([1, 1]) and got[1].max() == 0


def made_up() -> tuple[pl.DataFrame, ...]:
    """Two edits; one question in the words of the second, one with the picture of the first, one far from both."""
    asked = {"p1": ("What is it?", "a"), "p2": ("Who is he?", "x"), "p3": ("zzz qqq", "")}
    run = {"editor": "x", "seed": 0}
    probed = pl.DataFrame(
        [
            run | {"step": s, "probe_id": p, "edit_id": "e1", "axis": "locality", "variant": "far", "score": 1.0,
                   "scorer": "generated", "age": s - 1}
            for s in (1, 2) for p in asked
        ]
    )  # fmt: skip
    gauged = pl.DataFrame([run | {"step": s} for s in (1, 2)])
    told = pl.DataFrame([run | {"step": 1, "edit_id": "e1", "prompt": "Which town?", "picture": "a"},
                         run | {"step": 2, "edit_id": "e2", "prompt": "Who is he?", "picture": "b"}])  # fmt: skip
    words = [run | {"probe_id": p, "prompt": w, "picture": i} for p, (w, i) in asked.items()]
    return panel_rows(probed, gauged), told, pl.DataFrame(words)


def test_a_question_comes_nearer_when_an_edit_of_its_words_is_made() -> None:
    rows = dosed(*made_up()).sort("probe_id", "step")
    assert rows["probe_id"].to_list() == ["p1", "p1", "p2", "p2", "p3", "p3"]
    assert rows["alike"].to_list()[2:] == [0.0, 1.0, 0.0, 0.0]
    assert rows["same_picture"].to_list() == [True, True, False, False, False, False]
    assert locality_by_dose(rows)["n"].sum() == 6


def test_questions_whose_words_nobody_kept_are_left_out() -> None:
    rows, told, outside = made_up()
    assert dosed(rows, told.clear(), outside.clear()).is_empty()


def test_means_by_edit_have_the_width_that_edits_give_and_not_probes() -> None:
    """20 probes of an edit that are all alike are one: bounds are those of 50 edits, and hold the truth."""
    inside, widths = [], []
    for seed in range(80):
        strong = (np.random.default_rng(seed).random(50) < 0.7).astype(float)
        rows = pl.DataFrame({"editor": "x", "seed": 0, "edit_id": [f"e{i}" for i in range(50) for _ in range(20)],
                             "step": 1, "score": np.repeat(strong, 20)})  # fmt: skip
        (one,) = edit_means(rows, ("editor", "step"), draws=150, seed=seed).to_dicts()
        inside.append(one["low"] <= 0.7 <= one["high"])
        widths.append(one["high"] - one["low"])
    assert 0.88 <= np.mean(inside) <= 1 and np.mean(widths) == pytest.approx(2 * 1.96 * (0.21 / 50) ** 0.5, rel=0.15)


def test_few_edits_have_no_interval() -> None:
    rows = pl.DataFrame({"editor": "x", "seed": 0, "edit_id": ["a", "b"], "step": 1, "score": [1.0, 0.0]})
    (one,) = edit_means(rows, ("editor", "step")).to_dicts()
    assert one["mean"] == 0.5 and one["low"] is None and one["edits"] == 2


def test_edits_that_all_fared_alike_are_not_certain() -> None:
    rows = pl.DataFrame({"editor": "x", "seed": 0, "edit_id": [f"e{i}" for i in range(20)], "step": 1, "score": 1.0})
    (one,) = edit_means(rows, ("editor", "step")).to_dicts()
    assert one["high"] == 1 and one["low"] == pytest.approx(0.025 ** (1 / 20))  # Clopper and Pearson's
