"""Storage of a bank: blocks of rows (keys, payloads, ids, counters), and what may be put into them.

Knows nothing about searching, eviction or editors. A row's number is its place in the order of insertion; it never
changes and is never used again, so a shard's row numbers are sorted and a slot is found by bisection.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from lifelong.bank.storage.payloads import PayloadTables

Metric = Literal["ip", "l2"]
HUGE = 1e15  # beyond it, squares of float32 lose all meaning
SHARD_BYTES = 64 * 2**20  # a shard with payloads stays below this, so that a checkpoint rewrites little


def checked_keys(keys: np.ndarray, width: int, ids: Sequence[str] | None = None) -> np.ndarray:
    """Return keys as contiguous float32 (n, width); `ids` are those that they are of, where they are entries'.

    Raises `ValueError` on a wrong shape and `FloatingPointError`, naming the entry, on a number that is not finite.
    """
    n = None if ids is None else len(ids)
    with np.errstate(over="ignore"):  # what is too large for a float32 is infinite, and refused below
        keys = np.ascontiguousarray(keys, dtype=np.float32)
    if keys.ndim != 2 or keys.shape[1] != width or (n is not None and len(keys) != n):
        raise ValueError(f"keys have shape {keys.shape}, expected ({'n' if n is None else n}, {width}).")
    if len(keys) and not np.abs(keys).max() < HUGE:
        row = int(np.flatnonzero(~(np.abs(keys) < HUGE).all(axis=1))[0])
        whose = f"key {row} of {len(keys)}" if ids is None else f"the key of {ids[row]!r}"
        raise FloatingPointError(f"{whose} holds a number that is not finite or beyond {HUGE:g}.")
    return keys


def payload_schema(
    payloads: Mapping[str, Tensor], n: int, known: Mapping[str, Tensor] | None, tables: PayloadTables
) -> Mapping[str, Tensor]:
    """Return an empty table for each payload: those `known` already, or new ones like `payloads` (n rows each).

    Raises `ValueError` when the payloads have other names, shapes, dtypes or numbers of rows.
    """
    shapes = {name: tuple(t.shape) for name, t in payloads.items()}
    if any(not s or s[0] != n for s in shapes.values()):
        raise ValueError(f"payloads need {n} leading rows, one per id; given shapes {shapes}.")
    want = {name: (tuple(t.shape[1:]), t.dtype) for name, t in (payloads if known is None else known).items()}
    given = {name: (tuple(t.shape[1:]), t.dtype) for name, t in payloads.items()}
    if want != given:
        raise ValueError(f"payloads {given} differ from those of the first entries: {want}.")
    if known is not None:
        return known
    return {name: t.detach()[:0].to(tables.device_of(t)).clone() for name, t in payloads.items()}


def shard_rows(width: int, payloads: Mapping[str, Tensor], shard_len: int) -> int:
    """Return how many rows a shard holds: `shard_len`, or fewer where payloads are large."""
    return max(1, min(shard_len, max(64, SHARD_BYTES // row_bytes(width, payloads))))


def row_bytes(width: int, payloads: Mapping[str, Tensor]) -> int:
    """Return the bytes of one entry: its float32 key and its payloads."""
    return 4 * width + sum(math.prod(t.shape[1:]) * t.element_size() for t in payloads.values())


class Shard:
    """A block of at most `size` rows in preallocated arrays (untouched pages cost no memory).

    Removed rows stay as dead slots; `start` is the first slot that is alive, so that a first-in-first-out bank has no
    holes between `start` and `used`.
    """

    def __init__(self, size: int, width: int, payloads: Mapping[str, Tensor], tables: PayloadTables) -> None:
        self.size, self._tables = size, tables
        self.keys = np.zeros((size, width), dtype=np.float32)
        self.rows = np.empty(size, dtype=np.int64)
        self.ids = np.empty(size, dtype=object)
        self.alive = np.zeros(size, dtype=bool)
        self.revisions = np.zeros(size, dtype=np.int64)
        self.last_use = np.zeros(size, dtype=np.int64)
        self.uses = np.zeros(size, dtype=np.int64)
        self.payloads = {name: tables.table(size, like) for name, like in payloads.items()}
        self.used = self.start = self.live = self.version = 0  # `version` counts keys changed in place
        self.max_norm = 0.0

    @property
    def room(self) -> int:
        """Slots that were never used."""
        return self.size - self.used

    @property
    def holes(self) -> bool:
        """Whether a dead slot lies between living ones."""
        return self.live != self.used - self.start

    def append(
        self,
        ids: Sequence[str],
        keys: np.ndarray,
        payloads: Mapping[str, Tensor],
        rows: np.ndarray,
        last_use: np.ndarray,
        uses: np.ndarray | int = 0,
        revisions: np.ndarray | int = 0,
    ) -> None:
        """Take in n rows (n <= `room`) with ascending row numbers."""
        where = slice(self.used, self.used + len(ids))
        self.keys[where], self.rows[where], self.ids[where] = keys, rows, ids
        self.last_use[where], self.uses[where], self.revisions[where] = last_use, uses, revisions
        self.alive[where] = True
        for name, table in self.payloads.items():
            given = payloads[name].detach()
            table[where] = given
            self._tables.touched(given.numel() * given.element_size())
        if self.live == 0:
            self.start = self.used
        self.used += len(ids)
        self.live += len(ids)
        self.note_norms(keys)

    def note_norms(self, keys: np.ndarray) -> None:
        """Raise the bound on key norms to cover some keys (it is never lowered)."""
        if len(keys):
            self.max_norm = max(self.max_norm, float(np.sqrt((keys.astype(np.float64) ** 2).sum(-1).max())))

    def kill(self, slot: int) -> None:
        """Mark one living slot dead."""
        self.alive[slot] = False
        self.ids[slot] = None
        self.live -= 1
        if self.live and slot == self.start:
            self.start += int(np.argmax(self.alive[slot : self.used]))

    def slots(self, rows: np.ndarray) -> np.ndarray:
        """Return the slots of row numbers; raises `KeyError` for one that is not alive here."""
        found = np.searchsorted(self.rows[: self.used], rows)
        good = found < self.used
        good[good] = self.alive[found[good]] & (self.rows[found[good]] == rows[good])
        if not good.all():
            raise KeyError(f"no living entry has row {int(rows[~good][0])}; search again after a removal or eviction")
        return found

    def living(self) -> np.ndarray:
        """Return the slots that are alive, in order of insertion."""
        return np.flatnonzero(self.alive[: self.used])

    def tensors(self) -> dict[str, Tensor]:
        """Return copies of the living rows by table; what changes often is apart from what does not."""
        slots = self.living()
        raw = json.dumps(self.ids[slots].tolist(), ensure_ascii=False).encode()
        tables = {
            "keys": torch.from_numpy(self.keys[slots]),
            "rows": torch.from_numpy(self.rows[slots]),
            "ids": torch.frombuffer(bytearray(raw), dtype=torch.uint8),
            "revisions": torch.from_numpy(self.revisions[slots]),
            "uses": torch.from_numpy(np.stack([self.last_use[slots], self.uses[slots]])),
        }
        where = torch.from_numpy(slots)
        return tables | {f"payload.{name}": self._tables.picked(t, where) for name, t in self.payloads.items()}
