"""Arrays that fill slowly: memory that comes in small pages as it is written, and begins where a page does.

Knows bytes only. A system that backs large arrays with pages of 2 MiB clears a whole one at its first touch: one
addition out of thousands would pay for it, 5 to 16 ms where this was seen. Being aligned makes searching faster.
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Iterable

import numpy as np

AHEAD_BYTES = 2**18
PAGE_BYTES = 4096


def growing(shape: tuple[int, ...], dtype: type = np.float32) -> np.ndarray:
    """Return an array of zeros that takes memory page by small page as it is written."""
    count = math.prod(shape)
    nbytes = count * np.dtype(dtype).itemsize
    if not nbytes or not hasattr(mmap, "MADV_NOHUGEPAGE"):
        return np.zeros(shape, dtype=dtype)
    block = mmap.mmap(-1, nbytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)  # a forked process gets its own
    block.madvise(mmap.MADV_NOHUGEPAGE)
    return np.frombuffer(block, dtype=dtype, count=count).reshape(shape)


def touched(array: np.ndarray, row: int) -> int:
    """Fetch the pages of some rows from `row` on, which nobody has written yet, and return the first row beyond them.

    In one go they cost half as much, and most additions find theirs there.
    """
    some = array[row : row + max(1, AHEAD_BYTES // array[0].nbytes)]
    some.reshape(-1)[:: PAGE_BYTES // array.itemsize] = 0
    return row + len(some)


PARTS = 256


class IdMap:
    """A mapping from id to row number, without an order."""

    def __init__(self) -> None:
        self._parts: list[dict[str, int]] = [{} for _ in range(PARTS)]
        self._n = 0

    def __len__(self) -> int:
        return self._n

    def __contains__(self, name: str) -> bool:
        return name in self._parts[hash(name) % PARTS]

    def get(self, name: str) -> int | None:
        """Return the row number of an id, None where there is none."""
        return self._parts[hash(name) % PARTS].get(name)

    def put(self, name: str, row: int) -> None:
        """Note the row of an id that is not there yet."""
        self._parts[hash(name) % PARTS][name] = row
        self._n += 1

    def put_all(self, names: Iterable[str], rows: Iterable[int]) -> None:
        """Note the rows of ids that are not there yet."""
        for name, row in zip(names, rows, strict=True):
            self.put(name, row)

    def drop(self, name: str) -> None:
        """Forget an id; raises `KeyError` where it is not there."""
        del self._parts[hash(name) % PARTS][name]
        self._n -= 1
