"""Means of scores that come in clusters: over the probes of edits within a seed, then over seeds; 95 % intervals.

The probes of one edit are right and wrong together, and neighbours in age are alike. So the standard error within a
seed is that of a bootstrap which draws edits, with all of their probes, from among their neighbours in age; it is
computed and not drawn (the successive differences of edits in order of age; Wolter, Introduction to Variance
Estimation, chapter 8). Drawing from all edits instead counts what age does to a score as chance. Knows frames only.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from reports.numbers.seeds import ENOUGH, score_interval, student

FREEDOM = 2 / 3  # degrees of freedom of a variance by successive differences, per cluster


def mean_score(rows: pl.DataFrame) -> float:
    """Return the mean score of rows that have a column `weight`; not a number without rows."""
    total = float(rows["weight"].sum())
    return float((rows["score"] * rows["weight"]).sum()) / total if total else float("nan")


def within_seeds(rows: pl.DataFrame, keys: Sequence[str]) -> pl.DataFrame:
    """Return mean, standard error and sizes per combination of `keys` and seed, sorted by them.

    `rows` have score, weight (`metrics.asked_rows`), edit_id, probe_id, age and seed. n counts rows, `edits` the
    edits that they are of (of questions about no edit: the questions), `worth` as how many equally weighted ones they
    count, `sampled` says whether they stand for others.
    """
    keys = [*keys, "seed"]
    cluster = pl.when(pl.col("edit_id") == "").then(pl.col("probe_id")).otherwise(pl.col("edit_id"))
    edits = rows.group_by(*keys, cluster.alias("cluster")).agg(
        (pl.col("score") * pl.col("weight")).sum().alias("sum"),
        pl.col("weight").sum().alias("size"),
        pl.col("weight").max().alias("most"),
        pl.len().alias("n"),
        pl.col("age").min(),
        pl.col("score").is_between(0, 1).all().alias("share"),
    )
    edits = edits.sort(*keys, "age", "cluster")
    mean = pl.col("sum").sum() / pl.col("size").sum()
    off = pl.col("sum") - mean * pl.col("size")
    square = pl.col("size") ** 2
    # The first and the last edit have one neighbour: their share of the sum of squares is half of the others'.
    seen = square.sum() - (square.first() + square.last()) / 2
    differences = (off.diff() ** 2).sum() / 2
    return edits.group_by(keys, maintain_order=True).agg(
        mean.alias("mean"),
        pl.when(pl.len() > 1)
        .then(differences * square.sum() / seen / pl.col("size").sum() ** 2)
        .otherwise(0.0)
        .alias("variance"),
        pl.col("n").sum(),
        pl.len().alias("edits"),
        (pl.col("size").sum() ** 2 / square.sum()).alias("worth"),
        (pl.col("most") > 1).any().alias("sampled"),
        pl.col("share").all(),
    )


def over_all_seeds(within: pl.DataFrame, keys: Sequence[str]) -> pl.DataFrame:
    """Return mean, n, a 95 % interval, seeds, edits and whether any is `sampled` per combination of `keys`, sorted.

    `within` is what `within_seeds` returns. From five seeds on the interval is Student's over the seeds' means, and
    is about any such stream. Of fewer it is about these streams alone: two to four of them do not tell how others
    differ (Student's t of two is 12.7 standard errors), so their edits' standard errors are put together.
    """
    keys = list(keys)
    freedom = (pl.col("worth") * FREEDOM).clip(1)
    out = within.group_by(keys).agg(
        pl.col("mean").mean(),
        pl.col("n").sum(),
        pl.len().cast(pl.Int64).alias("seeds"),
        pl.col("edits").sum(),
        pl.col("sampled").any(),
        pl.col("mean").var().alias("between"),
        pl.col("variance").sum().alias("inside"),
        (pl.col("variance") ** 2 / freedom).sum().alias("fourth"),
        pl.col("worth").sum(),
    )
    out = out.sort(keys)
    inside, fourth, seeds = (out[name].to_numpy().astype(float) for name in ("inside", "fourth", "seeds"))
    worth = out["worth"].to_numpy().astype(float)
    many = seeds >= ENOUGH
    told = fourth > 0  # else all scores of a seed are alike
    free = np.where(told, inside**2 / np.where(told, fourth, 1), worth * FREEDOM)  # Satterthwaite's
    between = np.nan_to_num(out["between"].cast(pl.Float64).fill_null(0.0).to_numpy())
    variance = np.where(many, between / seeds, inside / seeds**2)
    quantile = student(np.where(many, seeds - 1, free))
    low, high = _ends(within, out["mean"].to_numpy(), variance, quantile, worth)
    found = out.with_columns(pl.Series("low", low, dtype=pl.Float64), pl.Series("high", high, dtype=pl.Float64))
    return found.select(*keys, "mean", "n", "low", "high", "seeds", "edits", "sampled")


def _ends(
    within: pl.DataFrame, mean: np.ndarray, variance: np.ndarray, quantile: np.ndarray, worth: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the ends of intervals: score intervals where the scores are shares, else Student's."""
    if within["share"].all():
        return score_interval(mean, variance, quantile, worth)
    half = quantile * np.sqrt(variance)
    return mean - half, mean + half


def curve(rows: pl.DataFrame, keys: Sequence[str]) -> pl.DataFrame:
    """Return `over_all_seeds` of `within_seeds`: a mean with its interval and n per combination of `keys`."""
    return over_all_seeds(within_seeds(rows, keys), keys)
