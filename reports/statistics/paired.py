"""Is one editor better than another: statistics of two that were asked the same questions after the same edits.

From five seeds on a seed is the unit: Student's t of the seeds' differences. Of fewer it is an edit within its seed,
with all its questions together: the interval is a bootstrap's over edits, about these streams alone, and p is that
of exchanging the two editors' answers at random, edit by edit. Knows arrays of numbers only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from reports.statistics.seeds import ENOUGH

DRAWS = 4000  # of either kind; a p is then known to about .003 at .05, and is never below 1 / 4,001
_CHUNK = 200  # draws at a time: of 10,000 edits 8 MB
ScoreOfMeans = Callable[[np.ndarray, int], np.ndarray]
"""Means of measures (..., measures) in a seed of that number -> (..., scores): what editors are compared by."""


@dataclass(frozen=True)
class SeedScores:
    """What editors answered in one seed: sums of scores (editors, edits, measures), and their n (edits, measures)."""

    sums: np.ndarray
    n: np.ndarray


@dataclass(frozen=True)
class Difference:
    """By how much a first editor is above a second: 95 % interval, p, and the `rule` that they come from."""

    value: float
    low: float
    high: float
    p: float
    rule: str


def two_sided(t: float, freedom: int) -> float:
    """Return the probability that Student's t of so many degrees of freedom is as far from 0 as this.

    >>> round(two_sided(2.776, 4), 4), two_sided(0.0, 3)
    (0.05, 1.0)
    """
    # The finite series of Abramowitz and Stegun, 26.7.3 and 26.7.4.
    angle = math.atan2(abs(t), math.sqrt(freedom))
    square, odd = math.cos(angle) ** 2, freedom % 2
    term = total = (math.cos(angle) if freedom > 1 else 0.0) if odd else 1.0
    for k in range(2 + odd, freedom - 1, 2):
        term *= square * (k - 1) / k
        total += term
    inside = 2 / math.pi * (angle + math.sin(angle) * total) if odd else math.sin(angle) * total
    return min(1.0, max(0.0, 1.0 - inside))


def students_95(freedom: int) -> float:
    """Return the t that Student's of so many degrees of freedom is beyond, on either side, with probability 5 %.

    >>> round(students_95(4), 3), round(students_95(2), 3)
    (2.776, 4.303)
    """
    low, high = 1.9, 13.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if two_sided(middle, freedom) > 0.05 else (low, middle)
    return high


def holm(p: Sequence[float]) -> list[float]:
    """Return p values adjusted for how many there are (Holm 1979); what is not a number is not one of them.

    >>> [round(x, 3) for x in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]
    """
    known = sorted((value, at) for at, value in enumerate(p) if not math.isnan(value))
    out, most = [math.nan] * len(p), 0.0
    for rank, (value, at) in enumerate(known):
        most = max(most, min(1.0, (len(known) - rank) * value))
        out[at] = most
    return out


def seeds_apart(differences: Sequence[float]) -> Difference:
    """Return the mean of seeds' differences, from five on, by Student's t; equal ones leave no interval."""
    n, mean = len(differences), float(np.mean(differences))
    error = float(np.std(differences, ddof=1)) / math.sqrt(n)
    half = students_95(n - 1) * error
    p = two_sided(mean / error, n - 1) if error > 0 else float(mean == 0)
    return Difference(mean, mean - half, mean + half, p, f"Student's t of {n} seeds")


def pairs_apart(
    seeds: Sequence[SeedScores], pairs: Sequence[tuple[int, int]], score: ScoreOfMeans, draws: int = DRAWS
) -> list[list[Difference]]:
    """Return each pair's differences (editors by their place in `sums`), one a score, over seeds that all have.

    Not a number where an editor's score is. Fewer than five seeds: one edit that only the first and one that only
    the second answers rightly are added to those that are drawn from, so that two editors who answer alike in a few
    edits are not said to be equal (Agresti and Min 2005); neither they nor draws change the difference itself.
    """
    points = np.stack([score(_means(one.sums.sum(1), one.n.sum(0)), at) for at, one in enumerate(seeds)])
    differences = np.stack([points[:, i] - points[:, j] for i, j in pairs], axis=0)  # (pairs, seeds, scores)
    if len(seeds) >= ENOUGH:
        return [[_none() if np.isnan(d).any() else seeds_apart(list(d)) for d in one.T] for one in differences]
    drawn = np.zeros((len(pairs), draws, points.shape[-1]))
    swapped = np.zeros_like(drawn)
    for at, one in enumerate(seeds):
        rng = np.random.default_rng((at, one.n.shape[0]))
        for begin in range(0, draws, _CHUNK):
            here = slice(begin, min(begin + _CHUNK, draws))
            size = here.stop - begin
            drawn[:, here] += _drawn(one, pairs, score, at, rng, size, len(seeds)) / len(seeds)
            swapped[:, here] += _swapped(one, pairs, score, at, rng, size) / len(seeds)
    return [
        [_from_draws(m, d, s, len(seeds)) for m, d, s in zip(means, d_of.T, s_of.T, strict=True)]
        for means, d_of, s_of in zip(differences.mean(1), drawn, swapped, strict=True)
    ]


def _none() -> Difference:
    return Difference(math.nan, math.nan, math.nan, math.nan, "not asked")


def _from_draws(mean: float, drawn: np.ndarray, swapped: np.ndarray, seeds: int) -> Difference:
    if math.isnan(mean):
        return _none()
    ordered = np.sort(drawn[~np.isnan(drawn)])
    tail = int(0.025 * len(ordered))
    beyond = int((np.abs(swapped) >= abs(mean) - 1e-12).sum())
    rule = f"bootstrap over edits of {seeds} seed{'s' if seeds > 1 else ''}"
    ends = min(float(ordered[tail]), mean), max(float(ordered[-1 - tail]), mean)
    return Difference(float(mean), *ends, (1 + beyond) / (1 + len(swapped)), rule)


def _means(sums: np.ndarray, n: np.ndarray) -> np.ndarray:
    return np.where(n > 0, sums / np.maximum(n, 1e-300), math.nan)


def _drawn(
    one: SeedScores,
    pairs: Sequence[tuple[int, int]],
    score: ScoreOfMeans,
    at: int,
    rng: np.random.Generator,
    size: int,
    seeds: int,
) -> np.ndarray:
    """Return differences of pairs (pairs, size, scores) of as many edits, drawn with replacement, as there are."""
    edits = one.n.shape[0]
    places = rng.integers(0, edits + 2, (size, edits + 2)) + np.arange(size)[:, None] * (edits + 2)
    weights = np.bincount(places.ravel(), minlength=size * (edits + 2)).reshape(size, -1).astype(np.float64)
    n = weights[:, :edits] @ one.n
    sums = np.einsum("de,iem->idm", weights[:, :edits], one.sums, optimize=True)
    # The two that are added ask as much as an edit does that asks at all, over all seeds together.
    asked = one.n.sum(0) / np.maximum((one.n > 0).sum(0), 1) / math.sqrt(seeds)
    first, second = weights[:, [edits]] * asked, weights[:, [edits + 1]] * asked
    n = n + first + second
    return np.stack(
        [score(_means(sums[i] + first, n), at) - score(_means(sums[j] + second, n), at) for i, j in pairs]
    )


def _swapped(
    one: SeedScores,
    pairs: Sequence[tuple[int, int]],
    score: ScoreOfMeans,
    at: int,
    rng: np.random.Generator,
    size: int,
) -> np.ndarray:
    """Return differences of pairs (pairs, size, scores) with the two editors exchanged in edits at random."""
    swap = rng.integers(0, 2, (size, one.n.shape[0])).astype(np.float64)
    moved, whole, n = np.einsum("de,iem->idm", swap, one.sums, optimize=True), one.sums.sum(1), one.n.sum(0)
    return np.stack(
        [
            score(_means(whole[i] + moved[j] - moved[i], n), at)
            - score(_means(whole[j] + moved[i] - moved[j], n), at)
            for i, j in pairs
        ]
    )
