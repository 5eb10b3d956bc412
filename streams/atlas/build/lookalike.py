"""Finds drawings that no one could tell apart; knows no facts."""

from __future__ import annotations

import numpy as np
from PIL import Image

from streams.pictures.decoding import decode

THRESHOLD = 5e-4
"""Mean squared error on 32x32 RGB in [0, 1] below which two drawings count as one."""


def twins(drawings: dict[str, bytes]) -> list[tuple[str, str, float]]:
    """Pairs of keys (sorted) whose drawings are closer than THRESHOLD, with their error."""
    keys = sorted(drawings)
    rows = np.stack([_small(drawings[k]) for k in keys])
    squares = (rows**2).sum(1)
    # In double precision the expansion |a|^2 + |b|^2 - 2ab is exact to about 1e-12 here.
    error = (squares[:, None] + squares[None, :] - 2.0 * rows @ rows.T) / rows.shape[1]
    left, right = np.nonzero(np.triu(error < THRESHOLD, 1))
    return [(keys[i], keys[j], float(max(error[i, j], 0.0))) for i, j in zip(left, right, strict=True)]


def _small(webp: bytes) -> np.ndarray:
    image = decode(webp, "drawing").resize((32, 32), Image.Resampling.BOX)
    return np.asarray(image, dtype=np.float64).ravel() / 255.0
