"""Floors, ceilings and comparisons of runs whose answers are known, and how the page shows them."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from runs_made_up import fake_run

from reports.numbers.axes import EXACT, TOKEN_BY_TOKEN
from reports.numbers.compared import compared
from reports.numbers.floors import by_label, gains, last_rows, references, scores_by_seed, unfollowed
from reports.numbers.gains import harmonic
from reports.page import write_report
from reports.page_tables import compared_part, gains_part
from reports.table import Facts, RunInfo, load_runs

ASKED = [("reliability", "edit", "image"), ("generality", "template", "text"), ("generality", "seen", "image"),
         ("locality", "text", "text"), ("locality", "far", "image"), ("portability", "hop", "image"),
         ("portability", "image", "image"), ("specificity", "must", "image")]  # fmt: skip
RIGHT = {
    "none": {"Rel": 0.25, "text": 0.25, "seen": 0.25, "hop": 0.25, "stays": 1.0},
    "told": {"Rel": 0.75, "text": 0.75, "seen": 0.5, "hop": 0.25, "stays": 1.0},
    "oracle": {"Rel": 1.0, "text": 1.0, "seen": 1.0, "hop": 1.0, "stays": 1.0},
    "rag": {"Rel": 0.5, "text": 0.5, "seen": 0.25, "hop": 0.25, "stays": 0.5},
}
KINDS = {"edit": "Rel", "template": "text", "seen": "seen", "hop": "hop", "image": "hop", "must": "Rel"}


def runs_that_answer(folder: Path, right: Mapping[str, Mapping[str, float]], seeds: int = 2, steps=(8,)):
    """Runs in which of every four probes of a kind as many are right as told, the same edits for all editors."""
    folders = [fake_run(folder / f"{e}{s}", e, 1.0, s, e, steps=steps, probes=ASKED, samples=0)
               for e, s in itertools.product(right, range(seeds))]  # fmt: skip
    facts, runs = load_runs(folders)
    number = pl.col("edit_id").str.strip_chars("e").cast(pl.Int64) % 4
    score = pl.lit(0.0)
    for editor, shares in right.items():
        for variant in {v for _, v, _ in ASKED}:
            share = shares[KINDS[variant]] if variant in KINDS else shares["stays"]
            mine = (pl.col("editor") == editor) & (pl.col("variant") == variant)
            score = pl.when(mine).then((number < 4 * share).cast(pl.Float64)).otherwise(score)
    # Both scorers alike, but hops, of which nothing is right exactly unless by perfect routing.
    exact_hop = (pl.col("scorer") == EXACT) & (pl.col("axis") == "portability") & (pl.col("editor") != "oracle")
    probed = facts.probed.with_columns(score=pl.when(exact_hop).then(0.0).otherwise(score))
    return replace(facts, probed=probed), runs


@pytest.fixture
def known(tmp_path: Path) -> tuple[Facts, list[RunInfo], pl.DataFrame]:
    facts, runs = runs_that_answer(tmp_path, RIGHT)
    return facts, runs, last_rows(facts)


def test_gains_stand_between_the_unedited_model_and_each_ceiling(known) -> None:
    found = gains(*known).filter((pl.col("editor") == "rag") & (pl.col("scorer") == TOKEN_BY_TOKEN))
    by = {r["measure"]: r for r in found.iter_rows(named=True)}
    rel = by["Rel"]
    assert [rel[name] for name in ("value", "none", "told", "oracle")] == [0.5, 0.25, 0.75, 1.0]
    assert (rel["gain"], rel["of_told"], rel["of_oracle"]) == pytest.approx((1 / 3, 0.5, 1 / 3))
    assert by["M-Gen"]["gain"] == 0 and by["one hop"]["n"] == by["by picture"]["n"] == 16
    assert set(by) == {"Rel", "T-Gen", "M-Gen", "one hop", "by picture", "must change"}


def test_the_score_of_a_run_is_taken_from_its_own_streams_floor(known) -> None:
    facts, runs, last = known
    five = {"Rel": 0.5, "T-Gen": 0.5, "M-Gen": 0.25, "T-Loc": 0.5, "M-Loc": 0.5}
    floor = dict.fromkeys(five, 0.25)
    mine = scores_by_seed(by_label(last), "rag", references(facts, runs, "rag"))
    assert mine == pytest.approx(dict.fromkeys((0, 1), harmonic(five, floor)))
    assert scores_by_seed(by_label(last), "none", references(facts, runs, "none")) == {0: 0.0, 1: 0.0}


def test_no_floor_of_other_streams_or_of_fewer_edits_is_used(tmp_path: Path) -> None:
    some = {name: RIGHT[name] for name in ("none", "rag")}
    facts, runs = runs_that_answer(tmp_path / "a", some)
    shorter = pl.col("step") - (pl.col("editor") == "none").cast(pl.Int64)
    early = replace(facts, **{n: getattr(facts, n).with_columns(step=shorter) for n in ("probed", "gauged")})
    for other, infos in ((early, runs), (facts, [r for r in runs if r.name != "none"])):
        mine = gains(other, infos, last_rows(other)).filter(pl.col("editor") == "rag")
        assert mine["gain"].is_nan().all() and mine["none"].is_nan().all() and mine["value"].is_not_nan().all()
    without = gains_part(gains(facts, runs[2:], last_rows(facts)).filter(pl.col("editor") == "rag"))
    assert "No floor" in without.about and not without.rows


def test_an_axis_whose_told_ceiling_is_low_is_grey_with_the_reason(known, tmp_path: Path) -> None:
    found = gains(*known)
    assert unfollowed(found)["rag", "one hop"] == 0.0 and ("rag", "Rel") not in unfollowed(found)
    shown = gains_part(found)
    assert sum(cell.grey for row in shown.rows for cell in row) == 8  # 2 columns of 4 editors
    assert shown.note.startswith("Grey: told the very fact")
    followed = gains_part(found.with_columns(told=pl.lit(0.9)))
    assert not followed.note and not any(cell.grey for row in followed.rows for cell in row)


def test_a_pair_is_compared_over_equal_streams_and_ceilings_with_nobody(known) -> None:
    table = compared(*known)
    assert set(table.select("editor", "beside").rows()) == {("rag", "none")} and table["seeds"].unique().item() == 2
    rel = table.row(by_predicate=pl.col("measure") == "Rel", named=True)
    assert rel["difference"] == 0.25 and rel["edits"] == 16
    gone = table.row(by_predicate=pl.col("measure") == "M-Gen", named=True)
    assert gone["difference"] == 0 and gone["better"] == "" and gone["low"] < 0 < gone["high"]


def test_five_equal_seeds_name_the_better_one_and_only_where_it_is(tmp_path: Path) -> None:
    facts, runs = runs_that_answer(tmp_path, {"none": RIGHT["none"], "rag": RIGHT["rag"]}, seeds=5)
    table = compared(facts, runs, last_rows(facts))
    better = {r["measure"]: (r["better"], r["rule"]) for r in table.iter_rows(named=True)}
    assert better["Rel"] == ("rag", "Student's t of 5 seeds") and better["T-Loc"][0] == "none"
    assert better["M-Gen"][0] == ""
    assert "better: rag" in {line for row in compared_part(table, []).rows for cell in row for line in cell.small}


def test_of_many_editors_each_is_compared_with_the_leaders_and_the_unedited_model_alone(tmp_path: Path) -> None:
    """Of seven others each with three; `keeper` has the most edits right and nothing else."""
    ends = {"none": RIGHT["none"], "best": RIGHT["oracle"] | {"Rel": 0.75}, "keeper": RIGHT["rag"] | {"Rel": 1.0}}
    facts, runs = runs_that_answer(tmp_path, ends | {f"e{i}": RIGHT["rag"] for i in range(7)}, seeds=1)
    pairs = set(compared(facts, runs, last_rows(facts)).select("editor", "beside").rows())
    assert len(pairs) == 7 * 3 + 3 and all({"best", "keeper", "none"} & set(pair) for pair in pairs)


def test_editors_of_other_streams_or_lengths_are_not_compared(tmp_path: Path) -> None:
    one = fake_run(tmp_path / "a", "rag", 0.9, steps=(4,), samples=0)
    other = fake_run(tmp_path / "b", "grace", 0.9, steps=(4,), samples=0, on=("tiny", "other"))
    longer = fake_run(tmp_path / "c", "ft", 0.9, steps=(4, 5), samples=0)
    facts, runs = load_runs([one, other, longer])
    table = compared(facts, runs, last_rows(facts))
    assert table.is_empty() and "no two editors" in compared_part(table, []).about


def test_the_page_shows_floor_gains_and_rankings_with_a_file_behind_each(tmp_path: Path) -> None:
    folders = [fake_run(tmp_path / f"{e}{s}", e, k, s, steps=(1, 6), samples=0)
               for e, k in (("none", 0.1), ("told", 0.5), ("rag", 0.8)) for s in (0, 1)]  # fmt: skip
    text = write_report(folders, tmp_path / "out").read_text()
    for title in ("Floors and ceilings", "Which is better", "Do editors rank as published", "Evidence"):
        assert f">{title}</h3>" in text
    assert "hard locality: near" in text and "top-1 on answer tokens" in text
    assert "not tested: model tiny is made up" in text
    for name in re.findall(r'href="([\w/.-]+)"', text):
        assert (tmp_path / "out" / name).is_file(), name
