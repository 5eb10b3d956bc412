"""How much of what can be gained an editor gains: scores between the unedited model's (floor) and a ceiling's.

Knows numbers by the names of the papers' metrics; nothing of facts, files or editors.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

SUCCESS, LOCALITY = ("Rel", "T-Gen", "M-Gen"), ("T-Loc", "M-Loc")
"""The papers' five metrics: what should change, and what should not."""


def gain(value: float, floor: float, ceiling: float = 1.0) -> float:
    """Return how far a score is on the way from its floor to its ceiling: 0 at the one, 1 at the other.

    Below the floor it is negative. Not a number where the ceiling is not above the floor: nothing can be gained.

    >>> round(gain(0.65, 0.3), 3), gain(0.25, 0.5, 0.75), gain(0.5, 0.5, 0.5)
    (0.5, -1.0, nan)
    """
    return (value - floor) / (ceiling - floor) if ceiling > floor else math.nan


def harmonic(
    metrics: Mapping[str, float], floor: Mapping[str, float], ceiling: Mapping[str, float] | None = None
) -> float:
    """Return one number for an editor, from 0 to 1: the harmonic mean of what it gained and of what it left alone.

    Gained: the mean of `gain` over `SUCCESS`, cut to 0..1 (without a `ceiling` it is 1). Left alone: the mean of
    `LOCALITY`. So doing nothing scores 0, and so does changing everything. A metric that was not asked (missing or
    not a number, in `floor` and `ceiling` too) or that has nothing to gain is left out; not a number where all of one
    half are.

    >>> none = {"Rel": 0.3, "T-Gen": 0.3, "M-Gen": 0.3, "T-Loc": 1.0, "M-Loc": 1.0}
    >>> harmonic(none, none)
    0.0
    >>> round(harmonic({"Rel": 1.0, "T-Gen": 0.65, "M-Gen": 0.3, "T-Loc": 1.0, "M-Loc": 0.0}, none), 3)
    0.5
    """
    return float(harmonics({name: np.asarray(value, float) for name, value in metrics.items()}, floor, ceiling))


def harmonics(
    metrics: Mapping[str, np.ndarray], floor: Mapping[str, float], ceiling: Mapping[str, float] | None = None
) -> np.ndarray:
    """Return `harmonic` of many editors or resamplings at once: arrays of one shape by name, the result likewise."""
    ends = {name: (floor.get(name, math.nan), 1.0 if ceiling is None else ceiling.get(name, math.nan))
            for name in SUCCESS}  # fmt: skip
    room = [name for name, (low, high) in ends.items() if high > low]
    gained = _mean([(metrics[n] - ends[n][0]) / (ends[n][1] - ends[n][0]) for n in room if n in metrics])
    kept = _mean([metrics[n] for n in LOCALITY if n in metrics])
    gained, kept = np.clip(gained, 0.0, 1.0), np.clip(kept, 0.0, 1.0)
    both = gained + kept
    return np.where(both == 0, 0.0, 2 * gained * kept / np.where(both == 0, 1.0, both))


def _mean(parts: list[np.ndarray]) -> np.ndarray:
    """Return the mean of those that are numbers, place by place; not a number where none is."""
    if not parts:
        return np.asarray(math.nan)
    stacked = np.stack([np.asarray(part, float) for part in parts])
    known = ~np.isnan(stacked)
    total = np.where(known, stacked, 0.0).sum(axis=0)
    return np.where(known.any(axis=0), total / np.maximum(known.sum(axis=0), 1), math.nan)
