"""Cost against quality at equal numbers of edits: which editors no other one beats in both.

Knows fact tables and the papers' metrics; draws nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import polars as pl

from reports.numbers.axes import MEASURES
from reports.numbers.gains import LOCALITY, SUCCESS, harmonic
from reports.numbers.growth import bytes_an_edit
from reports.numbers.metrics import panels_of
from reports.numbers.panels import whole_panels_of
from reports.statistics.curves import mean_score
from reports.statistics.percentiles import percentile
from reports.statistics.seeds import of_seeds
from reports.table import Facts

FLOOR, CEILING = "none", "oracle"
"""The editors, by name, between which gains are counted."""
COST_AXES = ("bytes an edit", "edit (ms)", "query (ms)")
_PARTS = ("encode", "route", "apply", "answer")


def equal_step(facts: Facts) -> int | None:
    """Return the largest number of edits after which every editor was asked about all of them; None without one."""
    whole = whole_panels_of(facts)
    steps = [set(whole.filter(pl.col("editor") == editor)["step"]) for editor in facts.editors]
    return max(set.intersection(*steps), default=None) if steps else None


def points(facts: Facts, step: int) -> pl.DataFrame:
    """Return one row per editor: harmonic score (mean, low, high over seeds) and its costs after `step` edits.

    Columns editor, name, harmonic, low, high, seeds, and `COST_AXES`: the slope of the bank's bytes over panels, the
    p50 of an edit and of a whole query (the sum of its parts' p50s, at the last panel by then). Editors without a
    floor of their seed are left out.
    """
    read = ["editor", "seed", "axis", "variant", "modality", "scorer", "score", "weight"]
    rows = panels_of(facts).lazy().filter(pl.col("step") == step).select(read).collect()
    scores = {key: _five(part) for key, part in rows.group_by("editor", "seed")}
    ends: dict[str, dict[int, Mapping[str, float]]] = {FLOOR: {}, CEILING: {}}
    for (editor, seed), found in scores.items():
        if (name := facts.names.get(str(editor), str(editor))) in ends:
            ends[name].setdefault(int(seed), found)
    out = []
    for editor in facts.editors:
        name = facts.names.get(editor, editor)
        mine = {int(seed): found for (e, seed), found in scores.items() if e == editor and int(seed) in ends[FLOOR]}
        each = [harmonic(found, ends[FLOOR][seed], ends[CEILING].get(seed)) for seed, found in sorted(mine.items())]
        each = [value for value in each if not math.isnan(value)]
        if not each:
            continue
        told = of_seeds(each, len(each))
        low, high = told.get("low", min(each)), told.get("high", max(each))
        out.append((editor, name, told["mean"], low, high, len(each), *_costs(facts, editor, step)))
    names = {"editor": pl.String, "name": pl.String, "harmonic": pl.Float64, "low": pl.Float64, "high": pl.Float64,
             "seeds": pl.Int64} | dict.fromkeys(COST_AXES, pl.Float64)  # fmt: skip
    return pl.DataFrame(out, schema=names, orient="row")


def _five(rows: pl.DataFrame) -> dict[str, float]:
    return {name: mean_score(rows.filter(MEASURES[name].rows())) for name in (*SUCCESS, *LOCALITY)}


def _costs(facts: Facts, editor: str, step: int) -> tuple[float, float, float]:
    def own(frame: pl.DataFrame) -> pl.DataFrame:
        return frame.filter((pl.col("editor") == editor) & (pl.col("step") <= step))

    slopes = [bytes_an_edit(part) for _, part in own(facts.gauged).group_by("seed")]
    edits = own(facts.edited)
    edit = percentile(edits["edit_wall_s"] / edits["batch_len"], 0.5)
    timed = own(facts.timed).filter(pl.col("operation").is_in(_PARTS))
    timed = timed.filter(pl.col("step") == pl.col("step").max().over("seed"))
    parts = [percentile(timed.filter(pl.col("operation") == part)["wall_s"], 0.5) for part in _PARTS]
    query = sum(p.value for p in parts if p.known) if any(p.known for p in parts) else math.nan
    return (
        float(np.nanmean(slopes)) if np.isfinite(slopes).any() else math.nan,
        edit.value * 1e3 if edit.known else math.nan,
        query * 1e3,
    )


def unbeaten(cost: np.ndarray, quality: np.ndarray) -> np.ndarray:
    """Return which points (n,) no other one beats: as cheap and as good, and better in one of them.

    >>> unbeaten(np.array([1.0, 2.0, 3.0]), np.array([0.5, 0.4, 0.9])).tolist()
    [True, False, True]
    """
    as_good = (cost <= cost[:, None]) & (quality >= quality[:, None])
    better = (cost < cost[:, None]) | (quality > quality[:, None])
    return ~(as_good & better).any(1) & ~np.isnan(cost) & ~np.isnan(quality)
