"""Unlearning: what is left of edits that were taken back, and what taking them back does to those that stay.

Knows fact tables; draws nothing.
"""

from __future__ import annotations

import re

import polars as pl

from reports.numbers.metrics import HOLDS, panel_rows
from reports.statistics.clusters import edit_means

_WITHDRAWN = pl.col("variant") == "withdrawn"
_AXES = {"reliability": "retention", "generality": "generality", "locality": "locality"}
_WORDS = re.compile(r" withdrawals\S*")


def kept_apart_from(label: str) -> str:
    """Return a run's label without what it says of withdrawals: runs of one such label are points of one curve.

    >>> kept_apart_from("grace radius=10.0 withdrawals.rate=0.5"), kept_apart_from("grace")
    ('grace radius=10.0', 'grace')
    """
    return _WORDS.sub("", label)


def unlearnt(
    probed: pl.DataFrame, gauged: pl.DataFrame, edited: pl.DataFrame, withdrawals: pl.DataFrame
) -> pl.DataFrame:
    """Return one row per editor and measure at the last panel: mean, low, high, n, edits, and `share` and `curve`.

    `share` is that of the edits made which were taken back; `curve` is the label without its words on withdrawals.
    Measures: `agreement` with the frozen model on everything that is asked about withdrawn edits, and `retention`,
    `generality` and `locality` of those that stand. Only editors that took back at least one.
    """
    made = edited.group_by("editor").len("made")
    gone = withdrawals.filter(pl.col("value") == 1).group_by("editor").len("gone")
    shares = gone.join(made, on="editor").with_columns((pl.col("gone") / pl.col("made")).alias("share"))
    rows = panel_rows(probed, gauged).filter(pl.col("scorer") == "generated")
    rows = rows.filter(pl.col("step") == pl.col("step").max().over("editor", "seed"))
    rows = rows.join(shares.select("editor"), on="editor", how="semi")
    back = rows.filter(_WITHDRAWN).with_columns(pl.lit("agreement").alias("measure"))
    kept = rows.filter(HOLDS & pl.col("axis").is_in(list(_AXES)))
    kept = kept.with_columns(pl.col("axis").replace_strict(_AXES, return_dtype=pl.String).alias("measure"))
    found = edit_means(pl.concat([back, kept]), ("editor", "measure")).join(shares, on="editor", how="left")
    curve = pl.col("editor").map_elements(kept_apart_from, return_dtype=pl.String).alias("curve")
    return found.with_columns(curve).sort("curve", "measure", "share")
