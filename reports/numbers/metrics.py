"""The numbers of a degradation report, as pure functions of fact tables (polars frames).

Knows the columns of `lifelong.log`'s facts and the field's definitions; reads no files and draws nothing. A mean
always comes with its n; an interval over probes is Wilson's 95 % interval.
"""

from __future__ import annotations

import math

import numpy as np
import polars as pl

AGE_EDGES = (0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000)
CURVE_KEYS = ("editor", "step", "axis", "variant", "modality", "scorer")
# Probes of an edit that was replaced or taken back: they have left retention and have variants of their own.
HOLDS = ~pl.col("variant").is_in(["superseded", "withdrawn"])


def wilson(successes: float, n: int) -> tuple[float, float]:
    """Return Wilson's 95 % interval of a proportion; (0, 1) without samples.

    >>> low, high = wilson(5, 10)
    >>> round(low, 3), round(high, 3)
    (0.237, 0.763)
    """
    if n == 0:
        return 0.0, 1.0
    z = 1.959964
    p = successes / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return max(0.0, centre - half), min(1.0, centre + half)


def panel_rows(probed: pl.DataFrame, gauged: pl.DataFrame) -> pl.DataFrame:
    """Return the probes answered at panels, once each (an edit's instant probe can fall on a panel's step)."""
    steps = gauged.select("editor", "seed", "step").unique()
    rows = probed.join(steps, on=["editor", "seed", "step"], how="semi")
    return rows.unique(subset=["editor", "seed", "step", "probe_id", "scorer"], keep="last", maintain_order=True)


def instant_rows(probed: pl.DataFrame) -> pl.DataFrame:
    """Return the probes answered as soon as their edit was visible: the diagonal R[j, j], once each."""
    rows = probed.filter((pl.col("age") == 0) & (pl.col("edit_id") != ""))
    return rows.unique(subset=["editor", "seed", "probe_id", "scorer"], keep="first", maintain_order=True)


def curve(rows: pl.DataFrame, keys: tuple[str, ...] = CURVE_KEYS) -> pl.DataFrame:
    """Return mean score, n and Wilson interval per combination of `keys`, sorted by them."""
    out = rows.group_by(list(keys)).agg(pl.col("score").mean().alias("mean"), pl.len().alias("n")).sort(list(keys))
    bounds = [wilson(m * n, n) for m, n in zip(out["mean"], out["n"], strict=True)]
    return out.with_columns(
        pl.Series("low", [b[0] for b in bounds], dtype=pl.Float64),
        pl.Series("high", [b[1] for b in bounds], dtype=pl.Float64),
    )


def retention_matrix(rows: pl.DataFrame) -> pl.DataFrame:
    """Return R in long form: one row (step, edit_id, age, score) per cell, from generated reliability probes."""
    keep = (pl.col("axis") == "reliability") & (pl.col("scorer") == "generated")
    return (
        rows.filter(HOLDS & keep).group_by("step", "edit_id", "age", maintain_order=True).agg(pl.col("score").mean())
    )


def forgetting_first(matrix: pl.DataFrame) -> float:
    """Return the mean over edits of R[first probed] - R[last probed] (Avalanche's stream forgetting)."""
    per = _ends(matrix)
    return float((per["first"] - per["last"]).mean()) if len(per) else math.nan  # pyright: ignore[reportArgumentType]


def forgetting_max(matrix: pl.DataFrame) -> float:
    """Return the mean over edits of max_t R[t, edit] - R[last probed] (mammoth's forgetting)."""
    per = _ends(matrix)
    return float((per["best"] - per["last"]).mean()) if len(per) else math.nan  # pyright: ignore[reportArgumentType]


def _ends(matrix: pl.DataFrame) -> pl.DataFrame:
    ordered = matrix.sort("step")
    per = ordered.group_by("edit_id").agg(
        pl.col("score").first().alias("first"),
        pl.col("score").last().alias("last"),
        pl.col("score").max().alias("best"),
        pl.len().alias("cells"),
    )
    return per.filter(pl.col("cells") > 1)  # an edit probed once has neither forgotten nor kept anything


def half_life(matrix: pl.DataFrame) -> float:
    """Return the smallest age at which mean retention has fallen to half of its value at age 0, or infinity.

    Ages are binned at `AGE_EDGES`; the lower edge of the first bin at or below half is returned.
    """
    by_age = (
        retention_by_age(matrix)
        .group_by("age_low")
        .agg((pl.col("mean") * pl.col("n")).sum().alias("sum"), pl.col("n").sum())
    )
    points = [(r["age_low"], r["sum"] / r["n"]) for r in by_age.sort("age_low").iter_rows(named=True)]
    if not points:
        return math.nan
    start = points[0][1]
    return next((float(age) for age, mean in points if mean <= start / 2), math.inf)


def retention_by_age(matrix: pl.DataFrame) -> pl.DataFrame:
    """Return mean retention and n per (step, age bin); `age_low` is the bin's lower edge in edits."""
    edges = np.asarray(AGE_EDGES)
    index = np.searchsorted(edges, matrix["age"].to_numpy(), side="right") - 1
    return (
        matrix.with_columns(pl.Series("age_low", edges[np.maximum(index, 0)]))
        .group_by("step", "age_low")
        .agg(pl.col("score").mean().alias("mean"), pl.len().alias("n"))
        .sort("step", "age_low")
    )


_IN_SCOPE = HOLDS & pl.col("axis").is_in(["reliability", "generality"])
OUT_OF_SCOPE = HOLDS & (
    (pl.col("axis") == "locality") | ((pl.col("axis") == "specificity") & (pl.col("variant") == "must-not"))
)


def routing_scores(rows: pl.DataFrame) -> pl.DataFrame:
    """Return, per editor and step, routing recall on in-scope probes and false fires on out-of-scope probes.

    Recall: the probe's own edit is among the routed experts. A false fire: an out-of-scope probe (locality, or
    the must-not half of specificity) reached any expert.
    """
    one = rows.filter(pl.col("scorer") == "generated")
    home = one.filter(_IN_SCOPE).select(
        "editor",
        "step",
        "prompt_kind",
        pl.lit("recall").alias("measure"),
        pl.col("routed_home").cast(pl.Float64).alias("score"),
    )
    fire = one.filter(OUT_OF_SCOPE).select(
        "editor",
        "step",
        "prompt_kind",
        pl.lit("false fires").alias("measure"),
        (pl.col("routed_n") > 0).cast(pl.Float64).alias("score"),
    )
    return pl.concat([home, fire])


def latency_bins(
    timed: pl.DataFrame, edges: tuple[int, ...] = (0, 10, 100, 300, 1000, 3000, 10_000, 100_000)
) -> pl.DataFrame:
    """Return p50, p90 and p99 of each operation per bank-size bin, with n; p99 only from 100 samples on.

    Samples of all panels whose bank size falls into a bin are pooled; `bank_len` is the bin's median size.
    """
    index = np.searchsorted(np.asarray(edges), timed["bank_len"].to_numpy(), side="right") - 1
    binned = timed.with_columns(pl.Series("bin", index))
    out = binned.group_by("editor", "operation", "bin").agg(
        pl.col("bank_len").median(),
        pl.col("wall_s").quantile(0.5, "linear").alias("p50_s"),
        pl.col("wall_s").quantile(0.9, "linear").alias("p90_s"),
        pl.col("wall_s").quantile(0.99, "linear").alias("p99_s"),
        pl.len().alias("n"),
    )
    few = pl.col("n") < 100
    return out.with_columns(pl.when(few).then(None).otherwise(pl.col("p99_s")).alias("p99_s")).sort(
        "editor", "operation", "bin"
    )


def slope(x: np.ndarray, y: np.ndarray) -> float:
    """Return the least-squares slope of log y on log x; nan with fewer than two distinct sizes.

    >>> round(slope(np.array([1.0, 10.0, 100.0]), np.array([2.0, 20.0, 200.0])), 6)
    1.0
    """
    keep = (x > 0) & (y > 0)
    if len(np.unique(x[keep])) < 2:
        return math.nan
    return float(np.polyfit(np.log(x[keep]), np.log(y[keep]), 1)[0])


# What the main figure shows: title, axis, modality or None for both, variants or None for all.
SHOWN_AXES: tuple[tuple[str, str, str | None, tuple[str, ...] | None], ...] = (
    ("reliability (retention)", "reliability", None, None),
    ("text generality", "generality", "text", None),
    ("modal generality", "generality", "image", None),
    ("portability (one hop)", "portability", None, None),
    ("text locality", "locality", "text", None),
    ("modal locality: near", "locality", "image", ("near",)),
    ("modal locality: same image", "locality", "image", ("same-image",)),
    ("modal locality: far", "locality", "image", ("far",)),
    ("specificity: must change", "specificity", None, ("must",)),
    ("specificity: must not", "specificity", None, ("must-not",)),
)


def on_axis(rows: pl.DataFrame, axis: str, modality: str | None, variants: tuple[str, ...] | None) -> pl.DataFrame:
    """Return the probes of one axis of the main figure; replaced and withdrawn edits have left retention."""
    out = rows.filter(HOLDS & (pl.col("axis") == axis))
    if modality is not None:
        out = out.filter(pl.col("modality") == modality)
    return out if variants is None else out.filter(pl.col("variant").is_in(variants))
