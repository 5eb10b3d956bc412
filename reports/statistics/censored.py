"""The typical size of things of which only bounds are known: a log-normal fitted to intervals. Knows numbers only.

A search ends between a size that was fine and one that was not, and some never break. A mean that takes the last
fine size for the thing itself is too low, the more so the more never broke. Here each counts as what is known of it:
an interval, open to the right where nothing broke. The likelihood is concave in 1 / sigma and mu / sigma, so it has
one top.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from reports.statistics.seeds import ENOUGH, student

_FACTORS = 12.0  # how far from all bounds the median is looked for, as a logarithm: a factor of 160,000
_erfc = np.vectorize(math.erfc, otypes=[float])
_erf = np.vectorize(math.erf, otypes=[float])


@dataclass(frozen=True)
class Censored:
    """The median of a log-normal and its 95 % interval (None below five things).

    `low` may be 0 and `high` infinite, where the bounds do not tell. With `at_least` none has an upper bound: the
    median is that of the lower ones, and no interval is known.
    """

    median: float
    low: float | None
    high: float | None
    at_least: bool


def typical_size(low: Sequence[float] | np.ndarray, high: Sequence[float] | np.ndarray) -> Censored:
    """Return the maximum likelihood of the median of sizes, each between its `low` (from 0) and its `high` (or inf).

    The interval holds the medians whose likelihood is not below the top by more than Student's t asks for: where
    every size is known closely it is Student's of the logarithms. Raises `ValueError` for bounds that enclose none.
    """
    lower, upper = np.asarray(low, float), np.asarray(high, float)
    if not len(lower) or lower.shape != upper.shape or not (lower < upper).all() or (lower < 0).any():
        raise ValueError(f"low={list(low)}, high={list(high)}: expected 0 <= low < high for each of one or more.")
    with np.errstate(divide="ignore"):
        lower, upper = np.log(lower), np.log(upper)
    if np.isinf(upper).all():
        known = lower[np.isfinite(lower)]
        return Censored(float(np.exp(known.mean())) if len(known) == len(lower) else 0.0, None, None, True)
    if np.isinf(lower).all():
        return Censored(0.0, None, None, False)

    def profile(mu: float) -> float:
        return _best_spread(lower, upper, mu)

    ends = np.concatenate([lower, upper])
    ends = ends[np.isfinite(ends)]
    first, last = float(ends.min()) - _FACTORS, float(ends.max()) + _FACTORS
    inner, outer = float(lower.max()), float(upper.min())
    if inner < outer:  # all have sizes in common, and equal ones are likeliest: the middle stands for them
        top = (
            (inner + outer) / 2
            if math.isfinite(inner) and math.isfinite(outer)
            else (outer, inner)[math.isinf(outer)]
        )
    elif not (np.isfinite(lower) & np.isfinite(upper)).any():  # no spread is wide enough: nothing lies between
        low_end, high_end = (0.0, math.inf) if len(lower) >= ENOUGH else (None, None)
        return Censored(float(np.median(np.exp(lower))), low_end, high_end, False)
    else:
        top = _highest(profile, first, last)
    if len(lower) < ENOUGH:
        return Censored(math.exp(top), None, None, False)
    n = len(lower)
    fall = n / 2 * math.log1p(float(student(n - 1)) ** 2 / (n - 1))
    least = profile(top) - fall
    return Censored(
        math.exp(top),
        0.0 if profile(first) >= least else math.exp(_crossing(profile, top, first, least)),
        math.inf if profile(last) >= least else math.exp(_crossing(profile, top, last, least)),
        False,
    )


def _best_spread(lower: np.ndarray, upper: np.ndarray, mu: float) -> float:
    """Return the log-likelihood at a median, of the spread that suits it best."""
    first, last = -4.0, 9.0  # of log(1 / sigma)
    best = -math.inf
    for _ in range(3):
        slopes = np.linspace(first, last, 27)
        found = _log_likelihood(lower, upper, mu, np.exp(slopes))
        top = int(found.argmax())
        best = float(found[top])
        first, last = float(slopes[max(0, top - 1)]), float(slopes[min(26, top + 1)])
    return best


def _log_likelihood(lower: np.ndarray, upper: np.ndarray, mu: float, slopes: np.ndarray) -> np.ndarray:
    """Return the log-likelihood at each slope (1 / sigma): the sum of the log chances of the intervals."""
    below, above = ((ends - mu) * slopes[:, None] for ends in (lower, upper))
    flip = below > -above  # both tails as the upper one, where small chances keep their digits
    below, above = np.where(flip, below, -above), np.where(flip, above, -below)
    tail, rest = _log_tail(below), _log_tail(above)
    with np.errstate(divide="ignore"):
        near = np.log(np.maximum((_erf(above / math.sqrt(2)) - _erf(below / math.sqrt(2))) / 2, 1e-300))
        far = tail + np.log(np.maximum(-np.expm1(np.minimum(rest - tail, 0.0)), 1e-300))
    return np.where(below < 1, near, far).sum(1)


def _log_tail(z: np.ndarray) -> np.ndarray:
    """Return log P(Z > z) of a standard normal, also where it is too small for a number."""
    with np.errstate(divide="ignore", invalid="ignore"):
        exact = np.log(np.maximum(_erfc(np.minimum(z, 25) / math.sqrt(2)) / 2, 1e-300))
        beyond = -z * z / 2 - np.log(np.maximum(z, 1) * math.sqrt(2 * math.pi))
    return np.where(z < 25, exact, beyond)


def _highest(value: Callable[[float], float], first: float, last: float) -> float:
    """Return where a function with one top is highest, by golden section."""
    ratio = (math.sqrt(5) - 1) / 2
    left, right = last - ratio * (last - first), first + ratio * (last - first)
    at_left, at_right = value(left), value(right)
    while last - first > 1e-5:
        if at_left < at_right:
            first, left, at_left = left, right, at_right
            right = first + ratio * (last - first)
            at_right = value(right)
        else:
            last, right, at_right = right, left, at_left
            left = last - ratio * (last - first)
            at_left = value(left)
    return (first + last) / 2


def _crossing(value: Callable[[float], float], inside: float, outside: float, least: float) -> float:
    """Return where a function falls to `least` between a place above it and one below it."""
    while abs(outside - inside) > 1e-5:
        middle = (inside + outside) / 2
        inside, outside = (middle, outside) if value(middle) >= least else (inside, middle)
    return inside
