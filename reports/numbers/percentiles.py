"""Percentiles that say how well they are known. Knows numbers only.

The interval is the distribution-free one between two order statistics: their ranks enclose the percentile with the
binomial probability asked for, so a percentile that too few samples lie beyond has none and is refused.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

CONFIDENCE = 1.959963984540054  # standard deviations of a two-sided 95 %


@dataclass(frozen=True)
class Percentile:
    """A percentile of n samples with its 95 % interval; not-a-number where n is too small to give one."""

    value: float
    low: float
    high: float
    n: int

    def text(self, scale: float = 1.0, digits: int = 2) -> str:
        """Return it as a table shows it: value [low, high].

        >>> Percentile(0.5, 0.4, 0.6, 100).text(1000, 0)
        '500 [400, 600]'
        """
        if math.isnan(self.value):
            return f"- (n={self.n})"
        low, value, high = (f"{x * scale:.{digits}f}" for x in (self.low, self.value, self.high))
        return f"{value} [{low}, {high}]"


def percentile(samples: np.ndarray, share: float) -> Percentile:
    """Return the percentile below which `share` of the samples lie (.99: p99), by order statistics.

    It is refused (not a number) where the upper end of its interval would be beyond the largest sample.

    >>> percentile(np.arange(100.0), 0.999).n, math.isnan(percentile(np.arange(100.0), 0.999).value)
    (100, True)
    """
    if not 0 < share < 1:
        raise ValueError(f"share={share}: a percentile is between 0 and 1, such as .99.")
    ordered = np.sort(np.asarray(samples, float))
    n = len(ordered)
    spread = CONFIDENCE * math.sqrt(n * share * (1 - share))
    low, high = math.floor(n * share - spread), math.ceil(n * share + spread)
    if n == 0 or high > n - 1 or low < 0:
        return Percentile(math.nan, math.nan, math.nan, n)
    value = ordered[min(n - 1, math.ceil(n * share) - 1)]
    return Percentile(float(value), float(ordered[low]), float(ordered[high]), n)
