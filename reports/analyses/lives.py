"""Which edits' lives a report tells: the first that was lost, the one kept longest, and two ways to be missed.

Knows fact tables of one run's editor; the lives themselves are told elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from reports.numbers.metrics import HOLDS
from reports.table import Facts

FIRST_LOST, LONGEST_KEPT = "first lost", "longest kept"
MISSED, ANOTHER = "missed by the router", "answered by another edit's expert"
MOST_EDITORS = 8
"""Editors whose edits a report chooses; of more the first ones of the legend."""


@dataclass(frozen=True)
class ChosenEdit:
    """An edit of a run (its editor's label and seed) whose life is told, and why it."""

    editor: str
    seed: int
    edit_id: str
    why: str


def typical_edits(facts: Facts, editor: str) -> list[ChosenEdit]:
    """Return typical edits of an editor's run with the smallest seed, none twice; of equal ones the oldest.

    First lost: right before and wrong at the earliest step. Longest kept: never wrong, right at the greatest age.
    Missed: wrong at the last panel that asked, and no expert served, of an editor whose others were served. By
    another: wrong there, served by experts of other edits only.
    """
    own = HOLDS & (pl.col("axis") == "reliability") & (pl.col("scorer") == "generated") & (pl.col("editor") == editor)
    rows = facts.probed.filter(own)
    if rows.is_empty():
        return []
    seed = int(rows["seed"].min())  # pyright: ignore[reportArgumentType]
    rows = rows.filter(pl.col("seed") == seed).sort("step", "age", descending=[False, True])
    each = rows.group_by("edit_id", "step", maintain_order=True).agg(
        (pl.col("score").min() >= 1).alias("right"), pl.col("age").last(), pl.col("routed_n").last(),
        pl.col("routed_home").last(),
    )  # fmt: skip
    before = each.with_columns(pl.col("right").cum_max().over("edit_id").alias("was_right"))
    lost = before.filter(~pl.col("right") & pl.col("was_right")).sort("step", "age", descending=[False, True])
    whole = each.group_by("edit_id").agg(pl.col("right").all(), pl.col("age").max()).filter("right")
    last = each.group_by("edit_id").last().filter(~pl.col("right")).sort("age", "edit_id", descending=[True, False])
    routes = bool((each["routed_n"] > 0).any())
    found = (
        (FIRST_LOST, lost),
        (LONGEST_KEPT, whole.sort("age", "edit_id", descending=[True, False])),
        (MISSED, last.filter((pl.col("routed_n") == 0) & routes)),
        (ANOTHER, last.filter((pl.col("routed_n") > 0) & ~pl.col("routed_home"))),
    )
    out: list[ChosenEdit] = []
    for why, table in found:
        known = {one.edit_id for one in out}
        edit = next((e for e in table["edit_id"] if e not in known), None)
        out += [ChosenEdit(editor, seed, edit, why)] if edit is not None else []
    return out


def answers_before(facts: Facts) -> dict[tuple[int, str], str]:
    """Return what the unedited model says to each edit's own question, by seed and edit; none without its run."""
    plain = [label for label, name in facts.names.items() if name == "none"]
    own = (pl.col("axis") == "reliability") & (pl.col("scorer") == "generated") & pl.col("editor").is_in(plain)
    rows = facts.probed.filter(own).unique(["seed", "edit_id"], keep="first", maintain_order=True)
    return {(seed, edit): answer for seed, edit, answer in rows.select("seed", "edit_id", "answer").rows()}
