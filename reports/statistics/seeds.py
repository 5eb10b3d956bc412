"""Numbers over seeds: each is computed within a seed first, then its mean over seeds, and how well that is known.

Each seed is a stream of its own. An interval (Student's) is given from five seeds on; below that the seeds' own
numbers are. Sizes that differ by factors are averaged as logarithms. Knows numbers and frames with a column `seed`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import polars as pl

ENOUGH = 5
# Two-sided 95 % quantiles of Student's t by degrees of freedom, from one on.
T95 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
       2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086)  # fmt: skip
Z95 = 1.959964  # the same of infinitely many


def student(freedom: float | np.ndarray) -> Any:
    """Return Student's two-sided 95 % quantile of any degrees of freedom (in between: linear in 1 / freedom).

    >>> float(student(4)), round(float(student(60)), 2), float(student(0.2))
    (2.776, 2.0, 12.706)
    """
    share = 1 / np.maximum(1.0, np.asarray(freedom, float))
    known = 1 / np.arange(1, len(T95) + 1)
    return np.interp(share, [0.0, *known[::-1]], [Z95, *T95[::-1]])


def worth_of(mean: Any, variance: Any, unknown: Any) -> Any:
    """Return the number of yes-or-no answers whose mean would have this variance; `unknown` where all are alike."""
    mean, variance = np.clip(np.asarray(mean, float), 0, 1), np.asarray(variance, float)
    spread = mean * (1 - mean)
    told = (variance > 0) & (spread > 0)
    return np.where(told, spread / np.where(told, variance, 1), np.asarray(unknown, float))


def score_interval(mean: Any, worth: Any, quantile: Any) -> tuple[Any, Any]:
    """Return the ends of the score interval of a mean from 0 to 1 that is `worth` so many yes-or-no answers.

    It is Wilson's with that number in place of n, so it stays within 0 and 1 and is no point where all are right.

    >>> low, high = score_interval(1.0, 50, 1.96)
    >>> round(float(low), 3), float(high)
    (0.929, 1.0)
    """
    mean, worth = np.clip(np.asarray(mean, float), 0, 1), np.asarray(worth, float)
    spread, squared = mean * (1 - mean), np.asarray(quantile, float) ** 2
    centre = (mean + squared / (2 * worth)) / (1 + squared / worth)
    half = np.sqrt(squared * spread / worth + (squared / (2 * worth)) ** 2) / (1 + squared / worth)
    return np.clip(centre - half, 0, mean), np.clip(centre + half, mean, 1)


def over_seeds(frame: pl.DataFrame, value: Callable[[pl.DataFrame], float], *, share: bool = False) -> dict[str, Any]:
    """Return the mean over seeds of a value of a seed's rows, the number of rows, and the spread; see `of_seeds`."""
    per = [value(part) for _, part in sorted(frame.group_by("seed"), key=lambda pair: pair[0])]
    return of_seeds(per, len(frame), share=share)


def of_seeds(per: Sequence[float], n: int, *, share: bool = False) -> dict[str, Any]:
    """Return mean, n and the seeds' own numbers, with Student's interval from five seeds on.

    Of a `share` (from 0 to 1) it stays within these bounds, and is that of the curves.
    """
    out = mean_of(per) | {"n": n, "seeds": list(per)}
    if len(per) < ENOUGH:
        return out
    half = half_width(per)
    low, high = out["mean"] - half, out["mean"] + half
    if share and not math.isnan(half):
        quantile = float(student(len(per) - 1))
        worth = worth_of(out["mean"], (half / quantile) ** 2, n)
        low, high = (float(end) for end in score_interval(out["mean"], worth, quantile))
    return out | {"low": low, "high": high}


def mean_of(values: Sequence[float]) -> dict[str, Any]:
    """Return mean (not a number without values) and n of some values."""
    return {"mean": sum(values) / len(values) if values else math.nan, "n": len(values)}


def half_width(values: Sequence[float]) -> float:
    """Return half of Student's 95 % interval of a mean of five or more values.

    >>> round(half_width([1.0, 2.0, 3.0, 4.0, 5.0]), 3)
    1.963
    """
    n, mean = len(values), sum(values) / len(values)
    deviation = math.sqrt(sum((v - mean) ** 2 for v in values) / (n - 1))
    return float(student(n - 1)) * deviation / math.sqrt(n)


def log_mean(sizes: Sequence[float]) -> float:
    """Return the geometric mean of sizes; 0 where one of them is.

    >>> round(log_mean([10.0, 1000.0]), 6), log_mean([0.0, 5.0])
    (100.0, 0.0)
    """
    return float(np.exp(np.log(sizes).mean())) if min(sizes) > 0 else 0.0


def log_interval(sizes: Sequence[float]) -> tuple[float, float] | None:
    """Return 95 % of Student's t of the logarithms, from five sizes above 0 on; None for fewer."""
    if len(sizes) < ENOUGH or min(sizes) <= 0:
        return None
    factor = math.exp(half_width(np.log(sizes).tolist()))
    return log_mean(sizes) / factor, log_mean(sizes) * factor
