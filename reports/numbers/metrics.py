"""The numbers of a degradation report, as pure functions of fact tables (polars frames).

Knows the columns of `lifelong.log`'s facts and the field's definitions; reads no files and draws nothing. A mean is
taken within each seed and then over seeds, and always comes with its n.
"""

from __future__ import annotations

import math

import numpy as np
import polars as pl

from reports.numbers.percentiles import percentiles
from reports.numbers.seeds import ENOUGH, half_width

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
    """Return mean score, n and a 95 % band per combination of `keys`, sorted by them.

    A mean is taken within each seed, then over seeds. The band is Wilson's over the probes of a single seed, reaches
    from the lowest to the highest of up to four seeds, and is Student's over five and more.
    """
    within = rows.group_by([*keys, "seed"]).agg(pl.col("score").mean().alias("mean"), pl.len().alias("n"))
    out = within.group_by(list(keys)).agg(pl.col("mean").sort(), pl.col("n").sum()).sort(list(keys))
    means = out["mean"].to_list()
    bands = [_band(m, n) for m, n in zip(means, out["n"], strict=True)]
    return out.with_columns(
        pl.Series("mean", [sum(m) / len(m) for m in means], dtype=pl.Float64),
        pl.Series("low", [b[0] for b in bands], dtype=pl.Float64),
        pl.Series("high", [b[1] for b in bands], dtype=pl.Float64),
        pl.Series("seeds", [len(m) for m in means], dtype=pl.Int64),
    )


def _band(means: list[float], n: int) -> tuple[float, float]:
    """Return the band about the means of seeds, in order, over n probes of all of them."""
    if len(means) == 1:
        return wilson(means[0] * n, n)
    if len(means) < ENOUGH:
        return means[0], means[-1]
    mean, half = sum(means) / len(means), half_width(means)
    return max(0.0, mean - half), min(1.0, mean + half)


def retention_matrix(rows: pl.DataFrame) -> pl.DataFrame:
    """Return R in long form: one row (seed, step, edit_id, age, score) per cell, from generated reliability probes.

    Seeds are streams of their own: an edit of one is another edit than that of the same id in another.
    """
    keep = (pl.col("axis") == "reliability") & (pl.col("scorer") == "generated")
    cell = ("seed", "step", "edit_id", "age")
    return rows.filter(HOLDS & keep).group_by(cell, maintain_order=True).agg(pl.col("score").mean())


def forgetting_first(matrix: pl.DataFrame) -> float:
    """Return, of one seed, the mean over edits of R[first probed] - R[last probed] (Avalanche's forgetting)."""
    per = _ends(matrix)
    return float((per["first"] - per["last"]).mean()) if len(per) else math.nan  # pyright: ignore[reportArgumentType]


def forgetting_max(matrix: pl.DataFrame) -> float:
    """Return, of one seed, the mean over edits of max_t R[t, edit] - R[last probed] (mammoth's forgetting)."""
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
    """Return, of one seed, the smallest age at which mean retention has fallen to half of its value at age 0.

    Ages are binned at `AGE_EDGES`; the lower edge of the first bin at or below half is returned, infinity where there
    is none, and not a number where nothing was right to begin with.
    """
    by_age = (
        retention_by_age(matrix)
        .group_by("age_low")
        .agg((pl.col("mean") * pl.col("n")).sum().alias("sum"), pl.col("n").sum())
    )
    points = [(r["age_low"], r["sum"] / r["n"]) for r in by_age.sort("age_low").iter_rows(named=True)]
    if not points or points[0][1] <= 0:
        return math.nan
    start = points[0][1]
    return next((float(age) for age, mean in points if mean <= start / 2), math.inf)


def retention_by_age(matrix: pl.DataFrame) -> pl.DataFrame:
    """Return mean retention and n per (step, age bin); `age_low` is the bin's lower edge in edits."""
    edges = np.asarray(AGE_EDGES)
    index = np.searchsorted(edges, matrix["age"].to_numpy(), side="right") - 1
    binned = matrix.with_columns(pl.Series("age_low", edges[np.maximum(index, 0)]))
    return curve(binned, ("step", "age_low")).select("step", "age_low", "mean", "n", "seeds")


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
        "seed",
        "step",
        "prompt_kind",
        pl.lit("recall").alias("measure"),
        pl.col("routed_home").cast(pl.Float64).alias("score"),
    )
    fire = one.filter(OUT_OF_SCOPE).select(
        "editor",
        "seed",
        "step",
        "prompt_kind",
        pl.lit("false fires").alias("measure"),
        (pl.col("routed_n") > 0).cast(pl.Float64).alias("score"),
    )
    return pl.concat([home, fire])


_BINS = (0, 10, 100, 300, 1000, 3000, 10_000, 100_000)
_TIMES = {"bank_len": pl.Float64, "p50_s": pl.Float64, "p90_s": pl.Float64, "p99_s": pl.Float64, "n": pl.Int64}


def latency_bins(timed: pl.DataFrame, edges: tuple[int, ...] = _BINS) -> pl.DataFrame:
    """Return p50, p90 and p99 of each operation per bank-size bin, with n; null where there are too few samples.

    Samples of all panels and seeds whose bank size falls into a bin are pooled: a percentile is one of them.
    `bank_len` is the bin's median size.
    """
    index = np.searchsorted(np.asarray(edges), timed["bank_len"].to_numpy(), side="right") - 1
    rows = []
    for (editor, operation, at), part in timed.with_columns(pl.Series("bin", index)).group_by(
        "editor", "operation", "bin"
    ):
        found = percentiles(part["wall_s"], (0.5, 0.9, 0.99))
        size = float(part["bank_len"].median())  # pyright: ignore[reportArgumentType]
        rows.append((editor, operation, at, size, *(p.value if p.known else None for p in found), len(part)))
    names = {"editor": pl.String, "operation": pl.String, "bin": pl.Int64} | _TIMES
    return pl.DataFrame(rows, schema=names, orient="row").sort("editor", "operation", "bin")


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
    ("general: untouched questions, accuracy", "general", None, None),
)


def on_axis(rows: pl.DataFrame, axis: str, modality: str | None, variants: tuple[str, ...] | None) -> pl.DataFrame:
    """Return the probes of one axis of the main figure; replaced and withdrawn edits have left retention."""
    out = rows.filter(HOLDS & (pl.col("axis") == axis))
    if modality is not None:
        out = out.filter(pl.col("modality") == modality)
    return out if variants is None else out.filter(pl.col("variant").is_in(variants))
