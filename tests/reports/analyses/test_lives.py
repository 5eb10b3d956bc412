"""Which edits a page tells of: each reason finds the edit that it is about, and none is told twice."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
from runs_made_up import fake_run

from reports.analyses.lives import ANOTHER, FIRST_LOST, LONGEST_KEPT, MISSED, answers_before, typical_edits
from reports.table import Facts, load_runs

# edit, step, age, right, routed_n, routed_home
ROWS: list[tuple[Any, ...]] = [
    ("a", 1, 0, 1, 1, True), ("a", 2, 1, 1, 1, True), ("a", 9, 8, 1, 1, True),  # always right
    ("b", 2, 0, 1, 1, True), ("b", 9, 7, 0, 1, True),  # lost at 9, served by itself
    ("c", 3, 0, 1, 1, True), ("c", 5, 2, 0, 0, False), ("c", 9, 6, 0, 0, False),  # lost at 5, by the router
    ("d", 4, 0, 0, 0, False), ("d", 9, 5, 0, 0, False),  # never right, missed
    ("e", 6, 0, 1, 1, True), ("e", 9, 3, 0, 2, False),  # served by others
]  # fmt: skip


def facts_of(tmp_path: Path, rows: list[tuple[Any, ...]]) -> Facts:
    facts, _ = load_runs([fake_run(tmp_path, editor, 1.0, steps=(1, 9), samples=0) for editor in ("grace", "none")])
    names = ("edit_id", "step", "age", "score", "routed_n", "routed_home")
    made = pl.DataFrame([dict(zip(names, row, strict=True)) for row in rows]).with_columns(
        pl.col("score").cast(pl.Float64), editor=pl.lit("grace"), seed=pl.lit(0, pl.Int32),
        axis=pl.lit("reliability"), variant=pl.lit("edit"), scorer=pl.lit("generated"), probe_id=pl.col("edit_id"),
    )  # fmt: skip
    return replace(facts, probed=pl.concat([facts.probed.clear(), made], how="diagonal_relaxed"))


def test_each_reason_finds_its_edit(tmp_path: Path) -> None:
    found = {one.why: one.edit_id for one in typical_edits(facts_of(tmp_path, ROWS), "grace")}
    assert found == {FIRST_LOST: "c", LONGEST_KEPT: "a", MISSED: "d", ANOTHER: "e"}


def test_an_editor_that_routes_nothing_misses_nothing(tmp_path: Path) -> None:
    rows = [(e, step, age, right, 0, False) for e, step, age, right, _, _ in ROWS]
    facts = facts_of(tmp_path, rows)
    assert {one.why for one in typical_edits(facts, "grace")} == {FIRST_LOST, LONGEST_KEPT}
    assert typical_edits(facts, "rag") == []


def test_what_was_said_before_is_the_unedited_models_answer(tmp_path: Path) -> None:
    facts = facts_of(tmp_path, ROWS)
    assert answers_before(facts) == {}
    plain = facts.probed.head(1).with_columns(editor=pl.lit("none"), answer=pl.lit("bird"))
    assert answers_before(replace(facts, probed=plain)) == {(0, "a"): "bird"}
