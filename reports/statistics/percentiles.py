"""Percentiles of independent samples, by one rule: a value that was measured, with how well it is known, or none.

A percentile of n samples is the smallest of them that at least its share of them does not exceed (an order statistic,
never in between two samples). Its interval lies between two order statistics whose ranks enclose it with the binomial
probability asked for. Where too few samples lie beyond for such an interval there is no percentile at all: a p50
needs 8 samples, a p90 53, a p99 563. Knows numbers only.

The interval is right for samples that do not depend on each other, such as latency samples of queries served alone.
Waiting times of one run follow each other: of 5,000 in a queue at utilisation .9 such an interval of the p50 covers
13 %, not 95. `reports.statistics.replications` has the rule for those.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

CONFIDENCE = 1.959963984540054  # standard deviations of a two-sided 95 %


@dataclass(frozen=True)
class Percentile:
    """A percentile of n samples with its 95 % interval; not-a-number where n is too small to give one."""

    value: float
    low: float
    high: float
    n: int

    @property
    def known(self) -> bool:
        """Whether there were samples enough."""
        return not math.isnan(self.value)

    def text(self, scale: float = 1.0, digits: int = 2) -> str:
        """Return it as a table shows it: value [low, high].

        >>> Percentile(0.5, 0.4, 0.6, 100).text(1000, 0)
        '500 [400, 600]'
        """
        if not self.known:
            return f"- (n={self.n})"
        low, value, high = (f"{x * scale:.{digits}f}" for x in (self.low, self.value, self.high))
        return f"{value} [{low}, {high}]"


def percentiles(samples: np.ndarray | pl.Series | Sequence[float], shares: Sequence[float]) -> tuple[Percentile, ...]:
    """Return the percentiles below or at which each of `shares` of independent samples lies (.99: p99).

    One is refused (not a number) where an end of its interval would be beyond the samples. Raises `ValueError` for a
    share that is not between 0 and 1, and for a sample that is not a number.

    >>> [p.value for p in percentiles(range(1, 1001), (0.5, 0.99))]
    [500.0, 990.0]
    >>> [p.known for p in percentiles([1e-3] * 99 + [1.0], (0.5, 0.9, 0.99))]
    [True, True, False]
    """
    wrong = [share for share in shares if not 0 < share < 1]
    if wrong:
        raise ValueError(f"share={wrong[0]}: a percentile is between 0 and 1, such as .99.")
    ordered = np.sort(np.asarray(samples, float))
    if np.isnan(ordered).any():
        raise ValueError(f"{int(np.isnan(ordered).sum())} of {len(ordered)} samples are not numbers.")
    return tuple(_one(ordered, share) for share in shares)


def percentile(samples: np.ndarray | pl.Series | Sequence[float], share: float) -> Percentile:
    """Return one percentile; see `percentiles`."""
    return percentiles(samples, (share,))[0]


def _one(ordered: np.ndarray, share: float) -> Percentile:
    n = len(ordered)
    spread = CONFIDENCE * math.sqrt(n * share * (1 - share))
    low, high = math.floor(n * share - spread), math.ceil(n * share + spread)
    if n == 0 or high > n - 1 or low < 0:
        return Percentile(math.nan, math.nan, math.nan, n)
    value = ordered[min(n - 1, math.ceil(n * share) - 1)]
    return Percentile(float(value), float(ordered[low]), float(ordered[high]), n)
