"""The entries of a bank: keys, payloads, ids, revisions, eviction, state. It does not know how they are searched.

Entries live in shards in order of insertion; an entry's row number is its place in that order, for ever.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from lifelong.bank.storage.eviction import RULES, Eviction, Value, leaving
from lifelong.bank.storage.payloads import PayloadTables
from lifelong.bank.storage.shards import Metric, Shard, checked_keys, payload_schema, row_bytes, shard_rows
from lifelong.log.checkpoint import State


class Store:
    """Keys of `width` float32 with string ids and payload tables.

    `metric` is `ip` (inner product, higher is better) or `l2` (Euclidean distance, lower is better). With `capacity`
    the eviction rule makes room: `fifo` the oldest, `lru` the least recently touched, `lfu` the least often touched
    (then the oldest), a function of `Usage` those that it gives the least value (then the oldest); `never` raises
    instead. Searching does not touch: only `touch` does. `payloads` says where payloads
    are kept: by default where those of the first entries are, else on a torch device or on `disk` (`disk:FOLDER`).
    """

    def __init__(
        self,
        width: int,
        *,
        metric: Metric = "ip",
        capacity: int | None = None,
        eviction: Eviction | Value = "never",
        shard_len: int = 65536,
        payloads: str | PayloadTables = "",
    ) -> None:
        if width < 1 or shard_len < 1 or (capacity is not None and capacity < 1):
            raise ValueError(f"width={width}, capacity={capacity}, shard_len={shard_len}: all must be at least 1.")
        if metric not in ("ip", "l2") or not (callable(eviction) or eviction in RULES):
            known = f"use ip or l2, and {', '.join(RULES)} or a function of Usage"
            raise ValueError(f"metric={metric!r}, eviction={eviction!r}: {known}.")
        self.width = width
        self.metric: Metric = metric
        self.eviction: Eviction | Value = eviction
        self.capacity = capacity
        self._shard_len, self._epoch = shard_len, 0
        self._tables = PayloadTables(payloads) if isinstance(payloads, str) else payloads
        self._reset()

    def _reset(self) -> None:
        self.shards: list[Shard] = []
        self._row_of: dict[str, int] = {}
        self._schema: Mapping[str, Tensor] | None = None
        self.position = self.removals = self._tick = self._dead = 0
        self._epoch += 1
        self._updates = 0

    # -- reading it ---------------------------------------------------------------------------------------------
    def __len__(self) -> int:
        return len(self._row_of)

    def __contains__(self, entry_id: str) -> bool:
        return entry_id in self._row_of

    def nbytes(self) -> int:
        """Return the bytes of living keys and payloads."""
        return len(self) * row_bytes(self.width, self._schema or {})

    @property
    def changes(self) -> tuple[int, int, int]:
        """How many entries were ever added, taken out and updated: another after each change but a touch."""
        return self.position, self.removals, self._updates

    def ids(self) -> list[str]:
        """Return the ids of all entries in order of insertion."""
        return [i for s in self.shards for i in s.ids[s.living()]]

    def rows(self) -> np.ndarray:
        """Return the row numbers of all entries in order of insertion."""
        return np.concatenate([np.empty(0, np.int64), *(s.rows[s.living()] for s in self.shards)])

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
        for shard in self.shards:
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

    def _place(self, entry_id: str) -> tuple[Shard, int]:
        """Return the shard and the slot of one entry; raises `KeyError` as `row_of` does."""
        row = self.row_of(entry_id)
        shard = self.shards[bisect_right(self.shards, row, key=lambda s: s.rows[0]) - 1]
        return shard, int(shard.rows[: shard.used].searchsorted(row))

    def _locate(self, rows: np.ndarray, missing: bool = False) -> Iterator[tuple[Shard, np.ndarray, np.ndarray]]:
        """Yield (shard, slots in it, positions in the flattened `rows`)."""
        flat = np.asarray(rows, dtype=np.int64).reshape(-1)
        if len(self.shards) == 1 and len(flat) and flat.min() >= 0:
            yield self.shards[0], self.shards[0].slots(flat), np.arange(len(flat))
            return
        first = np.array([s.rows[0] for s in self.shards], dtype=np.int64)
        owner = np.searchsorted(first, flat, side="right") - 1
        if (lost := (owner < 0) & ((flat != -1) if missing else True)).any():
            raise KeyError(f"no living entry has row {int(flat[lost][0])} (-1 is a missing result: mask it out)")
        for index in np.unique(owner[owner >= 0]):
            where = np.flatnonzero(owner == index)
            yield self.shards[index], self.shards[index].slots(flat[where]), where

    # -- changing it --------------------------------------------------------------------------------------------
    def add(self, ids: Sequence[str], keys: np.ndarray, payloads: Mapping[str, Tensor] | None = None) -> list[str]:
        """Add n entries: keys (n, width) and payload tensors with n leading rows each; return the ids evicted.

        Raises `ValueError` for a duplicate id, a wrong shape, a non-finite key or a full bank without eviction; the
        bank is unchanged then.
        """
        ids, payloads = list(ids), dict(payloads or {})
        if not ids:
            return []
        rows = checked_keys(keys, self.width, ids)
        known = [i for i in ids if i in self._row_of]
        if known or len(set(ids)) < len(ids):
            name = known[0] if known else next(i for i in ids if ids.count(i) > 1)
            raise ValueError(f"the bank already holds an entry {name!r}: ids are unique; update or remove it first.")
        schema = payload_schema(payloads, len(ids), self._schema, self._tables)
        limit = self.capacity
        if limit is not None and self.eviction == "never" and len(self) + len(ids) > limit:
            full = f"the bank is full: {len(self)} entries of capacity {limit}, {len(ids)} to add"
            raise ValueError(f"{full}. Raise capacity or choose eviction {', '.join(RULES[1:])}.")
        self._schema = schema
        gone: list[str] = []
        for low in range(0, len(ids), limit or len(ids)):
            part = slice(low, low + (limit or len(ids)))
            gone += self._evict(len(self) + len(ids[part]) - limit) if limit is not None else []
            self._append(ids[part], rows[part], {n: t[part] for n, t in payloads.items()})
        self._on_added()
        return gone

    def _on_added(self) -> None:
        """Entries were added: a bank's index may be due."""

    def _on_gone(self, row: int) -> None:
        """An entry was removed."""

    def _on_moved(self, row: int) -> None:
        """An entry's key was changed."""

    def _open(self) -> Shard:
        """Return the last shard, or a new one when it is full."""
        if not self.shards or not self.shards[-1].room:
            size = shard_rows(self.width, self._schema or {}, self._shard_len)
            self.shards.append(Shard(size, self.width, self._schema or {}, self._tables))
        return self.shards[-1]

    def _append(self, ids: Sequence[str], keys: np.ndarray, payloads: Mapping[str, Tensor]) -> None:
        done = 0
        while done < len(ids):
            shard = self._open()
            part = slice(done, done + min(shard.room, len(ids) - done))
            rows = np.arange(self.position, self.position + len(ids[part]), dtype=np.int64)
            ticks = self._tick + 1 + np.arange(len(rows))
            shard.append(ids[part], keys[part], {n: t[part] for n, t in payloads.items()}, rows, ticks)
            self._row_of.update(zip(ids[part], rows.tolist(), strict=True))
            self.position, self._tick, done = self.position + len(rows), self._tick + len(rows), part.stop

    def update(
        self, entry_id: str, *, keys: np.ndarray | None = None, payloads: Mapping[str, Tensor] | None = None
    ) -> None:
        """Replace an entry's key (width,) and/or some payloads (without a leading row); its revision grows by one."""
        shard, slot = self._place(entry_id)
        key = None if keys is None else checked_keys(np.reshape(keys, (1, -1)), self.width, [entry_id])
        for name, value in (payloads or {}).items():
            if tuple(value.shape) != tuple(self._payload_schema(name).shape[1:]):
                want = tuple(self._payload_schema(name).shape[1:])
                raise ValueError(f"payload {name!r} of {entry_id!r} has shape {tuple(value.shape)}, expected {want}.")
        if key is not None:
            shard.keys[slot] = key[0]
            shard.note_norms(key)
            shard.version += 1
            self._on_moved(self._row_of[entry_id])
            self._epoch += 1
        for name, value in (payloads or {}).items():
            shard.payloads[name][slot] = value.detach()
        shard.revisions[slot] += 1
        self._updates += 1

    def touch(self, ids: Sequence[str]) -> None:
        """Note a use of entries, in this order, for `lru` and `lfu`; an id that stands twice is used twice.

        It is called for each query that was answered, with the entries that served it. Raises `KeyError`, with
        nothing noted, when one is not there.
        """
        for shard, slot in [self._place(i) for i in ids]:  # all are found before the first is noted
            self._tick += 1
            shard.last_use[slot] = self._tick
            shard.uses[slot] += 1

    def remove(self, ids: Sequence[str]) -> None:
        """Take entries out; raises `KeyError`, with nothing removed, when one is not there."""
        if len(set(ids)) < len(ids):
            raise ValueError(f"ids to remove must be distinct; given {list(ids)}.")
        for entry_id, (shard, slot) in zip(ids, [self._place(i) for i in ids], strict=True):
            shard.kill(slot)
            self._on_gone(self._row_of.pop(entry_id))
            self._dead += 1
        self.removals += len(ids)
        self._epoch += len(ids)
        empty = [s for s in self.shards if not s.live]
        if empty:
            self._dead -= sum(s.used for s in empty)
            self.shards = [s for s in self.shards if s.live]
        if self._dead > max(256, len(self)):
            self._repack()

    def _evict(self, n: int) -> list[str]:
        if n <= 0:
            return []
        gone = leaving(self.shards, self.eviction, n, self._tick)
        self.remove(gone)
        return gone

    def _repack(self) -> None:
        """Copy the living rows into fresh shards, so that dead ones never outnumber them for long."""
        old, self.shards, self._dead = self.shards, [], 0
        for shard in old:
            self._take(shard.tensors())

    def _take(self, tables: Mapping[str, Tensor]) -> None:
        ids = json.loads(bytes(tables["ids"].numpy()).decode())
        keys, rows, revisions = (tables[name].numpy() for name in ("keys", "rows", "revisions"))
        last_use, uses = tables["uses"].numpy()
        done = 0
        while done < len(ids):
            shard = self._open()
            part = slice(done, done + min(shard.room, len(ids) - done))
            tensors = {n: tables[f"payload.{n}"][part] for n in self._schema or {}}
            shard.append(ids[part], keys[part], tensors, rows[part], last_use[part], uses[part], revisions[part])
            done = part.stop

    # -- state --------------------------------------------------------------------------------------------------
    def state(self) -> State:
        """Return all living entries by shard; the tables of a full, unchanged shard are equal each time."""
        tensors = {f"shard{n}/{k}": t for n, s in enumerate(self.shards) for k, t in s.tensors().items()}
        schema = {
            n: [list(t.shape[1:]), str(t.dtype).removeprefix("torch.")] for n, t in (self._schema or {}).items()
        }
        meta = {
            "width": self.width,
            "metric": self.metric,
            "shards": len(self.shards),
            "payloads": None if self._schema is None else schema,
            "position": self.position,
            "removals": self.removals,
            "tick": self._tick,
        }
        return State(tensors, meta)

    def load(self, state: State) -> None:
        """Hold exactly what a state says; raises `ValueError` when it is of another width or metric."""
        meta = state.meta
        if (meta["width"], meta["metric"]) != (self.width, self.metric):
            raise ValueError(
                f"the state is of width {meta['width']}, {meta['metric']}; this bank: {self.width}, {self.metric}."
            )
        self._reset()
        if meta["payloads"] is not None:
            self._schema = {
                n: torch.empty((0, *shape), dtype=getattr(torch, dtype), device=self._tables.device or "cpu")
                for n, (shape, dtype) in meta["payloads"].items()
            }
        for n in range(int(meta["shards"])):
            mark = f"shard{n}/"
            self._take({k.removeprefix(mark): t for k, t in state.tensors.items() if k.startswith(mark)})
        for shard in self.shards:
            self._row_of.update(zip(shard.ids[: shard.used], shard.rows[: shard.used].tolist(), strict=True))
        self.position, self.removals, self._tick = (int(meta[k]) for k in ("position", "removals", "tick"))
