"""How retention decays: not at all, gradually, or with a catastrophe after a change point. Knows numbers only.

Gradual decay is a line that falls with the number of edits or with its logarithm, or edits that are lost at a steady
rate of their age. A catastrophe is such a line that drops at once between two panels, or falls faster from one panel
on. Panels are nested: each asks the edits of the one before again, and an edit that was wrong tends to be wrong
again, so that chance drifts from panel to panel as decay does. Errors are therefore binomial and correlated by the
edits in common, as much as the panels themselves make likely. A change point costs two parameters more, and the
Bayesian information criterion says whether it is worth them (piecewise against a single slope). What falls there must
also be more than what the line loses by itself.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

BEFORE, AFTER = 3, 2  # panels on either side of a change point, at least
LOSS = 0.1  # of retention: losing less is no decay, dropping by less no catastrophe
LIVES = (0.03, 0.1, 0.3)  # mean lives of edits, as shares of the last step, whose course is gradual too
STRONG = 6.0  # BIC: what Kass and Raftery (1995) call strong evidence
CORRELATIONS = (0.0, 0.25, 0.5, 0.75, 0.9, 1.0)  # tried correlations of two answers about one edit


@dataclass(frozen=True)
class Decay:
    """`kind` is none, gradual, catastrophic, or unknown where there are too few panels.

    `between` has the two steps around the change point of a catastrophe, `drop` what is lost there; `gain` is by how
    much BIC prefers a change point.
    """

    kind: str
    between: tuple[int, int] | None = None
    drop: float = math.nan
    gain: float = math.nan


def decay(steps: Sequence[int], means: Sequence[float], n: Sequence[int]) -> Decay:
    """Return how means of `n` right or wrong answers decay over steps; five panels are the least that can tell.

    A panel's edits are those of the panel before and others.
    """
    order = np.argsort(steps)
    x, y = np.asarray(steps, float)[order], np.asarray(means, float)[order]
    count = np.asarray(n, float)[order]
    if len(x) < BEFORE + AFTER:
        return Decay("unknown")
    roots = _roots(y, count)
    flat, _ = _likeliest(y, roots, [])
    courses = [ruler / ruler[-1] for ruler in (x, np.log1p(x))]
    dying = [1 - (1 - np.exp(-x / life)) / (x / life) for life in x[-1] * np.array(LIVES)]
    error, fallen = min((_likeliest(y, roots, [course]) for course in courses + dying), key=lambda found: found[0])
    pieces = []
    for cut in range(BEFORE, len(x) - AFTER + 1):
        shapes = ((x >= x[cut]).astype(float), np.maximum(0.0, x - x[cut - 1]) / (x[-1] - x[cut - 1]))
        pieces += [(*_likeliest(y, roots, [c, shape]), cut, c) for shape in shapes for c in courses]
    best, (own, drop), cut, course = min(pieces, key=lambda found: found[0])
    gain = error - best - 2 * math.log(len(x))
    if gain > STRONG and drop > max(LOSS, own * float(course[-1] - course[0])):
        return Decay("catastrophic", (int(x[cut - 1]), int(x[cut])), drop, gain)
    tried = 2 * math.log(len(courses + dying))  # the likeliest of some courses is likely by chance, too
    if flat - error - math.log(len(x)) - tried > STRONG and fallen[0] > LOSS:
        return Decay("gradual", None, math.nan, gain)
    return Decay("none", None, math.nan, gain)


def _roots(y: np.ndarray, count: np.ndarray) -> list[tuple[np.ndarray, float]]:
    """Return, for each correlation tried, what makes errors of the means independent, and log |covariance|.

    Two panels have as many edits in common as the smaller one asks about.
    """
    # A few right answers of a few do not mean that there is no error: shares are those of three panels in a row.
    around = [np.convolve(some, np.ones(3), "same") for some in (y * count, count)]
    share = (around[0] + 1) / (around[1] + 2)
    one = np.sqrt(share * (1 - share))
    common = np.outer(one, one) / np.maximum.outer(count, count)
    found = []
    for alike in CORRELATIONS:
        covariance = alike * common
        np.fill_diagonal(covariance, one**2 / count)
        covariance += 1e-9 * np.eye(len(y)) * covariance.max()  # panels of the very same edits
        lower = np.linalg.cholesky(covariance)
        found.append((np.linalg.inv(lower), 2 * float(np.log(np.diag(lower)).sum())))
    return found


def _likeliest(
    y: np.ndarray, roots: Sequence[tuple[np.ndarray, float]], falls: Sequence[np.ndarray]
) -> tuple[float, tuple[float, ...]]:
    """Return -2 log likelihood (up to a constant) at the likeliest correlation, and how far each fall falls there."""
    fits = ((_fit(y, root, falls), log_size) for root, log_size in roots)
    return min(((squares + log_size, sizes) for (squares, sizes), log_size in fits), key=lambda found: found[0])


def _fit(y: np.ndarray, root: np.ndarray, falls: Sequence[np.ndarray]) -> tuple[float, tuple[float, ...]]:
    """Return the squares about y = level - sum of falls (each 0 or more) made independent, and how far each falls.

    A fall that would rise is left out: retention does not come back.
    """
    kept = list(range(len(falls)))
    while True:
        columns = np.stack([np.ones_like(y), *(-falls[i] for i in kept)], axis=1)
        columns = root @ columns
        found = np.linalg.lstsq(columns, root @ y, rcond=None)[0]
        rising = [i for i, size in zip(kept, found[1:], strict=True) if size < 0]
        if not rising:
            break
        kept.remove(min(rising, key=lambda i: found[1 + kept.index(i)]))
    sizes = dict(zip(kept, found[1:].tolist(), strict=True))
    squares = float(np.sum((columns @ found - root @ y) ** 2))
    return squares, tuple(sizes.get(i, 0.0) for i in range(len(falls)))
