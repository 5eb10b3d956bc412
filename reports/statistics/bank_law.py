"""The law of a flat bank: seconds are a fixed part and a part for every entry. Knows numbers only."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Law:
    """Seconds = `fixed_s` + `per_entry_s` x entries; `off` is the largest relative distance of a size from it."""

    fixed_s: float
    per_entry_s: float
    off: float


def law(entries: Sequence[int], seconds: Sequence[float]) -> Law:
    """Return the line through sizes and seconds that is relatively nearest, neither part negative.

    >>> found = law([100, 200, 400], [0.3, 0.5, 0.9])
    >>> round(found.fixed_s, 6), round(found.per_entry_s, 6), round(found.off, 6)
    (0.1, 0.002, 0.0)
    """
    x, y = np.asarray(entries, float), np.asarray(seconds, float)
    fits = [np.linalg.lstsq(np.stack([a / y, b / y], 1), np.ones(len(x)), rcond=None)[0] for a, b in _shapes(x)]
    lines = [(max(0.0, float(a)), max(0.0, float(b))) for a, b in fits]
    off, (fixed, each) = min((float(np.abs((a + b * x) / y - 1).max()), (a, b)) for a, b in lines)
    return Law(fixed, each, off)


def _shapes(x: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the columns of a line, of one without a fixed part, and of one without slope."""
    one, none = np.ones_like(x), np.zeros_like(x)
    return [(one, x), (none, x), (one, none)]


def size_at(found: Law, seconds: float) -> float:
    """Return the size at which the law reaches some seconds: infinity where it never does, 0 where it always has."""
    if seconds <= found.fixed_s:
        return 0.0
    return (seconds - found.fixed_s) / found.per_entry_s if found.per_entry_s > 0 else math.inf
