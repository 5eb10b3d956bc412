"""Routing alone, in numbers: recall and false fires by kind of question, and of thresholds set once and then kept.

Knows rows of questions and where they were routed; draws nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from reports.numbers.metrics import OUT_OF_SCOPE
from reports.statistics.clusters import edit_means

RECALLS = (0.8, 0.9, 0.99)
"""Shares of questions in scope that thresholds are set to keep."""
SET_FROM = 50  # questions in scope of the first panel that a threshold is set on


def asked_kinds(rows: pl.DataFrame) -> pl.DataFrame:
    """Return rows with `kind` (axis and variant), whether it is `outside` its edit's scope, and `score`.

    The score is whether the question reached its own edit, or, outside, any edit at all.
    """
    kind = pl.concat_str("axis", pl.lit(": "), "variant").alias("kind")
    home, fired = pl.col("routed_home"), pl.col("routed_n") > 0
    return rows.with_columns(kind, OUT_OF_SCOPE.alias("outside")).with_columns(
        pl.when("outside").then(fired).otherwise(home).cast(pl.Float64).alias("score")
    )


def by_kind(rows: pl.DataFrame) -> pl.DataFrame:
    """Return recall, or outside the share that fires, by editor, kind of question and step, with bounds by edits."""
    return edit_means(asked_kinds(rows), ("editor", "outside", "kind", "step"))


def held_thresholds(rows: pl.DataFrame, recalls: Sequence[float] = RECALLS) -> pl.DataFrame:
    """Return recall and false fires at each step of thresholds that are set at the first panel and then kept.

    For each editor and each of `recalls`: the largest threshold that so large a share of the questions in scope of
    the first panel with fifty of them reaches. Columns editor, set to, threshold, step, recall, false fires, n_in,
    n_out. A question that nothing was searched for reaches no threshold.
    """
    out = []
    inside = pl.col("axis").is_in(["reliability", "generality"])
    scored = rows.with_columns(pl.col("best_score").fill_null(-np.inf).alias("best"))
    for (editor,), mine in scored.group_by("editor", maintain_order=True):
        panels = {step: part for (step,), part in mine.sort("step").group_by("step", maintain_order=True)}
        first = next((part for part in panels.values() if len(part.filter(inside)) >= SET_FROM), None)
        if first is None:
            continue
        scores = np.sort(first.filter(inside)["best"].to_numpy())[::-1]
        for recall in recalls:
            threshold = float(scores[int(np.ceil(recall * len(scores))) - 1])
            if not np.isfinite(threshold):
                continue  # not so many were searched for at all
            for step, part in panels.items():
                kept, fires = part.filter(inside)["best"] >= threshold, part.filter(OUT_OF_SCOPE)["best"] >= threshold
                ends = (kept.mean(), fires.mean(), len(kept), len(fires))
                out.append((editor, recall, threshold, step, *ends))
    names = {"editor": pl.String, "set to": pl.Float64, "threshold": pl.Float64, "step": pl.Int64,
             "recall": pl.Float64, "false fires": pl.Float64, "n_in": pl.Int64, "n_out": pl.Int64}  # fmt: skip
    return pl.DataFrame(out, schema=names, orient="row")
