"""What a bank holds, as it is read: rows by id, and ids, keys, revisions and payloads by row.

Knows shards; nothing of how entries come, go or are searched. Entries lie in order of insertion; an entry's row
number is its place in that order, for ever.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from lifelong.bank.storage.memory import IdMap
from lifelong.bank.storage.payloads import PayloadTables
from lifelong.bank.storage.shards import Shard, row_bytes


class Entries:
    """Entries of `width` wide keys in shards, read by id or by row number."""

    def __init__(self, width: int, tables: PayloadTables) -> None:
        self.width, self._tables = width, tables
        self._shards: list[Shard] = []
        self._row_of = IdMap()
        self._schema: Mapping[str, Tensor] | None = None

    def __len__(self) -> int:
        return len(self._row_of)

    def __contains__(self, entry_id: str) -> bool:
        return entry_id in self._row_of

    def nbytes(self) -> int:
        """Return the bytes of living keys and payloads."""
        return len(self) * row_bytes(self.width, self._schema or {})

    def ids(self) -> list[str]:
        """Return the ids of all entries in order of insertion."""
        return [i for s in self._shards for i in s.ids[s.living()]]

    def rows(self) -> np.ndarray:
        """Return the row numbers of all entries in order of insertion."""
        return np.concatenate([np.empty(0, np.int64), *(s.rows[s.living()] for s in self._shards)])

    def row_of(self, entry_id: str) -> int:
        """Return an entry's row number; raises `KeyError` when the bank does not hold it."""
        row = self._row_of.get(entry_id)
        if row is None:
            raise KeyError(f"the bank holds no entry {entry_id!r} (never added, removed or evicted)")
        return row

    def rows_of(self, ids: Sequence[str]) -> np.ndarray:
        """Return the row numbers (n,) of ids; raises `KeyError` as `row_of` does."""
        return np.array([self.row_of(i) for i in ids], dtype=np.int64)

    def ids_of(self, rows: np.ndarray) -> np.ndarray:
        """Return the ids (object array of the shape of `rows`); `''` where a row is -1."""
        out = np.full(np.shape(rows), "", dtype=object)
        for shard, slots, where in self._locate(rows, missing=True):
            out.reshape(-1)[where] = shard.ids[slots]
        return out

    def revision_of(self, rows: np.ndarray) -> np.ndarray:
        """Return the revisions (int64, of the shape of `rows`): 0 when added, one more with each change."""
        out = np.zeros(np.shape(rows), dtype=np.int64)
        for shard, slots, where in self._locate(rows):
            out.reshape(-1)[where] = shard.revisions[slots]
        return out

    def keys_of(self, rows: np.ndarray) -> np.ndarray:
        """Return copies of the keys of rows: (*rows.shape, width)."""
        out = np.empty((*np.shape(rows), self.width), dtype=np.float32)
        for shard, slots, where in self._locate(rows):
            out.reshape(-1, self.width)[where] = shard.keys[slots]
        return out

    def read(self, row: int, end: int, slots: int) -> tuple[np.ndarray, np.ndarray, int]:
        """Return the living rows (n,) of some slots from a row on, copies of their keys, and the row after them.

        Rows are below `end`, which comes back where there are no more.
        """
        for shard in self._shards:
            if shard.used and shard.rows[shard.used - 1] >= row:
                low = int(np.searchsorted(shard.rows[: shard.used], row))
                here = slice(low, min(shard.used, low + slots))
                rows = shard.rows[here]
                picked = shard.alive[here] & (rows < end)
                onward = min(int(rows[-1]) + 1, end)
                return rows[picked], shard.keys[here][picked], onward
        return np.empty(0, np.int64), np.empty((0, self.width), np.float32), end

    def payload(self, name: str, rows: np.ndarray) -> Tensor:
        """Return copies of one payload of rows: (*rows.shape, *payload shape).

        Raises `KeyError` for an unknown payload or a row that is not alive (mask out -1 before).
        """
        proto = self._payload_schema(name)
        flat = np.reshape(rows, -1)
        out = torch.empty((len(flat), *proto.shape[1:]), dtype=proto.dtype, device=proto.device)
        for shard, slots, where in self._locate(rows):
            picked = shard.payloads[name].index_select(0, torch.from_numpy(slots).to(proto.device))
            out[torch.from_numpy(where).to(proto.device)] = picked
        self._tables.touched(out.numel() * out.element_size())
        return out.reshape(*np.shape(rows), *proto.shape[1:])

    def _payload_schema(self, name: str) -> Tensor:
        schema = self._schema or {}
        if name not in schema:
            raise KeyError(f"no payload is called {name!r}; the bank holds {', '.join(schema) or 'none'}")
        return schema[name]

    def _locate(self, rows: np.ndarray, missing: bool = False) -> Iterator[tuple[Shard, np.ndarray, np.ndarray]]:
        """Yield (shard, slots in it, positions in the flattened `rows`)."""
        flat = np.asarray(rows, dtype=np.int64).reshape(-1)
        if len(self._shards) == 1 and len(flat) and flat.min() >= 0:
            yield self._shards[0], self._shards[0].slots(flat), np.arange(len(flat))
            return
        first = np.array([s.rows[0] for s in self._shards], dtype=np.int64)
        owner = np.searchsorted(first, flat, side="right") - 1
        if (lost := (owner < 0) & ((flat != -1) if missing else True)).any():
            raise KeyError(f"no living entry has row {int(flat[lost][0])} (-1 is a missing result: mask it out)")
        for index in np.unique(owner[owner >= 0]):
            where = np.flatnonzero(owner == index)
            yield self._shards[index], self._shards[index].slots(flat[where]), where
