"""How many edits each editor bears, and what breaks first: every measure against a limit, by its interval.

A limit is broken from the first of two panels in a row, or at the last one, at which the whole 95 % interval lies
below it; it is kept where the whole interval lies above it at the end, and else nobody can tell. Panels of fewer than
ten edits say nothing. Knows fact tables; draws nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import polars as pl

from reports.numbers.axes import EXACT, HARD, MEASURES, Measure
from reports.numbers.metrics import panels_of
from reports.statistics.curves import curve
from reports.table import Facts

FEWEST_OF_A_PANEL = 10


@dataclass(frozen=True)
class Bound:
    """The least share of a measure that an editor must keep."""

    measure: Measure
    least: float


BOUNDS = {
    "its own questions": Bound(MEASURES["Rel"], 0.7),
    "other wordings": Bound(MEASURES["T-Gen"], 0.5),
    "other pictures": Bound(MEASURES["M-Gen"], 0.5),
    "far questions unchanged": Bound(Measure("locality", "out", without=HARD), 0.7),
    "near questions unchanged": Bound(Measure("locality", "out", only=HARD), 0.7),
    "untouched questions": Bound(MEASURES["general"], 0.7),
}
"""What is asked of an editor, by what a reader calls it; the shares are those of `lifelong stress edits`."""
KEPT, BROKE, NEVER_HAD, UNCLEAR = "kept", "broke", "never had", "cannot tell"
_SCHEMA: dict[str, Any] = {
    "editor": pl.String, "measure": pl.String, "state": pl.String, "step": pl.Int64, "before": pl.Int64,
    **dict.fromkeys(("least", "mean", "low", "high"), pl.Float64), "edits": pl.Int64, "last": pl.Int64,
}  # fmt: skip


def capacity(facts: Facts) -> pl.DataFrame:
    """Return a row per editor and limit that was asked about at a panel of ten edits or more.

    `state` is one of `KEPT`, `BROKE`, `NEVER_HAD` (broken from the first such panel on) and `UNCLEAR`; `step` is
    where it broke (null: it did not), `before` the panel before that; mean, interval and edits are those of `step`,
    or of the `last` panel.
    """
    rows = []
    for words, bound in BOUNDS.items():
        found = curve(panels_of(facts).filter(bound.measure.rows(EXACT)), ("editor", "step"))
        for editor in facts.editors:
            own = found.filter((pl.col("editor") == editor) & (pl.col("edits") >= FEWEST_OF_A_PANEL)).sort("step")
            if own.height:
                rows.append({"editor": editor, "measure": words, "least": bound.least} | state_of(own, bound.least))
    return pl.DataFrame(rows, schema=_SCHEMA)


def state_of(curve_of_one: pl.DataFrame, least: float) -> dict[str, Any]:
    """Return the state of one curve (step, mean, low, high, edits; at least one row) beside a limit."""
    points = curve_of_one.sort("step").to_dicts()
    below = [p["high"] < least for p in points]
    at = next((i for i, _ in enumerate(points) if all(below[i : i + 2])), None)
    shown = points[-1 if at is None else at]
    if at is None:
        state = KEPT if shown["low"] >= least else UNCLEAR
    else:
        state = BROKE if at else NEVER_HAD
    return {
        "state": state, "step": None if at is None else shown["step"], "before": points[at - 1]["step"] if at else 0,
        "last": points[-1]["step"], **{name: shown[name] for name in ("mean", "low", "high", "edits")},
    }  # fmt: skip


def borne(table: pl.DataFrame, editor: str) -> tuple[int | None, int, tuple[str, ...]]:
    """Return after how many edits an editor's first limit breaks (None: none does), the panel before, and which.

    Without a break the panel is the last; the limits are those that break there.
    """
    own = table.filter(pl.col("editor") == editor)
    gone = own.filter(pl.col("step").is_not_null())
    if gone.is_empty():
        return None, int(own["last"].max() or 0), ()  # pyright: ignore[reportArgumentType]
    first = int(gone["step"].min())  # pyright: ignore[reportArgumentType]
    there = gone.filter(pl.col("step") == first)
    return first, int(there["before"].max()), tuple(there["measure"])  # pyright: ignore[reportArgumentType]
