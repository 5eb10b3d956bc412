"""Survival of edits: how long an edit that was right at once stays right, from panels that look only now and then.

The event is an edit's first wrong answer, its time the edit's age. A panel only says between which two ages it fell,
so the estimator is Turnbull's; where every age was looked at it is Kaplan-Meier's. Knows fact tables; draws nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import polars as pl

from reports.numbers.metrics import HOLDS
from reports.statistics.clusters import certain, redrawn

EXACT_AGES = 20  # ages up to here are used as they are; older ones are rounded, at most 5 % up or down
PER_DECADE = 24
FEWEST_PAIRS = 20  # shared edits below which two editors are not tested: the normal law of the sum is not near
_TOLERANCE = 1e-4  # log likelihood, per edit, that an estimate may lie below the best one
_MOST_STEPS = 2000


@dataclass(frozen=True)
class Survival:
    """A distribution of ages at failure: `mass[..., j]` lies somewhere in (low[j], high[j]]; the last may be open.

    `low` and `high` are (m,), `mass` is (m,), or (B, m) for B weightings of the same edits.
    """

    low: np.ndarray
    high: np.ndarray
    mass: np.ndarray

    def at(self, ages: np.ndarray) -> np.ndarray:
        """Return the share that survives each age; inside an interval, where nobody knows, mass is spread evenly."""
        width = np.where(np.isfinite(self.high), self.high - self.low, 1.0)
        gone = np.clip((np.asarray(ages, float)[:, None] - self.low) / width, 0, 1)
        gone[:, ~np.isfinite(self.high)] = 0.0
        return 1.0 - self.mass @ gone.T


def lifetimes(probed: pl.DataFrame) -> pl.DataFrame:
    """Return one row (editor, seed, edit_id, left, right) per edit that was right when it was visible.

    It was right when last asked at age `left`, and wrong when next asked at age `right` (infinity: never seen wrong).
    An edit is right where all its reliability probes are; one that is replaced or taken back is followed up to then.
    """
    own = HOLDS & (pl.col("axis") == "reliability") & (pl.col("scorer") == "generated")
    keys = ["editor", "seed", "edit_id"]
    right = (pl.col("score").min() >= 1).alias("right_then")
    cells = probed.lazy().filter(own).group_by(*keys, "age").agg(right).collect()
    at_once = cells.filter((pl.col("age") == 0) & pl.col("right_then")).select(keys)
    cells = cells.join(at_once, on=keys, how="semi")
    wrong = cells.filter(~pl.col("right_then")).group_by(keys).agg(pl.col("age").min().alias("wrong"))
    known = cells.filter("right_then").join(wrong, on=keys, how="left")
    known = known.filter(pl.col("wrong").is_null() | (pl.col("age") < pl.col("wrong")))
    found = known.group_by(keys).agg(pl.col("age").max().alias("left"), pl.col("wrong").first().alias("right"))
    return found.with_columns(pl.col("left", "right").cast(pl.Float64)).fill_null(math.inf).sort(keys)


def rounded_ages(lives: pl.DataFrame) -> pl.DataFrame:
    """Return lifetimes with large ages rounded to a grid of 24 a decade, so that many edits share an interval."""

    def near(ages: np.ndarray) -> np.ndarray:
        old = ages > EXACT_AGES
        out = ages.copy()
        with np.errstate(invalid="ignore"):
            out[old] = np.rint(10 ** (np.rint(np.log10(ages[old]) * PER_DECADE) / PER_DECADE))
        return np.where(np.isfinite(ages), out, ages)

    left, right = near(lives["left"].to_numpy()), near(lives["right"].to_numpy())
    met = right <= left  # neighbours that were rounded to one age
    right[met] = lives["right"].to_numpy()[met]
    left[met] = lives["left"].to_numpy()[met]
    return lives.with_columns(pl.Series("left", left), pl.Series("right", right))


def turnbull(left: np.ndarray, right: np.ndarray, weights: np.ndarray | None = None) -> Survival:
    """Return the distribution under which failures in (left, right] are most likely (Turnbull 1976).

    `left` and `right` are (n,), `right` infinite where none was seen; `weights` (n,) or (B, n) count each edit so
    many times (a bootstrap). Raises `ValueError` without edits, and where an interval is empty.
    """
    left, right = np.asarray(left, float), np.asarray(right, float)
    if not len(left) or not (left < right).all():
        raise ValueError("turnbull needs at least one edit, and left < right of each.")
    counted = np.ones(len(left)) if weights is None else np.asarray(weights, float)
    low, high = _innermost(left, right)
    pairs, place = np.unique(np.stack([left, right]), axis=1, return_inverse=True)
    holds = (pairs[0][:, None] <= low) & (high <= pairs[1][:, None])
    totals = np.zeros((np.atleast_2d(counted).shape[0], pairs.shape[1]))
    for row, one in enumerate(np.atleast_2d(counted)):
        totals[row] = np.bincount(place.ravel(), one, pairs.shape[1])
    mass = _most_likely(totals, holds.astype(float))
    return Survival(low, high, mass if counted.ndim == 2 else mass[0])


def _innermost(left: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the intervals that can hold mass: a left end with a right end as the next end of any."""
    values = np.concatenate([np.unique(left), np.unique(right)])
    opens = np.concatenate([np.ones(len(np.unique(left))), np.zeros(len(np.unique(right)))])
    order = np.lexsort((opens, values))  # at one age what ends there comes before what begins after it
    values, opens = values[order], opens[order]
    first = np.flatnonzero((opens[:-1] == 1) & (opens[1:] == 0))
    return values[first], values[first + 1]


def _most_likely(totals: np.ndarray, holds: np.ndarray) -> np.ndarray:
    """Return the masses (B, m) of largest likelihood, of counts (B, K) of the intervals that K rows of `holds` allow.

    Self-consistency, sped up by extrapolation (SQUAREM), until the likelihood can grow by no more than the tolerance:
    for masses p that bound is max_j sum_i w_i holds_ij / P_i - n.
    """
    done = np.full((len(totals), holds.shape[1]), 1.0 / holds.shape[1])
    left = np.arange(len(totals))  # rows that are not there yet
    for _ in range(_MOST_STEPS):
        mass, counts = done[left], totals[left]
        up = _slope(mass, counts, holds)
        going = up.max(1) - 1 > _TOLERANCE
        if not going.any():
            break
        left, mass, counts, up = left[going], mass[going], counts[going], up[going]
        one = mass * up
        two = one * _slope(one, counts, holds)
        step, bend = one - mass, two - one - (one - mass)
        length = np.maximum(1.0, np.linalg.norm(step, axis=1) / np.maximum(np.linalg.norm(bend, axis=1), 1e-300))
        length = np.minimum(length, 1e3)[:, None]
        # A mass of 0 would stay 0 for good: none falls below a tenth in one jump.
        jumped = np.maximum(mass + 2 * length * step + length**2 * bend, 0.1 * two)
        jumped /= jumped.sum(1, keepdims=True)
        better = _log_likelihood(jumped, counts, holds) > _log_likelihood(two, counts, holds)
        done[left] = np.where(better[:, None], jumped, two)
    return done


def _slope(mass: np.ndarray, totals: np.ndarray, holds: np.ndarray) -> np.ndarray:
    chance = np.maximum(mass @ holds.T, 1e-300)
    return (totals / chance) @ holds / totals.sum(1, keepdims=True)


def _log_likelihood(mass: np.ndarray, totals: np.ndarray, holds: np.ndarray) -> np.ndarray:
    return (totals * np.log(np.maximum(mass @ holds.T, 1e-300))).sum(1)


def survival_band(
    lives: pl.DataFrame, ages: np.ndarray, *, draws: int = 200, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return survival of one editor at some ages, with 95 % percentile bounds of a bootstrap over its edits.

    With several seeds these are drawn first, then edits within each. `lives` has seed, left and right.
    """
    rounded = rounded_ages(lives)
    left, right = rounded["left"].to_numpy(), rounded["right"].to_numpy()
    rng = np.random.default_rng(seed)
    weights = np.vstack([np.ones(len(lives)), redrawn(lives["seed"].to_numpy(), draws, rng)])
    found = turnbull(left, right, weights).at(ages)
    low, high = np.quantile(found[1:], [0.025, 0.975], axis=0)
    followed = np.array([int((left >= age).sum()) for age in ages])
    return found[0], *certain(found[0], low, high, followed)


def log_rank_scores(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return each edit's part of the log-rank statistic, (n,): failures seen less those expected under one law.

    The sum over a group is the group's observed less expected failures, by Sun's (1996) counts for intervals; where
    every age was looked at they are the usual ones.
    """
    law = turnbull(left, right)
    left, right = np.asarray(left, float), np.asarray(right, float)
    mine = (left[:, None] <= law.low) & (law.high <= right[:, None])
    share = mine * law.mass
    share /= np.maximum(share.sum(1, keepdims=True), 1e-300)
    seen = np.isfinite(right)[:, None]
    failed = np.where(seen, share, 0.0)
    # At risk in interval j: who fails there or later, and whom nobody saw wrong by its end.
    at_risk = np.where(seen, np.cumsum(share[:, ::-1], 1)[:, ::-1], law.high <= left[:, None])
    total = at_risk.sum(0)
    rate = np.divide(failed.sum(0), total, out=np.zeros(len(total)), where=total > 0)
    return failed.sum(1) - at_risk @ rate


def log_rank(lives: pl.DataFrame, one: str, other: str) -> tuple[float, float, int]:
    """Return a paired log-rank test of two editors on the edits that both had right at once: z, p and their number.

    Editors share a stream, so the labels are exchanged within each edit: z is the sum of the differences over the
    root of the sum of their squares. z > 0: `one` loses edits sooner. nan for fewer than 20 shared edits; p is 1
    where every edit fares alike.
    """
    keys = ["seed", "edit_id"]
    first, second = (lives.filter(pl.col("editor") == e).select(*keys, "left", "right") for e in (one, other))
    both = rounded_ages(first).join(rounded_ages(second), on=keys, suffix="_other")
    if len(both) < FEWEST_PAIRS:
        return math.nan, math.nan, len(both)
    ends = [np.concatenate([both[name], both[f"{name}_other"]]) for name in ("left", "right")]
    scores = log_rank_scores(*ends)
    change = scores[: len(both)] - scores[len(both) :]
    spread = math.sqrt(float((change**2).sum()))
    if spread < 1e-9:
        return 0.0, 1.0, len(both)
    z = float(change.sum()) / spread
    return z, math.erfc(abs(z) / math.sqrt(2)), len(both)
