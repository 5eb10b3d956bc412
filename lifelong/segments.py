"""Parts of an approximate index: one engine over some rows, and the making of another one beside the bank's work.

Knows row numbers, keys and engines; nothing of ids, payloads, scores or when a part is due.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from threading import Thread

import numpy as np

from lifelong.bank.search.engine_faiss import FaissIndex, use_threads
from lifelong.bank.search.engine_torch import TorchIndex
from lifelong.bank.search.spec import IndexSpec
from lifelong.bank.storage.memory import growing

Engine = FaissIndex | TorchIndex
Read = Callable[[int, int, int], tuple[np.ndarray, np.ndarray, int]]
"""From a row number, an end and a number of slots to living rows (n,), their keys (n, width), and where to go on."""

SLICE = 256  # keys read at an addition for a part in the making: a fraction of a millisecond
PER_ADDED = 64  # the same for each of many entries that are added at once


def engine_of(spec: IndexSpec, width: int, metric: str) -> Engine:
    """Return an engine of a spec that holds nothing."""
    return (FaissIndex if spec.engine == "faiss" else TorchIndex)(spec, width, metric)


@dataclass
class Segment:
    """An engine over rows (n,), ascending, all below `end`; those not `alive` (n,) are not to be found.

    `size` is how many rows it was made of.
    """

    engine: Engine
    rows: np.ndarray
    alive: np.ndarray
    end: int
    size: int
    dead: int = 0

    def kill(self, row: int) -> None:
        """Let a row be found no more, if it is here."""
        place = int(np.searchsorted(self.rows, row))
        if place < len(self.rows) and self.rows[place] == row and self.alive[place]:
            self.alive[place] = False
            self.dead += 1

    def propose(self, queries: np.ndarray, k: int) -> np.ndarray:
        """Return the rows (n, at most k) of candidates for queries (n, width); -1 where there are no more."""
        places = self.engine.propose(queries, min(k, len(self.rows)), self.alive if self.dead else None)
        return np.where(places < 0, -1, self.rows[places])

    def nbytes(self) -> int:
        """Return the bytes that it keeps beside the bank's own keys."""
        return self.engine.nbytes() + self.rows.nbytes + self.alive.nbytes


class Making:
    """A segment of the rows from `low` to `high`, of which at most `room` live, made on a thread of its own.

    What is built depends on which additions, removals and changes fell between the calls of `read`, never on how
    fast the thread is.
    """

    def __init__(self, engine: Engine, low: int, high: int, due: int, room: int) -> None:
        self.engine, self.low, self.high, self.due = engine, low, high, due
        self.changed: dict[int, bool] = {}  # rows removed (False) or with another key (True) since it began
        self._at, self._n = low, 0
        self._rows = growing((room,), np.int64)
        self._keys = growing((room, engine.width))
        self._thread: Thread | None = None
        self._failed: BaseException | None = None

    def read(self, read: Read, slots: int) -> None:
        """Read the keys of some more slots; after the last of them the building begins."""
        while slots > 0 and self._at < self.high:
            rows, keys, self._at = read(self._at, self.high, min(slots, SLICE))
            here = slice(self._n, self._n + len(rows))
            self._rows[here], self._keys[here] = rows, keys
            self._n, slots = here.stop, slots - SLICE
        if self._at >= self.high and self._thread is None:
            self._thread = Thread(target=self._build, name="index")  # no daemon: killed, it takes the process along
            self._thread.start()

    def finished(self, read: Read) -> Segment | None:
        """Read what is left, wait for the thread, and return the segment (None without a row)."""
        self.read(read, self.high - self._at + SLICE)
        assert self._thread is not None
        self._thread.join()
        if self._failed is not None:
            raise self._failed
        if not self._n:
            return None
        segment = Segment(self.engine, self._rows[: self._n], np.ones(self._n, dtype=bool), self.high, self._n)
        for row in self.changed:
            segment.kill(row)
        return segment

    def _build(self) -> None:
        try:
            use_threads(self.engine.spec.threads)
            if self._n:
                self.engine.build(self._keys[: self._n])
            self._keys = self._keys[:0].copy()  # given back here: that takes longer than an addition may
        except BaseException as error:  # it is raised where the segment is asked for
            self._failed = error
