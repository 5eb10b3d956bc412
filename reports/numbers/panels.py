"""Which panels asked about every edit, and what was answered there as a matrix of edits by panels.

Knows fact tables; draws nothing.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from reports.numbers.metrics import panel_rows, panels_of
from reports.table import Facts


def whole_panels(probed: pl.DataFrame, gauged: pl.DataFrame, edited: pl.DataFrame) -> pl.DataFrame:
    """Return the panels (editor, seed, step) at which every edit made by then was asked about, not a sample."""
    return _whole(panel_rows(probed, gauged), edited)


def _whole(asked: pl.DataFrame, edited: pl.DataFrame) -> pl.DataFrame:
    panel = ["editor", "seed", "step"]
    # Edits are made different first: counting them in groups of answers takes 100 MB for each million.
    asked = asked.lazy().filter(pl.col("edit_id") != "").select(*panel, "edit_id").unique().collect()
    counts = asked.group_by(panel).agg(pl.len().alias("asked"))
    made = edited.select("editor", "seed", pl.col("step").alias("made"))
    made = counts.join(made, on=["editor", "seed"], how="left")
    made = made.group_by("editor", "seed", "step", "asked").agg(
        (pl.col("made") <= pl.col("step")).sum().alias("edits")
    )
    return made.filter(pl.col("asked") >= pl.col("edits")).select("editor", "seed", "step")


def whole_panels_of(facts: Facts) -> pl.DataFrame:
    """Return `whole_panels` of a report's facts, computed once."""
    return facts.once("whole panels", lambda: _whole(panels_of(facts), facts.edited))


def matrix_of(rows: pl.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the mean score of each edit at each panel (edits, panels), the panels' steps and the edits' seeds.

    Not a number where an edit was not asked. `rows` are of one editor.
    """
    if rows.is_empty():
        return np.zeros((0, 0)), np.zeros(0), np.zeros(0)
    wide = (
        rows.group_by("seed", "edit_id", "step")
        .agg(pl.col("score").mean())
        .pivot("step", index=["seed", "edit_id"], values="score")
        .sort("seed", "edit_id")
    )
    steps = np.sort(np.array([int(c) for c in wide.columns[2:]]))
    return wide.select(str(s) for s in steps).to_numpy().astype(float), steps, wide["seed"].to_numpy()
