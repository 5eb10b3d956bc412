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
# Two-sided 95 % quantiles of Student's t by degrees of freedom, from four on.
T95 = (2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093)


def over_seeds(frame: pl.DataFrame, value: Callable[[pl.DataFrame], float]) -> dict[str, Any]:
    """Return the mean over seeds of a value of a seed's rows, the number of rows, and the spread."""
    per = [value(part) for _, part in sorted(frame.group_by("seed"), key=lambda pair: pair[0])]
    return of_seeds(per, len(frame))


def of_seeds(per: Sequence[float], n: int) -> dict[str, Any]:
    """Return mean, n and the seeds' own numbers, with Student's interval from five seeds on."""
    out = mean_of(per) | {"n": n, "seeds": list(per)}
    if len(per) < ENOUGH:
        return out
    half = half_width(per)
    return out | {"low": out["mean"] - half, "high": out["mean"] + half}


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
    return T95[min(n - ENOUGH, len(T95) - 1)] * deviation / math.sqrt(n)


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
