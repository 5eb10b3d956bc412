"""On which axis the curves of one editor on several models fall together, as a distance, and how well that is known.

One model's curve is foretold from another's: its value against the other's at the same place of an axis. So that no
axis is nearer for another reason, all are judged at the same places of the same curves: those that lie within the
other's range on every axis, closely spaced, as a value in between two panels is less noisy than one at a panel. And
from the other streams, as the chance of one stream is the same on all models at equal edits.
Knows tables of points; nothing of models or editors.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from reports.analyses.ladder.points import BUDGET_AXES, BY_EDITS, BY_WEIGHTS, known_gain
from reports.statistics.seeds import ENOUGH, of_seeds

LEAST_EDITS = 10
"""Panels of fewer edits are left out: their values are those of single edits."""
COMPARED_AT = 97
"""Places of a curve at which it is compared."""
NOT_TOLD_APART = "not told apart"


def distances(points: pl.DataFrame) -> pl.DataFrame:
    """Return one row per editor, measure, axis and pair of seeds: the mean square difference of the models' curves.

    `points` are what `ladder_points` returns. The curves of `seed` are foretold from those of `other` (of one seed
    alone: from its own), interpolated over the logarithm of the axis. Seeds and panels count that every model of an
    editor has. An axis is not a number where the editor does not move along it on every model (the bank of one that
    writes into a fixed number of weights does not grow), all where no curves overlap.
    """
    far = known_gain(points).filter(pl.col(BY_EDITS) >= LEAST_EDITS)
    out: list[tuple[Any, ...]] = []
    for (editor, measure), part in far.group_by("editor", "measure", maintain_order=True):
        models = part["model"].n_unique()
        part = part.filter(pl.col("model").n_unique().over("seed") == models)
        part = part.filter(pl.len().over("model", BY_EDITS) == pl.col("seed").n_unique())
        by_model = [_curves(own) for _, own in part.group_by("model", maintain_order=True)]
        there = [a for a in BUDGET_AXES if all(_grows(curve[a]) for curves in by_model for curve in curves.values())]
        seeds = sorted(part["seed"].unique())
        pairs = list(itertools.permutations(seeds, 2)) if len(seeds) > 1 else [(seed, seed) for seed in seeds]
        for seed, other in pairs:
            mine, others = [curves[seed] for curves in by_model], [curves[other] for curves in by_model]
            found = distances_of(mine, others, there) if models > 1 and there else {}
            out += [(editor, measure, axis, seed, other, found.get(axis, math.nan)) for axis in BUDGET_AXES]
    names = {"editor": pl.String, "measure": pl.String, "axis": pl.String, "seed": pl.Int32, "other": pl.Int32,
             "square": pl.Float64}  # fmt: skip
    return pl.DataFrame(out, schema=names, orient="row")


Curve = Mapping[str, np.ndarray]
"""`gain` (panels,) and the panels' places on each axis."""


def _curves(own: pl.DataFrame) -> dict[int, Curve]:
    """Return a model's curves by seed."""
    names = ("gain", *BUDGET_AXES)
    seeds = own.sort("seed", BY_EDITS).group_by("seed", maintain_order=True)
    return {int(seed): {n: part[n].to_numpy().astype(float) for n in names} for (seed,), part in seeds}


def _grows(x: np.ndarray) -> bool:
    return len(x) > 1 and bool(x[0] > 0) and bool((np.diff(x) > 0).all())


def distances_of(curves: Sequence[Curve], others: Sequence[Curve], axes: Sequence[str]) -> dict[str, float]:
    """Return the mean square, on each axis, of each model's curve less what each other model's of `others` foretells.

    Both have one curve a model, in one order; places on `axes` are strictly increasing. Not numbers where no place of
    one lies within another's range on every axis.

    >>> x, y = np.array([10.0, 100.0, 1000.0]), np.array([1.0, 0.5, 0.0])
    >>> both = [{"gain": y, "a": x, "b": x}, {"gain": y, "a": x, "b": x * 10}]
    >>> {axis: round(found, 6) for axis, found in distances_of(both, both, ["a", "b"]).items()}
    {'a': 0.0, 'b': 0.25}
    """
    errors: dict[str, list[np.ndarray]] = {axis: [] for axis in axes}
    for i, k in itertools.permutations(range(len(curves)), 2):
        closely = np.linspace(0, len(curves[i]["gain"]) - 1, COMPARED_AT)
        mine = {name: _between(values, closely, log=name != "gain") for name, values in curves[i].items()}
        told = np.stack([_foretold(others[k], axis, mine[axis]) for axis in axes])
        common = ~np.isnan(told).any(0)
        for axis, values in zip(axes, told, strict=True):
            errors[axis].append((values - mine["gain"])[common] ** 2)
    found = {axis: np.concatenate(parts) for axis, parts in errors.items()}
    return {axis: float(squares.mean()) if len(squares) else math.nan for axis, squares in found.items()}


def _between(values: np.ndarray, places: np.ndarray, *, log: bool) -> np.ndarray:
    """Return values at places between panels, counted in panels."""
    at = np.arange(len(values))
    return np.exp(np.interp(places, at, np.log(values))) if log else np.interp(places, at, values)


def _foretold(curve: Curve, axis: str, at: np.ndarray) -> np.ndarray:
    """Return a curve's values at places of an axis, not numbers outside of its range (but for rounding)."""
    x = np.log(curve[axis])
    places = np.log(at)
    inside = (places >= x[0] - 1e-9) & (places <= x[-1] + 1e-9)
    return np.where(inside, np.interp(places, x, curve["gain"]), math.nan)


def fall_together(found: pl.DataFrame) -> pl.DataFrame:
    """Return one row per editor and measure: the distance on each axis, and the axis on which it is least.

    A distance is the root of the mean square over pairs of seeds. `difference` is that by edits less that by edits
    per weight (above 0: nearer by edits per weight), with Student's interval from five seeds on; `each` are the
    seeds' own. `nearer` names the axis of the least distance only where the interval of every other one's difference
    from it lies above 0, else it says why none is named.
    """
    rows = []
    for (editor, measure), part in found.group_by("editor", "measure", maintain_order=True):
        squares = {axis: _matrix(part.filter(pl.col("axis") == axis)) for axis in BUDGET_AXES}
        told = told_apart_by(squares[BY_EDITS], squares[BY_WEIGHTS])
        rows.append({
            "editor": editor, "measure": measure, **{axis: root_mean(matrix) for axis, matrix in squares.items()},
            "difference": told["mean"], "low": told.get("low"), "high": told.get("high"),
            "each": " ".join(f"{value:+.3f}" for value in told["seeds"]), "seeds": len(squares[BY_EDITS]),
            "nearer": nearer_axis(squares),
        })  # fmt: skip
    return pl.DataFrame(rows, schema=_VERDICT)


_VERDICT: dict[str, Any] = {
    "editor": pl.String, "measure": pl.String, **dict.fromkeys(BUDGET_AXES, pl.Float64), "difference": pl.Float64,
    "low": pl.Float64, "high": pl.Float64, "each": pl.String, "seeds": pl.Int64, "nearer": pl.String,
}  # fmt: skip


def _matrix(part: pl.DataFrame) -> np.ndarray:
    """Return squares as (seeds, other seeds); not numbers on the diagonal where there are several seeds."""
    seeds = {seed: i for i, seed in enumerate(sorted(part["seed"].unique()))}
    out = np.full((len(seeds), len(seeds)), math.nan)
    for seed, other, square in part.select("seed", "other", "square").rows():
        out[seeds[seed], seeds[other]] = square
    return out


def root_mean(squares: np.ndarray) -> float:
    """Return the root of the mean of squares (seeds, other seeds), one of each pair of seeds."""
    pairs = squares if len(squares) == 1 else squares[~np.eye(len(squares), dtype=bool)]
    return float(np.sqrt(pairs.mean())) if pairs.size else math.nan


def told_apart_by(one: np.ndarray, other: np.ndarray) -> dict[str, Any]:
    """Return the difference of two distances, from squares (seeds, other seeds) each; see `seeds.of_seeds`.

    Pairs share seeds, so its interval is that of the jackknife: Student's of what each seed adds to the whole. Of
    fewer than five seeds there is none, and `seeds` are the differences of each seed's own row.
    """
    n, whole = len(one), root_mean(one) - root_mean(other)
    if n < ENOUGH or math.isnan(whole):
        rows = [math.sqrt(np.nanmean(a)) - math.sqrt(np.nanmean(b)) for a, b in zip(one, other, strict=True)
                if not (np.isnan(a).all() or np.isnan(b).all())]  # fmt: skip
        return {"mean": whole, "n": n, "seeds": rows}
    without = [root_mean(_less(one, i)) - root_mean(_less(other, i)) for i in range(n)]
    told = of_seeds([n * whole - (n - 1) * value for value in without], n)
    half = (told["high"] - told["low"]) / 2
    return told | {"mean": whole, "low": whole - half, "high": whole + half}


def _less(squares: np.ndarray, seed: int) -> np.ndarray:
    return np.delete(np.delete(squares, seed, 0), seed, 1)


def nearer_axis(squares: Mapping[str, np.ndarray]) -> str:
    """Return the axis of the least distance, from squares (seeds, other seeds) of each, or why none is named.

    >>> a, b = np.full((5, 5), 0.01), np.full((5, 5), 0.04)
    >>> nearer_axis({"a": a, "b": b}), nearer_axis({"a": a, "b": a}), nearer_axis({"a": a[:2, :2], "b": b[:2, :2]})
    ('a', 'not told apart', 'not told apart (2 seeds)')
    """
    there = {axis: matrix for axis, matrix in squares.items() if not math.isnan(root_mean(matrix))}
    if len(there) < 2:
        return "curves do not overlap"
    best = min(there, key=lambda axis: root_mean(there[axis]))
    seeds = len(there[best])
    if seeds < ENOUGH:
        return f"{NOT_TOLD_APART} ({seeds} seed{'s' if seeds > 1 else ''})"
    others = [told_apart_by(matrix, there[best])["low"] for axis, matrix in there.items() if axis != best]
    return best if min(others) > 0 else NOT_TOLD_APART
