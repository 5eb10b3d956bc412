"""Means of scores with intervals that take an edit's probes, and all its panels, as one: a bootstrap over edits.

Knows frames with editor, seed, edit_id and score; draws nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

FEWEST_EDITS = 5  # below, an interval over edits says nothing and is left open (null)


def edit_means(rows: pl.DataFrame, keys: Sequence[str], *, draws: int = 200, seed: int = 0) -> pl.DataFrame:
    """Return mean score, low, high (95 % percentiles), n and edits for each combination of `keys`, sorted by them.

    `keys` begin with editor. Seeds are drawn first where there are several, then edits within each; the draws are
    the same for every combination, so that differences of neighbours are known better than each of them.
    """
    out = []
    for _, mine in rows.group_by("editor", maintain_order=True):
        # Sorted, so that a seed draws the same edits however rows are ordered.
        edits = mine.select("seed", "edit_id").unique().sort("seed", "edit_id").with_row_index("row")
        cells = mine.select(keys).unique().sort(keys, nulls_last=True).with_row_index("cell")
        sums = (
            mine.group_by(*keys, "seed", "edit_id")
            .agg(pl.col("score").sum().alias("sum"), pl.len().alias("n"))
            .join(edits, on=["seed", "edit_id"])
            .join(cells, on=list(keys), nulls_equal=True)
        )
        score, count = np.zeros((len(edits), len(cells))), np.zeros((len(edits), len(cells)))
        at = (sums["row"].to_numpy(), sums["cell"].to_numpy())
        score[at], count[at] = sums["sum"].to_numpy(), sums["n"].to_numpy()
        weights = redrawn(edits["seed"].to_numpy(), draws, np.random.default_rng(seed))
        with np.errstate(invalid="ignore", divide="ignore"):
            low, high = np.nanquantile((weights @ score) / (weights @ count), [0.025, 0.975], axis=0)
        low, high = certain(score.sum(0) / count.sum(0), low, high, (count > 0).sum(0))
        few = (count > 0).sum(0) < FEWEST_EDITS
        bounds = [
            pl.Series(name, np.where(few, np.nan, b)).fill_nan(None) for name, b in (("low", low), ("high", high))
        ]
        means = {"mean": score.sum(0) / count.sum(0), "n": count.sum(0).astype(int), "edits": (count > 0).sum(0)}
        out.append(cells.drop("cell").with_columns(*(pl.Series(k, v) for k, v in means.items()), *bounds))
    return pl.concat(out) if out else pl.DataFrame(schema={k: rows.schema[k] for k in keys})


def certain(mean: np.ndarray, low: np.ndarray, high: np.ndarray, edits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return bounds with those opened that a bootstrap closes because every edit fared alike.

    Where each of n edits scored 1 the lower one is the share of which n in a row are seen once in forty times (the
    exact binomial bound), and likewise for 0.

    >>> [round(float(b[0]), 3) for b in certain(*(np.array([x]) for x in (1.0, 1.0, 1.0, 20)))]
    [0.832, 1.0]
    """
    reach = 0.025 ** (1 / np.maximum(edits, 1))
    low = np.where((mean >= 1 - 1e-12) & (low >= 1 - 1e-12), reach, low)
    return low, np.where((mean <= 1e-12) & (high <= 1e-12), 1 - reach, high)


def redrawn(seeds: np.ndarray, draws: int, rng: np.random.Generator) -> np.ndarray:
    """Return how often each of n edits is drawn in each of `draws` bootstrap samples, (draws, n).

    With several seeds as many seeds are drawn first, each with all its edits drawn anew.
    """
    names, place = np.unique(seeds, return_inverse=True)
    out = np.zeros((draws, len(seeds)), np.float32)
    members = [np.flatnonzero(place == i) for i in range(len(names))]
    for row in range(draws):
        chosen = rng.integers(0, len(names), len(names)) if len(names) > 1 else [0]
        for i in chosen:
            mine = members[i]
            out[row] += np.bincount(mine[rng.integers(0, len(mine), len(mine))], minlength=len(seeds))
    return out
