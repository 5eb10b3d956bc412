"""What an editor's memory costs: bytes that are there whatever is edited, and bytes that one more edit adds.

A total divided by edits says neither: it is a constant over N for a matrix that is changed in place.
"""

from __future__ import annotations

import math

import numpy as np
import polars as pl

MB = 1e6


def bytes_grown(steps: np.ndarray, held: np.ndarray) -> tuple[float, float]:
    """Return the fixed bytes and the bytes an edit of the least-squares line through bytes held after so many edits.

    Fixed bytes are never below 0. Both are not a number with fewer than two different steps.

    >>> fixed, each = bytes_grown(np.array([1, 10, 100]), np.array([1010.0, 1100.0, 2000.0]))
    >>> round(fixed), round(each)
    (1000, 10)
    """
    if len(np.unique(steps)) < 2:
        return math.nan, math.nan
    x, y = np.asarray(steps, float), np.asarray(held, float)
    each = float(((x - x.mean()) * (y - y.mean())).sum() / ((x - x.mean()) ** 2).sum())
    fixed = float(y.mean() - each * x.mean())
    # A line that is held at 0 goes through it.
    return (fixed, each) if fixed >= 0 else (0.0, float((x * y).sum() / (x * x).sum()))


def fixed_bytes(gauged: pl.DataFrame) -> float:
    """Return the fixed bytes of one seed's panels; see `bytes_grown`."""
    return _of(gauged)[0]


def bytes_an_edit(gauged: pl.DataFrame) -> float:
    """Return the marginal bytes an edit of one seed's panels; see `bytes_grown`."""
    return _of(gauged)[1]


def _of(gauged: pl.DataFrame) -> tuple[float, float]:
    return bytes_grown(gauged["step"].to_numpy(), gauged["bank_bytes"].to_numpy())
