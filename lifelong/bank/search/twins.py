"""Entries of one and the same key in a part of an approximate index, so that of equal keys the oldest are found.

An index proposes a few candidates, and of many equal keys any; whoever is proposed brings its twins along. Knows
arrays; nothing of indexes, ids or scores.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

FIRST_COLUMNS = 8  # columns that are compared first: keys that differ mostly differ in these already
_BLOCK = 1 << 16  # rows whose columns are looked at together
Read = Callable[[np.ndarray], np.ndarray]
"""From places (n,) to their keys (n, width)."""


class Twins:
    """Which of n places hold equal keys: `group` (n,), -1 for a key that is alone, and the `places` of each group."""

    def __init__(self, n: int, read: Read) -> None:
        self.group = np.full(n, -1, dtype=np.int64)
        self.places: list[np.ndarray] = []
        numbers = [_hashed(read, low, min(n, low + _BLOCK)) for low in range(0, n, _BLOCK)]
        suspects = _shared(np.concatenate(numbers)) if numbers else np.empty(0, np.int64)
        if len(suspects):
            self._sort(suspects, _plain(read(suspects)))

    def _sort(self, suspects: np.ndarray, keys: np.ndarray) -> None:
        whole = np.ascontiguousarray(keys).view(np.dtype((np.void, keys.shape[1] * keys.itemsize))).reshape(-1)
        _, number, count = np.unique(whole, return_inverse=True, return_counts=True)
        for one in np.flatnonzero(count > 1):
            self.group[suspects[number == one]] = len(self.places)
            self.places.append(suspects[number == one])

    def with_oldest(self, found: np.ndarray, k: int, alive: np.ndarray) -> np.ndarray:
        """Return found places (queries, n), -1 for none, with the first k living twins of each in further columns."""
        if not self.places or not found.size:
            return found
        groups = np.where(found < 0, -1, self.group[found])
        more: list[np.ndarray] = []
        for row, numbers in zip(found, groups, strict=True):
            own = [self.places[g][alive[self.places[g]]][:k] for g in np.unique(numbers[numbers >= 0])]
            more.append(np.setdiff1d(np.concatenate(own), row) if own else np.empty(0, np.int64))
        wide = max(map(len, more))
        further = np.full((len(found), wide), -1, dtype=np.int64)
        for row, places in zip(further, more, strict=True):
            row[: len(places)] = places
        return np.concatenate([found, further], axis=1)


def _plain(keys: np.ndarray) -> np.ndarray:
    return keys + np.float32(0)  # minus zero is zero


def _hashed(read: Read, low: int, high: int) -> np.ndarray:
    """Return one number for the first columns of each key, equal where they are."""
    few = (
        np.ascontiguousarray(_plain(read(np.arange(low, high))[:, :FIRST_COLUMNS])).view(np.uint32).astype(np.uint64)
    )
    odd = np.random.default_rng(0).integers(2**63, size=few.shape[1], dtype=np.uint64) * 2 + 1
    return (few * odd).sum(1, dtype=np.uint64)


def _shared(numbers: np.ndarray) -> np.ndarray:
    """Return the places of numbers that stand there more than once."""
    _, number, count = np.unique(numbers, return_inverse=True, return_counts=True)
    return np.flatnonzero(count[number] > 1)
