"""The numbers of a degradation report, as pure functions of fact tables (polars frames).

Knows the columns of `lifelong.log`'s facts and the field's definitions; reads no files and draws nothing. A mean is
taken within each seed and then over seeds, and always comes with its n.
"""

from __future__ import annotations

import math

import numpy as np
import polars as pl

from reports.numbers.axes import MUST_NOT
from reports.numbers.sampled import weighted
from reports.statistics.curves import curve
from reports.statistics.percentiles import percentiles
from reports.table import Facts

_AT_ONCE = 300_000  # rows of probes that are looked at together
AGE_EDGES = (0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000)
# Probes of an edit that was replaced or taken back: they have left retention and have variants of their own.
HOLDS = ~pl.col("variant").is_in(["superseded", "withdrawn"])


def asked_rows(probed: pl.DataFrame, gauged: pl.DataFrame) -> pl.DataFrame:
    """Return every answer once (an edit's instant probe can fall on a panel's step), and the edits it stands for.

    `weight` is 1 but where a panel asked about a sample (`reports.numbers.sampled`); `at_panel` says whether it was
    asked at a panel's step. What is given must be all that a run asked, or what is left out counts as not sampled.
    """
    return pl.concat(_asked(probed, gauged))


def _asked(probed: pl.DataFrame, gauged: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the answers between panels and those at panels, as `asked_rows` has them together."""
    if len(probed) > _AT_ONCE and (blocks := _runs_of(probed)):
        # A run after another, so that what is made on the way is never as large as all of them.
        parts = [_asked(block, gauged) for block in blocks]
        return pl.concat([part[0] for part in parts]), pl.concat([part[1] for part in parts])
    once = ["editor", "seed", "step", "probe_id", "scorer"]
    rows = probed.drop("answer", strict=False).unique(subset=once, keep="last", maintain_order=True)
    steps = gauged.select("editor", "seed", "step", pl.lit(True).alias("at_panel")).unique()
    rows = rows.join(steps, on=["editor", "seed", "step"], how="left", maintain_order="left")
    rows = rows.with_columns(pl.col("at_panel").fill_null(False))
    panels = weighted(rows.filter("at_panel"), rows)
    return rows.filter(~pl.col("at_panel")).with_columns(pl.lit(1.0).alias("weight")), panels


def _runs_of(probed: pl.DataFrame) -> list[pl.DataFrame]:
    """Return the rows of each run, without a copy; nothing where they are of one run or do not follow each other."""
    run = ["editor", "seed"]
    begins = probed.select(pl.any_horizontal(pl.col(c) != pl.col(c).shift() for c in run).fill_null(True)).to_series()
    places = [*begins.arg_true().to_list(), len(probed)]
    blocks = [probed.slice(begin, end - begin) for begin, end in zip(places, places[1:], strict=False)]
    known = {block.select(run).row(0) for block in blocks}
    return blocks if 1 < len(blocks) == len(known) else []


def panel_rows(probed: pl.DataFrame, gauged: pl.DataFrame) -> pl.DataFrame:
    """Return the answers given at panels, once each, with the `weight` that every mean over them must count."""
    return _asked(probed, gauged)[1]


def asked_of(facts: Facts) -> pl.DataFrame:
    """Return `asked_rows` of a report's facts, computed once."""
    return pl.concat(facts.once("asked", lambda: _asked(facts.probed, facts.gauged)))  # copies nothing


def panels_of(facts: Facts) -> pl.DataFrame:
    """Return `panel_rows` of a report's facts, computed once."""
    return facts.once("asked", lambda: _asked(facts.probed, facts.gauged))[1]


def instant_rows(probed: pl.DataFrame) -> pl.DataFrame:
    """Return the probes answered as soon as their edit was visible: the diagonal R[j, j], once each."""
    rows = probed.filter((pl.col("age") == 0) & (pl.col("edit_id") != "")).with_columns(pl.lit(1.0).alias("weight"))
    return rows.unique(subset=["editor", "seed", "probe_id", "scorer"], keep="first", maintain_order=True)


def retention_matrix(rows: pl.DataFrame) -> pl.DataFrame:
    """Return R in long form, from generated reliability probes of `asked_rows`: one row per cell.

    Columns seed, step, edit_id, age, score, weight, at_panel. Seeds are streams of their own: an edit of one is
    another edit than that of the same id in another.
    """
    keep = (pl.col("axis") == "reliability") & (pl.col("scorer") == "generated")
    cell = ("seed", "step", "edit_id", "age")
    found = rows.filter(HOLDS & keep).group_by(cell, maintain_order=True)
    return found.agg(pl.col("score", "weight").mean(), pl.col("at_panel").any())


def forgetting_first(matrix: pl.DataFrame) -> float:
    """Return the mean over edits, then over seeds, of R[first probed] - R[last probed] (Avalanche's forgetting)."""
    return _forgotten(matrix, pl.col("first") - pl.col("last"))


def forgetting_max(matrix: pl.DataFrame) -> float:
    """Return the mean over edits, then over seeds, of max_t R[t, edit] - R[last probed] (mammoth's forgetting)."""
    return _forgotten(matrix, pl.col("best") - pl.col("last"))


def _forgotten(matrix: pl.DataFrame, lost: pl.Expr) -> float:
    """Return the mean of what edits lost; not a number where nothing was right at any time.

    Where the last panel asked about a sample it is of those edits, weighted: the others' last answers are older.
    """
    per = matrix.sort("step").group_by("seed", "edit_id").agg(
        pl.col("score").first().alias("first"),
        pl.col("score").last().alias("last"),
        pl.col("score").max().alias("best"),
        pl.len().alias("cells"),
        pl.col("step", "weight").last(),
    )  # fmt: skip
    ends = per.with_columns((pl.col("step") == pl.col("step").max()).over("seed").alias("ends"))
    part = ((pl.col("weight") > 1) & pl.col("ends")).any().over("seed")
    per = ends.filter(pl.col("ends") | ~part)
    per = per.filter(pl.col("cells") > 1)  # an edit probed once has neither forgotten nor kept anything
    weight = pl.when("ends").then(pl.col("weight")).otherwise(1.0)
    mean = (lost * weight).sum() / weight.sum()
    seeds = per.group_by("seed").agg(pl.when(pl.col("best").max() > 0).then(mean).otherwise(math.nan).alias("lost"))
    return float(seeds["lost"].mean()) if len(seeds) else math.nan  # pyright: ignore[reportArgumentType]


def half_life(matrix: pl.DataFrame) -> float:
    """Return the smallest age at which mean retention has fallen to half of its value at age 0.

    Every edit counts once at each age (binned at `AGE_EDGES`), every seed alike. The lower edge of the first bin at
    or below half is returned, infinity where there is none, and not a number where nothing was right at first.
    """
    edits = _binned(matrix).group_by("seed", "age_low", "edit_id").agg(pl.col("score").mean())
    seeds = edits.group_by("seed", "age_low").agg(pl.col("score").mean())
    points = seeds.group_by("age_low").agg(pl.col("score").mean()).sort("age_low").rows()
    if not points or points[0][1] <= 0:
        return math.nan
    return next((float(age) for age, mean in points if mean <= points[0][1] / 2), math.inf)


def retention_by_age(matrix: pl.DataFrame) -> pl.DataFrame:
    """Return mean retention and n per (panel's step, age bin); `age_low` is the bin's lower edge in edits.

    Age 0 of a panel is what was asked as soon as edits were visible, of those made since the panel before.
    """
    panels = matrix.filter("at_panel").select("seed", pl.col("step").alias("panel")).unique()
    at_once = matrix.filter(pl.col("age") == 0).join(panels, on="seed").filter(pl.col("panel") >= pl.col("step"))
    next_one = pl.col("panel").min().over("seed", "edit_id")
    at_once = at_once.filter(pl.col("panel") == next_one).with_columns(pl.col("panel").alias("step"))
    later = matrix.filter(pl.col("at_panel") & (pl.col("age") > 0))
    rows = _binned(pl.concat([at_once.select(later.columns), later])).with_columns(pl.lit("").alias("probe_id"))
    return curve(rows, ("step", "age_low")).select("step", "age_low", "mean", "n", "seeds", "edits")


def _binned(matrix: pl.DataFrame) -> pl.DataFrame:
    edges = np.asarray(AGE_EDGES)
    index = np.searchsorted(edges, matrix["age"].to_numpy(), side="right") - 1
    return matrix.with_columns(pl.Series("age_low", edges[np.maximum(index, 0)]))


_IN_SCOPE = HOLDS & pl.col("axis").is_in(["reliability", "generality"])
OUT_OF_SCOPE = HOLDS & (
    (pl.col("axis") == "locality") | ((pl.col("axis") == "specificity") & pl.col("variant").is_in(MUST_NOT))
)
_KEPT = ("editor", "seed", "step", "edit_id", "probe_id", "age", "weight", "prompt_kind")


def routing_scores(rows: pl.DataFrame) -> pl.DataFrame:
    """Return, per editor and step, routing recall on in-scope probes and false fires on out-of-scope probes.

    Recall: the probe's own edit is among the routed experts. A false fire: an out-of-scope probe (locality, or
    the must-not half of specificity) reached any expert.
    """
    one = rows.lazy().filter(pl.col("scorer") == "generated")
    home = one.filter(_IN_SCOPE).select(
        *_KEPT,
        pl.lit("recall").alias("measure"),
        pl.col("routed_home").cast(pl.Float64).alias("score"),
    )
    fire = one.filter(OUT_OF_SCOPE).select(
        *_KEPT,
        pl.lit("false fires").alias("measure"),
        (pl.col("routed_n") > 0).cast(pl.Float64).alias("score"),
    )
    return pl.concat([home, fire]).collect()


# Two a decade, their edges away from usual panels: the bank of some editors is a little smaller than the step.
_BINS = (0, 5, 15, 50, 150, 500, 1500, 5000, 15_000, 50_000, 150_000, 500_000, 1_500_000)
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
