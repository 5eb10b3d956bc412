"""Curves of editors on the models of a ladder: their values, and how far along three axes each panel is.

Knows fact tables, the papers' measures, and the sizes that runs note of their models; reads no files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from reports.numbers.axes import EXACT, HARD, Measure
from reports.numbers.curves import within_seeds
from reports.numbers.floors import NONE, ORACLE
from reports.numbers.gains import gain
from reports.numbers.metrics import panel_rows
from reports.table import Facts

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


def in_millions(n: float) -> str:
    """Return a number of weights in words.

    >>> in_millions(1_179_648), in_millions(4_866_048), in_millions(6.5e9)
    ('1.2 million', '4.9 million', '6,500 million')
    """
    return f"{n / 1e6:,.1f} million" if n < 1e8 else f"{n / 1e6:,.0f} million"


def ladder_points(rungs: Sequence[Rung]) -> pl.DataFrame:
    """Return one row per editor, measure, model, seed and panel: its `value`, `floor`, `gain` and `BUDGET_AXES`.

    Gain is between `none` (0) and `oracle` (1, else all right) after as many edits of the same stream; of locality,
    and where there is no run of `none`, it is the value itself, and `floor` is null. `sampled` panels did not ask
    about all past edits. Editors that are floor or ceiling have no rows.
    """
    tables = [_of_rung(rung, name, measure) for rung in rungs for name, measure in LADDER_MEASURES.items()]
    return pl.concat(tables).sort("editor", "measure", "editable_weights", "model", "seed", BY_EDITS)


def _of_rung(rung: Rung, name: str, measure: Measure) -> pl.DataFrame:
    facts = rung.facts
    rows = panel_rows(facts.probed, facts.gauged).filter(measure.rows())
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
        floor = ends.get((NONE, seed, step)) if measure.scope == "in" else None
        gained = value if floor is None else gain(value, floor, ends.get((ORACLE, seed, step), 1.0))
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
