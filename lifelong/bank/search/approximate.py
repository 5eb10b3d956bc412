"""An approximate index beside a store: of which parts it consists, what is made next, and when it is handed over.

Knows row numbers; nothing of ids, payloads or scores. Rows from `merged` on, and rows whose key has changed since
(`loose`), are for the caller to compare exactly, so that what was added is found at once. Parts are made on a thread
beside additions and handed over at an addition that is known beforehand: no addition waits for more than the thread,
and what is found depends neither on its speed nor on who asked before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from threading import Thread
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lifelong.bank.search.spec import IndexSpec
from lifelong.segments import PER_ADDED, SLICE, Making, Read, Segment, engine_of

Keys = Callable[[np.ndarray], np.ndarray]

TAIL = 256  # a part is made when more rows than this, and than 1/32 of all, wait for it; it serves as many later
TAIL_SHARE = 32
GATHERED = 2  # it takes in younger parts that are at most so many times as large as what it has by then


class Indexed:
    """The index of one bank; `read` gives the keys of living rows (see `Read`)."""

    def __init__(self, spec: IndexSpec, width: int, metric: str, read: Read) -> None:
        self.spec, self.width, self.metric, self._read = spec, width, metric, read
        self.segments: list[Segment] = []
        self.loose: dict[int, None] = {}
        self.builds = self._position = 0
        self._making: Making | None = None

    @property
    def merged(self) -> int:
        """The row from which on none is in a part."""
        return self.segments[-1].end if self.segments else 0

    @property
    def missing(self) -> np.ndarray:
        """Rows below `merged` that have to be compared exactly."""
        return np.array(sorted(self.loose), dtype=np.int64)

    def added(self, count: int, position: int) -> bool:
        """Go on with what is made, or begin it where it is due; return whether another part serves now.

        `count` is how many entries live, `position` the number of the next row.
        """
        new, self._position = position - self._position, position
        if self._making is None:
            low = self._due(count, position)
            if low is None:
                return False
            wait = max(TAIL, count // TAIL_SHARE)
            engine, room = engine_of(self.spec, self.width, self.metric), min(count, position - low)
            self._making = Making(engine, low, position, position + wait, room)
            if new >= wait:  # many at once: the caller waits anyway
                return self.settle()
        elif position >= self._making.due:
            return self.settle()
        self._making.read(self._read, max(SLICE, PER_ADDED * new))
        return False

    def settle(self) -> bool:
        """Hand over what is being made now, however much is left to do; return whether there was anything."""
        making, self._making = self._making, None
        if making is None:
            return False
        made = making.finished(self._read)
        replaced = [s for s in self.segments if s.end > making.low]
        self.segments = [s for s in self.segments if s.end <= making.low] + ([] if made is None else [made])
        Thread(target=replaced.clear).start()  # to free a large part takes longer than an addition may
        moved = {row for row, alive in making.changed.items() if alive}
        self.loose = {row: None for row in self.loose if row < making.low} | dict.fromkeys(sorted(moved))
        self.builds += 1
        return True

    def _due(self, count: int, position: int) -> int | None:
        """Return the first row of the part to be made now, None where none is due."""
        if not self.segments:
            return 0 if count >= self.spec.least else None
        if sum(s.dead for s in self.segments) + len(self.loose) > max(TAIL, count // 2):
            return 0
        gathered = position - self.merged
        if gathered <= max(TAIL, sum(s.size for s in self.segments) // TAIL_SHARE):
            return None
        low = self.merged
        for i in reversed(range(len(self.segments))):
            if self.segments[i].size > GATHERED * gathered:
                break
            gathered += self.segments[i].size
            low = self.segments[i - 1].end if i else 0
        return low

    def gone(self, row: int) -> None:
        """Take a removed row out."""
        self.loose.pop(row, None)
        self._kill(row, moved=False)

    def moved(self, row: int) -> None:
        """Compare a row exactly from now on: its key has changed."""
        self._kill(row, moved=True)
        if row < self.merged:
            self.loose[row] = None

    def _kill(self, row: int, *, moved: bool) -> None:
        for segment in self.segments:
            segment.kill(row)
        making = self._making
        if making is not None and making.low <= row < making.high:
            making.changed[row] = moved

    def propose(self, queries: np.ndarray, k: int) -> np.ndarray:
        """Return the rows of up to k candidates of each part for queries (n, width); -1 where there are no more."""
        parts = [segment.propose(queries, k) for segment in self.segments]
        return np.concatenate(parts, axis=1) if parts else np.full((len(queries), k), -1, dtype=np.int64)

    def retune(self, spec: IndexSpec) -> None:
        """Search as another spec of the same family says."""
        self.spec = spec
        for engine in [*(s.engine for s in self.segments), *([self._making.engine] if self._making else [])]:
            engine.spec = spec

    def nbytes(self) -> int:
        """Return the bytes that the index keeps beside the bank's own keys."""
        return sum(segment.nbytes() for segment in self.segments)

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return tensors and plain values that `load` goes on from, with the keys of living rows."""
        tensors = {"loose": torch.from_numpy(self.missing)}
        whole = self.spec.family == "hnsw"  # dead nodes stay part of its graph
        for i, s in enumerate(self.segments):
            kept = slice(None) if whole else s.alive
            own = {"rows": torch.from_numpy(s.rows[kept]), "alive": torch.from_numpy(s.alive[kept])}
            tensors |= {f"{i}/{name}": tensor for name, tensor in (own | s.engine.tensors()).items()}
        parts = [[s.end, s.size, s.dead] for s in self.segments]
        return tensors, {"parts": parts, "builds": self.builds, "position": self._position}

    def load(self, tensors: Mapping[str, Tensor], meta: Mapping[str, Any], keys_of: Keys) -> None:
        """Go on from what `state` returned; `keys_of` gives the keys (n, width) of living rows."""
        self.segments, self._making, self.builds = [], None, int(meta["builds"])
        self.loose, self._position = dict.fromkeys(tensors["loose"].tolist()), int(meta["position"])
        for i, (end, size, dead) in enumerate(meta["parts"]):
            own = {n.removeprefix(f"{i}/"): t for n, t in tensors.items() if n.startswith(f"{i}/")}
            rows, engine = own["rows"].numpy().copy(), engine_of(self.spec, self.width, self.metric)
            none = np.empty((0, self.width), np.float32)
            engine.restore(own, none if self.spec.family == "hnsw" else keys_of(rows))
            self.segments.append(Segment(engine, rows, own["alive"].numpy().copy(), end, size, dead))
