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

from reports.statistics.seeds import ENOUGH, score_interval, student, worth_of

FREEDOM = 2 / 3  # degrees of freedom of a variance by successive differences, per edit


CURVE_COLUMNS = ("editor", "seed", "step", "edit_id", "probe_id", "age", "score", "weight")
"""What a curve is made of: of millions of answers only these columns need be copied."""


def mean_score(rows: pl.DataFrame) -> float:
    """Return the mean score of rows that have a column `weight`; not a number without rows."""
    total = float(rows["weight"].sum())
    return float((rows["score"] * rows["weight"]).sum()) / total if total else float("nan")


def within_seeds(rows: pl.DataFrame, keys: Sequence[str]) -> pl.DataFrame:
    """Return mean, its variance and sizes per combination of `keys` and seed, sorted by them.

    `rows` have score, weight (`metrics.asked_rows`), edit_id, probe_id, age and seed. n counts rows; `edits` are
    the edits that they are of (of questions about no edit: the questions); `freedom` are the variance's degrees of
    freedom; `sampled` says whether edits stand for others, `share` whether scores are from 0 to 1. `worth` is the
    number of yes-or-no answers that would tell the mean as well, judged by how much edits that count alike differ.
    """
    keys = [*keys, "seed"]
    cluster = pl.when(pl.col("edit_id") == "").then(pl.col("probe_id")).otherwise(pl.col("edit_id"))
    edits = rows.group_by(*keys, cluster.alias("cluster")).agg(
        (pl.col("score") * pl.col("weight")).sum().alias("sum"),
        pl.col("weight").sum().alias("size"),
        pl.col("score").mean(),
        pl.col("weight").max().alias("most"),
        pl.len().alias("n"),
        pl.col("age").min(),
        pl.col("score").is_between(0, 1).all().alias("share"),
    )
    edits = edits.sort(*keys, "age", "cluster")
    total, square = pl.col("size").sum(), pl.col("size") ** 2
    mean = pl.col("sum").sum() / total
    # The first and the last edit have one neighbour: their share of the sum of squares is half of the others'.
    seen = square.sum() - (square.first() + square.last()) / 2
    differences = ((pl.col("sum") - mean * pl.col("size")).diff() ** 2).sum() / 2
    # How much edits differ if all count alike, as a share of how much yes-or-no answers of that mean would.
    alike = (pl.col("score") * pl.col("n")).sum() / pl.col("n").sum()
    differ, most = (pl.col("score").diff() ** 2).mean() / 2, alike * (1 - alike)
    effective = total**2 / square.sum()  # Kish's effective number of edits
    some = pl.len() > 1
    return edits.group_by(keys, maintain_order=True).agg(
        mean.alias("mean"),
        pl.when(some).then(differences * square.sum() / seen / total**2).otherwise(0.0).alias("variance"),
        (effective / pl.when(some & (differ > 0) & (most > 0)).then(differ / most).otherwise(1.0)).alias("worth"),
        (effective * FREEDOM).clip(1).alias("freedom"),
        pl.col("n").sum(),
        pl.len().alias("edits"),
        (pl.col("most") > 1).any().alias("sampled"),
        pl.col("share").all(),
    )


def over_all_seeds(within: pl.DataFrame, keys: Sequence[str]) -> pl.DataFrame:
    """Return mean, n, a 95 % interval, seeds, edits and whether any is `sampled` per combination of `keys`, sorted.

    `within` is what `within_seeds` returns. From five seeds on the interval is Student's over the seeds' means, and
    is about any such stream. Of fewer it is about these streams alone: two to four of them do not tell how others
    differ (Student's t of two is 12.7 standard errors), so what their edits tell is put together.
    """
    keys = list(keys)
    out = within.group_by(keys).agg(
        pl.col("mean").mean(),
        pl.col("n").sum(),
        pl.len().cast(pl.Int64).alias("seeds"),
        pl.col("edits").sum(),
        pl.col("sampled").any(),
        pl.col("mean").var().fill_null(0.0).alias("between"),
        pl.col("variance").sum().alias("inside"),
        (pl.col("variance") ** 2 / pl.col("freedom")).sum().alias("fourth"),
        pl.col("freedom").sum(),
        (1 / (1 / pl.col("worth")).sum()).alias("worth"),
    )
    out = out.sort(keys)
    names = ("mean", "seeds", "between", "inside", "fourth", "freedom", "worth")
    mean, seeds, between, inside, fourth, freedom, worth = (out[name].to_numpy().astype(float) for name in names)
    many, told = seeds >= ENOUGH, fourth > 0  # else all scores of a seed are alike
    freedom = np.where(told, inside**2 / np.where(told, fourth, 1), freedom)  # Satterthwaite's
    quantile = student(np.where(many, seeds - 1, freedom))
    variance = np.where(many, between / seeds, inside / seeds**2)
    if within["share"].all():
        alike = worth * seeds**2
        value = worth_of(mean, variance, alike)
        # Of a sample, the edits that stand for most are few, and none of them need be among the wrong ones.
        value = np.where(out["sampled"].to_numpy() & ~many, np.minimum(value, alike), value)
        low, high = score_interval(mean, value, quantile)
    else:
        low, high = mean - quantile * np.sqrt(variance), mean + quantile * np.sqrt(variance)
    ends = (pl.Series("low", low, dtype=pl.Float64), pl.Series("high", high, dtype=pl.Float64))
    return out.with_columns(ends).select(*keys, "mean", "n", "low", "high", "seeds", "edits", "sampled")


def curve(rows: pl.DataFrame, keys: Sequence[str]) -> pl.DataFrame:
    """Return `over_all_seeds` of `within_seeds`: a mean with its interval and n per combination of `keys`."""
    return over_all_seeds(within_seeds(rows, keys), keys)
