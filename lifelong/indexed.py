"""An approximate index beside a store: which rows it holds, which of them are dead, and when it is built anew.

Knows row numbers and keys; nothing of ids, payloads or scores. Rows from `merged` on, and rows whose key has changed
since (`loose`), are for the caller to compare exactly, so that what was added is found at once. The index changes
only when entries are added, never when they are searched: what is found does not depend on who asked before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lifelong.faiss_door import FaissIndex
from lifelong.search_spec import IndexSpec
from lifelong.torch_index import TorchIndex

TAIL = 256  # rows beside the index are merged when there are more of them than this and than 1/16 of the index
TAIL_SHARE = 16


class Indexed:
    """The index of one bank; `keys_of` returns the keys (n, width) of living rows."""

    def __init__(self, spec: IndexSpec, width: int, metric: str, keys_of: Callable[[np.ndarray], np.ndarray]) -> None:
        self.spec, self.width, self.metric, self._keys_of = spec, width, metric, keys_of
        self.engine: FaissIndex | TorchIndex | None = None
        self.rows = np.empty(0, dtype=np.int64)  # by position
        self.alive = np.empty(0, dtype=bool)
        self.loose: dict[int, None] = {}
        self.merged = self.built_at = self.dead = self.builds = 0

    @property
    def missing(self) -> np.ndarray:
        """Rows below `merged` that have to be compared exactly."""
        return np.array(sorted(self.loose), dtype=np.int64)

    def added(self, living: Callable[[], np.ndarray], count: int, position: int) -> bool:
        """Build or extend the index where it is due and return whether it changed.

        `living` returns all living rows, `count` how many they are, `position` is the number of the next row.
        """
        if self.engine is None or count >= 2 * self.built_at or self.dead + len(self.loose) > max(TAIL, count // 2):
            if count < self.spec.least:
                return False
            return self._build(living(), position)
        if position - self.merged <= max(TAIL, len(self.rows) // TAIL_SHARE):
            return False
        rows = living()
        rows = rows[np.searchsorted(rows, self.merged) :]
        self.engine.add(self._keys_of(rows))
        self.rows, self.merged = np.concatenate([self.rows, rows]), position
        self.alive = np.concatenate([self.alive, np.ones(len(rows), dtype=bool)])
        return True

    def _build(self, rows: np.ndarray, position: int) -> bool:
        kind = FaissIndex if self.spec.engine == "faiss" else TorchIndex
        self.engine = kind(self.spec, self.width, self.metric)
        self.engine.build(self._keys_of(rows))
        self.rows, self.alive, self.loose = rows, np.ones(len(rows), dtype=bool), {}
        self.merged, self.built_at, self.dead, self.builds = position, len(rows), 0, self.builds + 1
        return True

    def gone(self, row: int) -> None:
        """Take a removed row out."""
        self.loose.pop(row, None)
        self._kill(row)

    def moved(self, row: int) -> None:
        """Compare a row exactly from now on: its key has changed."""
        if row < self.merged:
            self._kill(row)
            self.loose[row] = None

    def _kill(self, row: int) -> None:
        place = int(np.searchsorted(self.rows, row))
        if place < len(self.rows) and self.rows[place] == row and self.alive[place]:
            self.alive[place] = False
            self.dead += 1

    def propose(self, queries: np.ndarray, k: int) -> np.ndarray:
        """Return the rows (n, k) of candidates for queries (n, width); -1 where there are no more."""
        if self.engine is None:
            return np.full((len(queries), k), -1, dtype=np.int64)
        places = self.engine.propose(queries, min(k, len(self.rows)), self.alive if self.dead else None)
        return np.where(places < 0, -1, self.rows[places])

    def retune(self, spec: IndexSpec) -> None:
        """Search as another spec of the same family says."""
        self.spec = spec
        if self.engine is not None:
            self.engine.spec = spec

    def nbytes(self) -> int:
        """Return the bytes that the index keeps beside the bank's own keys."""
        return 0 if self.engine is None else self.engine.nbytes() + self.rows.nbytes + self.alive.nbytes

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return tensors and plain values that `load` goes on from, with the keys of living rows."""
        meta = {n: getattr(self, n) for n in ("merged", "built_at", "dead", "builds")}
        if self.engine is None:
            return {}, meta
        whole = self.spec.family == "hnsw"  # dead nodes stay part of its graph
        kept = slice(None) if whole else self.alive
        tensors = {"rows": torch.from_numpy(self.rows[kept]), "loose": torch.from_numpy(self.missing)}
        tensors["alive"] = torch.from_numpy(self.alive[kept])
        return tensors | self.engine.tensors(), meta

    def load(self, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> None:
        """Go on from what `state` returned."""
        self.merged, self.built_at, self.dead, self.builds = (
            int(meta[n]) for n in ("merged", "built_at", "dead", "builds")
        )
        self.engine, self.loose = None, {}
        if "rows" not in tensors:
            self.rows, self.alive = self.rows[:0], self.alive[:0]
            return
        self.rows, self.alive = tensors["rows"].numpy().copy(), tensors["alive"].numpy().copy()
        self.loose = dict.fromkeys(tensors["loose"].tolist())
        self.engine = (FaissIndex if self.spec.engine == "faiss" else TorchIndex)(self.spec, self.width, self.metric)
        keys = np.empty((0, self.width), np.float32) if self.spec.family == "hnsw" else self._keys_of(self.rows)
        self.engine.restore(tensors, keys)
