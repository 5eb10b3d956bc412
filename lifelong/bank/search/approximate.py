"""An approximate index beside a store: of which parts it consists, what is made next, and when it is handed over.

Knows row numbers; nothing of ids, payloads or scores. Rows from `merged` on, and rows whose key has changed since
(`loose`), are for the caller to compare exactly, so that what was added is found at once. Parts are made on a thread
beside additions and handed over at an addition that is known beforehand: no addition waits for more than the thread,
and what is found depends neither on its speed nor on who asked before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from threading import Thread
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lifelong.bank.search.engine_faiss import FaissIndex, use_threads
from lifelong.bank.search.engine_torch import TorchIndex
from lifelong.bank.search.spec import IndexSpec
from lifelong.bank.search.twins import Twins

Engine = FaissIndex | TorchIndex
_Read = Callable[[int, int, int], tuple[np.ndarray, np.ndarray, int]]
"""From a row number, an end and a number of slots to living rows (n,), their keys (n, width), and where to go on."""
SLICE = 256  # keys read at an addition for a part in the making: a fraction of a millisecond
PER_ADDED = 64  # the same for each of many entries that are added at once


def engine_of(spec: IndexSpec, width: int, metric: str) -> Engine:
    """Return an engine of a spec that holds nothing."""
    return (FaissIndex if spec.engine == "faiss" else TorchIndex)(spec, width, metric)


@dataclass
class _Segment:
    """An engine over rows (n,), ascending, all below `end`; those not `alive` (n,) are not to be found.

    `size` is how many rows it was made of, `twins` which of them have equal keys.
    """

    engine: Engine
    rows: np.ndarray
    alive: np.ndarray
    end: int
    size: int
    twins: Twins
    dead: int = 0

    def kill(self, row: int) -> None:
        """Let a row be found no more, if it is here."""
        place = int(np.searchsorted(self.rows, row))
        if place < len(self.rows) and self.rows[place] == row and self.alive[place]:
            self.alive[place] = False
            self.dead += 1

    def propose(self, queries: np.ndarray, k: int) -> np.ndarray:
        """Return the rows of k candidates for queries (n, width), and the first k of the key of each; -1: no more."""
        if not len(self.rows):  # all were dead when the state was taken that this one was loaded from
            return np.empty((len(queries), 0), dtype=np.int64)
        places = self.engine.propose(queries, min(k, len(self.rows)), self.alive if self.dead else None)
        places = self.twins.with_oldest(places, k, self.alive)
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
        self._rows = np.empty(room, dtype=np.int64)
        self._keys = np.empty((room, engine.width), dtype=np.float32)  # (rows, width)
        self._twins: Twins | None = None
        self._thread: Thread | None = None
        self._failed: BaseException | None = None

    def read(self, read: _Read, slots: int) -> None:
        """Read the keys of some more slots; after the last of them the building begins."""
        while slots > 0 and self._at < self.high:
            rows, keys, self._at = read(self._at, self.high, min(slots, SLICE))
            here = slice(self._n, self._n + len(rows))
            self._rows[here], self._keys[here] = rows, keys
            self._n, slots = here.stop, slots - SLICE
        if self._at >= self.high and self._thread is None:
            self._thread = Thread(target=self._build, name="index")  # no daemon: killed, it takes the process along
            self._thread.start()

    def finished(self, read: _Read) -> _Segment | None:
        """Read what is left, wait for the thread, and return the segment (None without a row)."""
        while self._thread is None:  # where a shard ends, fewer slots are read than were asked for
            self.read(read, self.high)
        self._thread.join()
        if self._failed is not None:
            raise self._failed
        if not self._n or self._twins is None:
            return None
        alive = np.ones(self._n, dtype=bool)
        segment = _Segment(self.engine, self._rows[: self._n], alive, self.high, self._n, self._twins)
        for row in self.changed:
            segment.kill(row)
        return segment

    def _build(self) -> None:
        try:
            use_threads(self.engine.spec.threads)
            if self._n:
                self.engine.build(self._keys[: self._n])
                self._twins = Twins(self._n, lambda places: self._keys[places])
            self._keys = self._keys[:0].copy()  # the engine has what it needs
        except BaseException as error:  # it is raised where the segment is asked for
            self._failed = error


KeysOf = Callable[[np.ndarray], np.ndarray]
"""From row numbers (n,) of living rows to their keys (n, width)."""

TAIL = 256  # a part is made when more rows than this, and than 1/32 of all, wait for it; it serves as many later
TAIL_SHARE = 32
GATHERED = 2  # it takes in younger parts that are at most so many times as large as what it has by then


class Indexed:
    """The index of one bank; `read` gives the keys of living rows (see `_Read`)."""

    def __init__(self, spec: IndexSpec, width: int, metric: str, read: _Read) -> None:
        self.spec, self.width, self.metric, self._read = spec, width, metric, read
        self.segments: list[_Segment] = []
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
        self.segments = [s for s in self.segments if s.end <= making.low] + ([] if made is None else [made])
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

    def load(self, tensors: Mapping[str, Tensor], meta: Mapping[str, Any], keys_of: KeysOf) -> None:
        """Go on from what `state` returned; `keys_of` gives the keys (n, width) of living rows."""
        self.segments, self._making, self.builds = [], None, int(meta["builds"])
        self.loose, self._position = dict.fromkeys(tensors["loose"].tolist()), int(meta["position"])
        for i, (end, size, dead) in enumerate(meta["parts"]):
            own = {n.removeprefix(f"{i}/"): t for n, t in tensors.items() if n.startswith(f"{i}/")}
            rows, engine = own["rows"].numpy().copy(), engine_of(self.spec, self.width, self.metric)
            none = np.empty((0, self.width), np.float32)
            engine.restore(own, none if self.spec.family == "hnsw" else keys_of(rows))
            alive = own["alive"].numpy().copy()
            self.segments.append(_Segment(engine, rows, alive, end, size, _twins_of(rows, alive, keys_of), dead))


def _twins_of(rows: np.ndarray, alive: np.ndarray, keys_of: KeysOf) -> Twins:
    """Return the twins among the living rows of a part, whose dead have no keys any more."""
    living = np.flatnonzero(alive)
    twins = Twins(len(living), lambda places: keys_of(rows[living[places]]))
    group = np.full(len(rows), -1, dtype=np.int64)
    group[living] = twins.group
    twins.group, twins.places = group, [living[places] for places in twins.places]
    return twins
