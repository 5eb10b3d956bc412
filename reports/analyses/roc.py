"""How well a router tells questions in scope from those out of it, by its scores alone: ROC, AUC, recall at a price.

A score is that of the nearest stored edit, also where the router refused it. Knows fact tables; draws nothing.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from reports.numbers.metrics import HOLDS, OUT_OF_SCOPE, panel_rows
from reports.statistics.clusters import redrawn

PRICES = (0.01, 0.05)
"""Shares of questions out of scope that may fire, at which recall is told."""
_LEVELS = 1000  # scores are cut at so many quantiles for the bootstrap, not for the estimate
_IN_SCOPE = HOLDS & pl.col("axis").is_in(["reliability", "generality"])


def router_scores(probed: pl.DataFrame, gauged: pl.DataFrame) -> pl.DataFrame:
    """Return one row per question of a panel at which the editor searched: `best` and whether it is `inside`.

    In scope are reliability and generality, out of it locality and the must-not half of specificity. A question that
    nothing was searched for can never fire: its score is minus infinity. `fired` says whether the router did.
    """
    return scores_at_panels(panel_rows(probed.filter(pl.col("scorer") == "generated"), gauged))


def scores_at_panels(rows: pl.DataFrame) -> pl.DataFrame:
    """Return `router_scores` of rows that were asked at panels, once each."""
    kept = ["editor", "seed", "step", "edit_id", "axis", "variant", "best", "inside", "fired"]
    if "best_score" not in rows.columns:
        return pl.DataFrame(schema={name: pl.Float64 if name == "best" else pl.String for name in kept}).clear()
    rows = rows.filter(pl.col("scorer") == "generated")
    rows = rows.filter(_IN_SCOPE | OUT_OF_SCOPE).with_columns(
        _IN_SCOPE.alias("inside"),
        (pl.col("routed_n") > 0).alias("fired"),
        pl.col("best_score").fill_null(-np.inf).alias("best"),
    )
    searched = pl.col("best_score").is_not_null().any().over("editor", "seed", "step")
    return rows.filter(searched).select(kept)


def roc(best: np.ndarray, inside: np.ndarray, weights: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return false fires and recall, each from 0 to 1, at every threshold from the strictest on: (thresholds + 1,).

    A question fires when its score reaches the threshold. Those scored minus infinity never do, so that the ends
    need not reach 1.
    """
    weight = np.ones(len(best)) if weights is None else weights
    finite = np.isfinite(best)
    values, place = np.unique(-best[finite], return_inverse=True)
    ends = []
    for side in (~inside, inside):
        here = np.bincount(place, (weight * side)[finite], len(values))
        total = (weight * side).sum()
        ends.append(np.append(0.0, np.cumsum(here)) / total if total > 0 else np.full(len(values) + 1, np.nan))
    return ends[0], ends[1]


def area(false_fires: np.ndarray, recall: np.ndarray) -> np.ndarray:
    """Return the area below ROC curves (..., thresholds): how often a question in scope scores above one out of it.

    Ties count half; what never fires lies on the straight line to (1, 1).
    """
    ones = np.ones((*false_fires.shape[:-1], 1))
    return np.asarray(np.trapezoid(np.concatenate([recall, ones], -1), np.concatenate([false_fires, ones], -1)))


def recall_at(false_fires: np.ndarray, recall: np.ndarray, price: float) -> np.ndarray:
    """Return the largest recall at which at most a share `price` out of scope fires, of curves (..., thresholds)."""
    return np.where(false_fires <= price + 1e-12, recall, 0.0).max(-1)


def separation(rows: pl.DataFrame, *, draws: int = 200, seed: int = 0) -> pl.DataFrame:
    """Return AUC, recall at each of `PRICES`, and what the router itself reaches, by editor and step.

    Columns `auc`, `auc low`, `auc high`, likewise `recall at .01`, `recall at .05`; `recall` and `false fires` of the
    router as it is set; n_in, n_out. Bounds: 95 % of a bootstrap over edits, seeds first. Steps at which either kind
    was not asked are left out.
    """
    out = []
    for (editor, step), mine in rows.group_by("editor", "step", maintain_order=True):
        best, inside = mine["best"].to_numpy(), mine["inside"].to_numpy()
        if not inside.any() or inside.all():
            continue
        point = roc(best, inside)
        fired = mine["fired"].to_numpy()
        row: dict[str, object] = {"editor": editor, "step": step, "n_in": int(inside.sum()),
                                  "n_out": int((~inside).sum()), "recall": float(fired[inside].mean()),
                                  "false fires": float(fired[~inside].mean())}  # fmt: skip
        drawn = _redrawn_curves(mine, best, inside, draws, seed)
        for name, of in (("auc", area), *((f"recall at {p:g}", _priced(p)) for p in PRICES)):
            low, high = np.nanquantile(of(*drawn), [0.025, 0.975])
            row |= {name: float(of(*point)), f"{name} low": float(low), f"{name} high": float(high)}
        out.append(row)
    return pl.DataFrame(out).sort("editor", "step") if out else pl.DataFrame()


def _priced(price: float):
    return lambda false_fires, recall: recall_at(false_fires, recall, price)


def _redrawn_curves(
    mine: pl.DataFrame, best: np.ndarray, inside: np.ndarray, draws: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return ROC curves of bootstrap samples over edits, (draws, levels + 1) each."""
    edits = mine.select("seed", "edit_id").unique(maintain_order=True).with_row_index("row")
    row = mine.join(edits, on=["seed", "edit_id"], maintain_order="left")["row"].to_numpy()
    finite = np.isfinite(best)
    cuts = np.unique(best[finite])
    if len(cuts) > _LEVELS:
        cuts = np.unique(np.quantile(best[finite], np.linspace(0, 1, _LEVELS), method="lower"))
    level = len(cuts) - np.searchsorted(cuts, best[finite], side="right")  # 0 is the strictest
    weights = redrawn(edits["seed"].to_numpy(), draws, np.random.default_rng(seed)).astype(np.float32)
    curves = []
    for side in (~inside, inside):
        counts = np.zeros((len(edits), len(cuts)), np.float32)
        np.add.at(counts, (row[finite], level), side[finite])
        totals = weights @ np.bincount(row, side, len(edits)).astype(np.float32)
        with np.errstate(invalid="ignore", divide="ignore"):
            share = np.cumsum(weights @ counts, 1) / totals[:, None]
        curves.append(np.concatenate([np.zeros((draws, 1)), share], 1))
    return curves[0], curves[1]
