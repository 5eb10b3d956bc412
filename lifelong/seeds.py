"""A size over seeds: its mean as logarithms (sizes differ by factors), and how well it is known. Numbers only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

ENOUGH = 5  # seeds for an interval; fewer are shown one by one
T_95 = {4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262, 14: 2.145, 19: 2.093, 29: 2.045}
"""Student's t for a two-sided 95 % by degrees of freedom; between two of them the smaller one is used."""


def log_mean(sizes: Sequence[float]) -> float:
    """Return the geometric mean of sizes; 0 where one of them is.

    >>> round(log_mean([10.0, 1000.0]), 6), log_mean([0.0, 5.0])
    (100.0, 0.0)
    """
    return float(np.exp(np.log(sizes).mean())) if min(sizes) > 0 else 0.0


def log_interval(sizes: Sequence[float]) -> tuple[float, float] | None:
    """Return 95 % of Student's t of the logarithms, from five sizes above 0 on; None for fewer."""
    n = len(sizes)
    if n < ENOUGH or min(sizes) <= 0:
        return None
    error = float(np.std(np.log(sizes), ddof=1)) / np.sqrt(n)
    factor = float(np.exp(T_95[max(freedom for freedom in T_95 if freedom < n)] * error))
    return log_mean(sizes) / factor, log_mean(sizes) * factor
