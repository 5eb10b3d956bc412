"""Degradation laws: what a curve over N edits follows, fitted on its beginning and held against what came later.

Four laws: constant, exponential (log R falls with N), power (log R falls with log N), logistic (logit R falls with
log N). Knows matrices of scores, edits by panels; nothing of editors or files, and draws nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from reports.statistics.clusters import redrawn

FITTED_UNTIL = 1000  # edits
FEWEST_PANELS = 5  # two parameters and a variance need more panels than that for AICc to be defined
_NEAR = 1e-9


@dataclass(frozen=True)
class DegradationLaw:
    """A law with its two numbers: the link of R at the first panel fitted, and how far it falls up to the last."""

    name: str
    start: float
    fall: float
    first: float
    last: float

    def at(self, steps: np.ndarray) -> np.ndarray:
        """Return R at some numbers of edits."""
        return _curve(self.name, np.array([self.start]), np.array([self.fall]), self._place(steps))[0]

    def _place(self, steps: np.ndarray) -> np.ndarray:
        return _places(self.name, np.asarray(steps, float), self.first, self.last)


@dataclass(frozen=True)
class Forecast:
    """The law that was chosen, AICc of each, and what the choice predicts at later panels, with 95 % intervals."""

    law: DegradationLaw
    aicc: Mapping[str, float]
    steps: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray


LAWS = ("constant", "exponential", "power", "logistic")
# The box in which each law's two numbers are looked for: the link at the first panel, the fall to the last.
_BOXES = {
    "constant": ((0.0, 1.0), (0.0, 0.0)),
    "exponential": ((-6.0, 0.0), (0.0, 8.0)),
    "power": ((-6.0, 0.0), (0.0, 8.0)),
    "logistic": ((-7.0, 9.0), (0.0, 16.0)),
}


def _places(name: str, steps: np.ndarray, first: float, last: float) -> np.ndarray:
    """Return where steps lie between the first and the last panel fitted, on the law's axis."""
    axis = np.log if name in ("power", "logistic") else np.asarray
    return (axis(steps) - axis(first)) / (axis(last) - axis(first))


def _curve(name: str, start: np.ndarray, fall: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Return R, (n, panels), of n pairs of numbers."""
    if name == "constant":
        return np.broadcast_to(start[:, None], (len(start), len(place)))
    link = start[:, None] - fall[:, None] * place
    return np.exp(np.minimum(link, 0)) if name != "logistic" else 1 / (1 + np.exp(np.clip(-link, -60, 60)))


def fitted(name: str, steps: np.ndarray, curves: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the two numbers of a law, (B,) each, of smallest weighted squares on B curves (B, panels).

    Found on a grid that is drawn closer seven times about each curve's best point.
    """
    place = _places(name, steps, float(steps[0]), float(steps[-1]))
    if name == "constant":
        return curves @ weights / weights.sum(), np.zeros(len(curves))
    (low, high), (least, most) = _BOXES[name]
    start, fall = (g.ravel() for g in np.meshgrid(np.linspace(low, high, 41), np.linspace(least, most, 41)))
    given = _curve(name, start, fall, place)
    squares = -2 * (curves * weights) @ given.T + (given**2 * weights).sum(1)
    best = squares.argmin(1)
    start, fall = start[best], fall[best]
    reach = np.array([(high - low) / 40, (most - least) / 40])
    around = np.array([(i, j) for i in (-1, -0.5, 0, 0.5, 1) for j in (-1, -0.5, 0, 0.5, 1)])
    rows = np.arange(len(curves))
    for _ in range(24):
        near_start = np.clip(start[:, None] + reach[0] * around[:, 0], low, high)
        near_fall = np.clip(fall[:, None] + reach[1] * around[:, 1], least, most)
        given = _curve(name, near_start.ravel(), near_fall.ravel(), place).reshape(*near_start.shape, -1)
        best = ((given - curves[:, None]) ** 2 * weights).sum(2).argmin(1)
        start, fall = near_start[rows, best], near_fall[rows, best]
        reach = reach * 0.7
    return start, fall


def aicc(name: str, steps: np.ndarray, curves: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return Akaike's criterion, corrected for few panels, of a law's best fit to each of B curves: the least wins.

    Infinite where there are too few panels for it.
    """
    start, fall = fitted(name, steps, curves, weights)
    return _aicc(name, steps, curves, weights, start, fall)


def _aicc(
    name: str, steps: np.ndarray, curves: np.ndarray, weights: np.ndarray, start: np.ndarray, fall: np.ndarray
) -> np.ndarray:
    n, k = len(steps), 2 if name == "constant" else 3  # the variance is one of them
    if n - k - 1 <= 0:
        return np.full(len(curves), math.inf)
    given = _curve(name, start, fall, _places(name, steps, float(steps[0]), float(steps[-1])))
    mean_square = ((curves - given) ** 2 * weights).sum(1) / weights.sum()
    return n * np.log(np.maximum(mean_square, _NEAR)) + 2 * k + 2 * k * (k + 1) / (n - k - 1)


def forecast(
    scores: np.ndarray,
    steps: np.ndarray,
    seeds: np.ndarray,
    *,
    until: int = FITTED_UNTIL,
    draws: int = 400,
    seed: int = 0,
) -> Forecast | None:
    """Return the law of a curve's panels up to `until` edits and what it says of the later ones; None for too few.

    `scores` is (edits, panels), not a number where an edit was not asked, `steps` (panels,) the edits made by each
    panel, `seeds` (edits,). An interval has what a bootstrap over edits (seeds first, where there are several) makes
    of the choice of the law and of its numbers, and how far a panel lies from its law.
    """
    asked = ~np.isnan(scores)
    early = (steps <= until) & asked.any(0)
    if early.sum() < FEWEST_PANELS:
        return None
    rng = np.random.default_rng(seed)
    weights = np.vstack([np.ones(len(scores)), redrawn(seeds, draws, rng)])
    counts = weights @ asked
    with np.errstate(invalid="ignore"):
        curves = (weights @ np.where(asked, scores, 0.0)) / counts
    curves = np.where(counts > 0, curves, curves[0])  # no edit of a panel was drawn: as it was
    at, n = steps[early].astype(float), asked.sum(0).astype(float)
    found = {name: fitted(name, at, curves[:, early], n[early]) for name in LAWS}
    said = {name: _aicc(name, at, curves[:, early], n[early], *found[name]) for name in LAWS}
    chosen = np.stack([said[name] for name in LAWS]).argmin(0)
    first, last = float(at[0]), float(at[-1])
    law = DegradationLaw(
        LAWS[chosen[0]], float(found[LAWS[chosen[0]]][0][0]), float(found[LAWS[chosen[0]]][1][0]), first, last
    )
    # What each draw says of the later panels, and how far a panel lies from the law that it follows.
    later = steps[~early & asked.any(0)].astype(float)
    each = {name: _curve(name, *found[name], _places(name, later, first, last)) for name in LAWS}
    drawn = np.stack([each[name] for name in LAWS])[chosen, np.arange(len(chosen))]
    parts = 1 if law.name == "constant" else 2
    off = float(((curves[0, early] - law.at(at)) ** 2 * n[early]).sum() / (early.sum() - parts))
    apart = _variance(scores, steps, asked, early)
    noise = rng.standard_normal(drawn[1:].shape) * np.sqrt(max(off, apart) / n[~early & asked.any(0)])
    low, high = (
        np.quantile(np.clip(drawn[1:] + noise, 0, 1), [0.025, 0.975], axis=0) if len(later) else (later, later)
    )
    return Forecast(law, {name: float(said[name][0]) for name in LAWS}, later, law.at(later), low, high)


def _variance(scores: np.ndarray, steps: np.ndarray, asked: np.ndarray, early: np.ndarray) -> float:
    """Return the variance of an edit's score about the mean, at the last panel that the law was fitted to."""
    last = int(np.flatnonzero(early)[np.argmax(steps[early])])
    return float(scores[asked[:, last], last].var())
