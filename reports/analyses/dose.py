"""Locality by dose: how well questions are left alone, by how like the nearest stored edit they are and by bank size.

Knows fact tables and the words of edits and questions; draws nothing.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from reports.analyses.interference import similarity_bin
from reports.analyses.similarity import cosines
from reports.numbers.metrics import OUT_OF_SCOPE
from reports.statistics.clusters import edit_means
from reports.statistics.curves import CURVE_COLUMNS

MOST_QUESTIONS = 2000  # of a stream, evenly by their ids: comparing all of a long one with all edits takes minutes
_TOGETHER = 512  # edits compared at a time


def nearest_edit(questions: list[str], edits: list[str], ends: list[int]) -> np.ndarray:
    """Return how like the nearest of the first `ends[j]` edits each question is, (questions, ends); -1 for none.

    `ends` ascend.
    """
    best = np.full(len(questions), -1.0)
    out = np.zeros((len(questions), len(ends)))
    start = 0
    for place, end in enumerate(ends):
        while start < end:
            some = edits[start : min(start + _TOGETHER, end)]
            best = np.maximum(best, cosines(questions, some).max(1))
            start += len(some)
        out[:, place] = best
    return out


def dosed(rows: pl.DataFrame, told: pl.DataFrame, outside: pl.DataFrame) -> pl.DataFrame:
    """Return one row per question out of scope and panel: agreement (score), its bin `alike`, and `same_picture`.

    `rows` are those of panels (`reports.numbers.metrics.panel_rows`). `alike` is that of the nearest edit made by
    then, by the trigrams of both questions; `same_picture` says whether any of those edits shows the question's
    picture.
    """
    asked = outside.lazy().select("editor", "seed", "probe_id", "prompt", "picture")
    wanted = rows.lazy().filter(OUT_OF_SCOPE & (pl.col("scorer") == "generated")).select(CURVE_COLUMNS)
    rows = wanted.join(asked, on=["editor", "seed", "probe_id"], how="inner", maintain_order="left").collect()
    out, known = [], {}
    for (editor, seed), mine in rows.group_by("editor", "seed", maintain_order=True):
        edits = told.filter((pl.col("editor") == editor) & (pl.col("seed") == seed)).sort("step")
        ids = mine["probe_id"].unique().sort()
        mine = mine.filter(pl.col("probe_id").is_in(ids.gather_every(-(-len(ids) // MOST_QUESTIONS) or 1).implode()))
        steps = mine["step"].unique().sort().to_list()
        prompts, words = sorted(mine["prompt"].unique()), edits["prompt"].to_list()
        key = (seed, tuple(steps), hash(tuple(words)), hash(tuple(prompts)))  # editors of one stream share it
        if key not in known:
            known[key] = nearest_edit(prompts, words, [min(s, len(words)) for s in steps])
        row, column = {p: i for i, p in enumerate(prompts)}, {s: i for i, s in enumerate(steps)}
        alike = known[key][[row[p] for p in mine["prompt"]], [column[s] for s in mine["step"]]]
        shown = (
            edits.filter(pl.col("picture") != "").group_by("picture").agg(pl.col("step").min().alias("first_shown"))
        )
        out.append(_marked(mine, shown, alike))
    return pl.concat(out) if out else rows.clear()


def _marked(mine: pl.DataFrame, shown: pl.DataFrame, alike: np.ndarray) -> pl.DataFrame:
    marked = mine.with_columns(pl.Series("alike", similarity_bin(np.maximum(alike, 0))))
    marked = marked.join(shown, on="picture", how="left", maintain_order="left")
    same = (pl.col("first_shown") <= pl.col("step")).fill_null(False)
    return marked.with_columns(same.alias("same_picture")).drop("first_shown")


def locality_by_dose(rows: pl.DataFrame) -> pl.DataFrame:
    """Return mean agreement with 95 % bounds by editor, same_picture, bin and step, from rows of `dosed`."""
    return edit_means(rows, ("editor", "same_picture", "alike", "step"))
