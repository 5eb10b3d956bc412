"""On which axis the curves of one editor on several models fall together, as a distance, and how well that is known.

One model's curve is foretold from another's: its value at each panel, against the other's at the same place of an
axis. All axes are judged on the same panels of the same curves, those that lie within the other's range on each of
them, so that none is nearer because it overlaps less. Knows tables of points; nothing of models or editors.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from reports.numbers.ladder.points import BUDGET_AXES, DENSITY, EDITS, known_gain
from reports.numbers.seeds import ENOUGH, of_seeds

LEAST_EDITS = 10
"""Panels of fewer edits are left out: their values are those of single edits."""
NOT_TOLD_APART = "not told apart"


def distances(points: pl.DataFrame) -> pl.DataFrame:
    """Return one row per editor, measure, seed and axis: the mean absolute difference of the models' curves there.

    `points` are what `ladder_points` returns. Values in between are interpolated over the logarithm of the axis; n
    counts panels. An axis is not a number where the editor does not move along it on every model (the bank of an
    editor that writes into a fixed number of weights does not grow), all where no curves overlap.
    """
    far = known_gain(points).filter(pl.col(EDITS) >= LEAST_EDITS)
    out: list[tuple[Any, ...]] = []
    for (editor, measure, seed), part in far.group_by("editor", "measure", "seed", maintain_order=True):
        curves = [_curve(own) for _, own in part.group_by("editable_weights", maintain_order=True)]
        there = [axis for axis in BUDGET_AXES if all(_grows(curve[axis]) for curve in curves)]
        found, n = distances_of(curves, there) if len(curves) > 1 and there else ({}, 0)
        out += [(editor, measure, seed, axis, found.get(axis, math.nan), n) for axis in BUDGET_AXES]
    names = {"editor": pl.String, "measure": pl.String, "seed": pl.Int32, "axis": pl.String,
             "distance": pl.Float64, "n": pl.Int64}  # fmt: skip
    return pl.DataFrame(out, schema=names, orient="row")


def _curve(own: pl.DataFrame) -> dict[str, np.ndarray]:
    ordered = own.sort(EDITS)
    return {name: ordered[name].to_numpy().astype(float) for name in ("gain", *BUDGET_AXES)}


def _grows(x: np.ndarray) -> bool:
    return len(x) > 1 and bool(x[0] > 0) and bool((np.diff(x) > 0).all())


def distances_of(curves: Sequence[Mapping[str, np.ndarray]], axes: Sequence[str]) -> tuple[dict[str, float], int]:
    """Return the distance of curves on each axis, and at how many panels, over all ordered pairs of them.

    Each curve has `gain` (panels,) and the panels' places on each axis, strictly increasing. Not numbers where no
    panel of one lies within another's range on every axis.

    >>> x, y = np.array([10.0, 100.0, 1000.0]), np.array([1.0, 0.5, 0.0])
    >>> distances_of([{"gain": y, "a": x, "b": x}, {"gain": y, "a": x, "b": x * 10}], ["a", "b"])
    ({'a': 0.0, 'b': 0.5}, 4)
    """
    errors: dict[str, list[np.ndarray]] = {axis: [] for axis in axes}
    for mine, other in itertools.permutations(curves, 2):
        told = np.stack([_foretold(other, axis, mine[axis]) for axis in axes])
        common = ~np.isnan(told).any(0)
        for axis, values in zip(axes, told, strict=True):
            errors[axis].append(np.abs(values - mine["gain"])[common])
    n = sum(map(len, errors[axes[0]]))
    return {axis: float(np.concatenate(found).mean()) if n else math.nan for axis, found in errors.items()}, n


def _foretold(curve: Mapping[str, np.ndarray], axis: str, at: np.ndarray) -> np.ndarray:
    """Return a curve's values at places of an axis, not numbers outside of its range (but for rounding)."""
    x = np.log(curve[axis])
    places = np.log(at)
    inside = (places >= x[0] - 1e-9) & (places <= x[-1] + 1e-9)
    return np.where(inside, np.interp(places, x, curve["gain"]), math.nan)


def fall_together(found: pl.DataFrame) -> pl.DataFrame:
    """Return one row per editor and measure: the mean distance on each axis over seeds, and the axis that is nearer.

    `difference` is the distance by edits less that by edits per weight (above 0: nearer by edits per weight), with
    Student's interval from five seeds on; `each` are the seeds' own. `nearer` names the axis of the least distance
    only where the interval of every other one's difference from it lies above 0.
    """
    rows = []
    for (editor, measure), part in found.group_by("editor", "measure", maintain_order=True):
        by_axis = {axis: _of_axis(part, axis) for axis in BUDGET_AXES}
        means = {axis: float(np.mean(values)) for axis, values in by_axis.items()}
        told = of_seeds((by_axis[EDITS] - by_axis[DENSITY]).tolist(), len(part))
        known = not math.isnan(told["mean"])
        rows.append({
            "editor": editor, "measure": measure, **means, "difference": told["mean"],
            "low": told.get("low") if known else None, "high": told.get("high") if known else None,
            "each": " ".join(f"{value:+.3f}" for value in told.get("seeds", ())),
            "seeds": len(by_axis[EDITS]), "nearer": nearest(by_axis),
        })  # fmt: skip
    return pl.DataFrame(rows, schema=_VERDICT)


_VERDICT: dict[str, Any] = {
    "editor": pl.String, "measure": pl.String, **dict.fromkeys((*BUDGET_AXES, "difference", "low", "high"), pl.Float64),
    "each": pl.String, "seeds": pl.Int64, "nearer": pl.String,
}  # fmt: skip


def _of_axis(part: pl.DataFrame, axis: str) -> np.ndarray:
    return part.filter(pl.col("axis") == axis).sort("seed")["distance"].to_numpy().astype(float)


def nearest(by_axis: Mapping[str, np.ndarray]) -> str:
    """Return the axis on which distances (seeds,) are least, or `NOT_TOLD_APART` with the reason where one is known.

    >>> a, b = np.array([0.1, 0.12, 0.11, 0.1, 0.09]), np.array([0.3, 0.33, 0.29, 0.31, 0.32])
    >>> nearest({"a": a, "b": b}), nearest({"a": a, "b": a}), nearest({"a": a[:2], "b": b[:2]})
    ('a', 'not told apart', 'not told apart (2 seeds)')
    """
    there = {axis: values for axis, values in by_axis.items() if len(values) and not np.isnan(values).any()}
    if len(there) < 2:
        return "curves do not overlap"
    best = min(there, key=lambda axis: float(there[axis].mean()))
    others = [values - there[best] for axis, values in there.items() if axis != best]
    if len(there[best]) < ENOUGH:
        return f"{NOT_TOLD_APART} ({len(there[best])} seed{'s' if len(there[best]) > 1 else ''})"
    return best if all(of_seeds(other.tolist(), 1)["low"] > 0 for other in others) else NOT_TOLD_APART
