"""Curves of editors on the models of a ladder: their values, and how far along three axes each panel is.

Knows fact tables, the papers' measures, and the sizes that runs note of their models; reads no files.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from reports.numbers.axes import EXACT, HARD, Measure
from reports.numbers.floors import NONE, ORACLE
from reports.numbers.gains import gain
from reports.numbers.metrics import panels_of
from reports.statistics.curves import within_seeds
from reports.table import Facts, RunInfo

BY_EDITS, BY_WEIGHTS, BY_BYTES = "edits", "edits per million editable weights", "bank bytes per model byte"
BUDGET_AXES = (BY_EDITS, BY_WEIGHTS, BY_BYTES)
"""The x-axes. Editable weights are the numbers in the matrices of the decoder's layers, as a run notes them."""
LADDER_MEASURES = {
    "reliability": Measure("reliability", "in", scorer=EXACT),
    "generality": Measure("generality", "in", scorer=EXACT),
    "locality": Measure("locality", "out", without=HARD),
}
"""What is compared: freely generated answers of all past edits and their rephrases, and agreement far from them."""


@dataclass(frozen=True)
class Rung:
    """One model of a ladder: what it is called, its editable weights, bytes of all weights, width, and runs on it."""

    name: str
    editable_weights: int
    model_bytes: int
    width: int
    facts: Facts
    runs: Sequence[RunInfo]


def in_millions(n: float) -> str:
    """Return a number of weights in words.

    >>> in_millions(1_179_648), in_millions(4_866_048), in_millions(6.5e9)
    ('1.2 million', '4.9 million', '6,500 million')
    """
    return f"{n / 1e6:,.1f} million" if n < 1e8 else f"{n / 1e6:,.0f} million"


def ladder_points(rungs: Sequence[Rung]) -> pl.DataFrame:
    """Return one row per editor, measure, model, seed and panel: its `value`, `floor`, `gain` and `BUDGET_AXES`.

    Gain is between `none` (0) and `oracle` (1, else all right) after as many edits of the same stream, and not a
    number where that was not asked. Of locality, and where some model has no run of `none`, it is the value itself,
    and `floor` is null. `sampled` panels did not ask about all past edits. Floor and ceiling have no rows.
    """
    ran = set.intersection(*(set(rung.facts.names.values()) for rung in rungs))  # on all models, or gains are unlike
    tables = [_of_rung(rung, name, measure, ran) for rung in rungs for name, measure in LADDER_MEASURES.items()]
    return pl.concat(tables).sort("editor", "measure", "editable_weights", "model", "seed", BY_EDITS)


def _of_rung(rung: Rung, name: str, measure: Measure, ran: Collection[str]) -> pl.DataFrame:
    facts = rung.facts
    rows = panels_of(facts).filter(measure.rows())
    means = within_seeds(rows, ("editor", "step"))
    held = {(e, s, step): b for e, s, step, b in facts.gauged.select("editor", "seed", "step", "bank_bytes").rows()}
    ends: dict[tuple[str, int, int], float] = {}
    for row in means.iter_rows(named=True):
        ends[facts.names.get(row["editor"], row["editor"]), row["seed"], row["step"]] = row["mean"]
    out: list[dict[str, Any]] = []
    for row in means.iter_rows(named=True):
        editor, seed, step, value = row["editor"], row["seed"], row["step"], row["mean"]
        if facts.names.get(editor, editor) in (NONE, ORACLE):
            continue
        floor = ends.get((NONE, seed, step), math.nan) if NONE in ran and measure.scope == "in" else None
        ceiling = ends.get((ORACLE, seed, step), math.nan) if ORACLE in ran else 1.0
        gained = value if floor is None else gain(value, floor, ceiling)
        axes = (step, step / (rung.editable_weights / 1e6), held.get((editor, seed, step), 0.0) / rung.model_bytes)
        about = (editor, name, rung.name, rung.editable_weights, seed, value, floor, gained, row["sampled"])
        out.append(dict(zip(_SCHEMA, (*about, *map(float, axes)), strict=True)))
    return pl.DataFrame(out, schema=_SCHEMA)


_SCHEMA: dict[str, Any] = {
    "editor": pl.String, "measure": pl.String, "model": pl.String, "editable_weights": pl.Int64, "seed": pl.Int32,
    "value": pl.Float64, "floor": pl.Float64, "gain": pl.Float64, "sampled": pl.Boolean,
    **dict.fromkeys(BUDGET_AXES, pl.Float64),
}  # fmt: skip


def known_gain(points: pl.DataFrame) -> pl.DataFrame:
    """Return the points whose gain is a number: the others have nothing to gain."""
    return points.filter(pl.col("gain").is_not_nan() & pl.col("gain").is_not_null())
