"""A size over seeds: its mean as logarithms (sizes differ by factors), and how well it is known. Numbers only."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from reports.numbers.evidence import ENOUGH, half_width


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
