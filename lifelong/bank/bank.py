"""The bank: keys found again by an index, with payloads, ids, removal and eviction.

Knows nothing about editors or models. With a `flat` index every answer is exact and independent of batch size, shard
and thread count: candidates are proposed, their scores are computed again in one fixed order of summation, and where
rounding might have hidden a better entry the query is compared with every key. Other indexes may miss an entry; the
scores of those found are the same exact ones. Ties go to the entry that was added first.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from lifelong.bank.search import engine_torch
from lifelong.bank.search.approximate import Indexed
from lifelong.bank.search.compare import Comparison, Found, FoundRows
from lifelong.bank.search.exact import sort
from lifelong.bank.search.memo import Compared, remember, remembered
from lifelong.bank.search.spec import IndexSpec
from lifelong.bank.storage.shards import checked_keys
from lifelong.bank.storage.store import Store
from lifelong.log.checkpoint import State


class Bank(Store):
    """A `Store` that is searched; see there for adding, eviction and payloads. `index` is an `IndexSpec` or its word.

    A `memo` is a dict the caller keeps beside an array of queries: the bank notes in it what it has compared, and
    next time compares only entries added since (and queries appended since); after a removal, an eviction or a
    changed key it compares everything again. The result equals a search without a memo bit for bit.
    """

    def __init__(self, width: int, *, index: str | IndexSpec = "flat", **store: Any) -> None:
        self.spec = IndexSpec.parse(index)
        self.index: Indexed | None = None
        self._shadow = False
        self._mirrors = engine_torch.Mirrors(self.spec.device)
        super().__init__(width, **store)

    @property
    def exact(self) -> bool:
        """Whether answers are those of brute force now: by the index's family, or inside `exactly`."""
        return self.spec.exact or self._shadow or self.index is None or not self.index.segments

    @contextmanager
    def exactly(self) -> Iterator[None]:
        """Search by brute force inside, whatever the index: the shadow that an index's recall is taken against."""
        before, self._shadow = self._shadow, True
        try:
            yield
        finally:
            self._shadow = before

    def retune(self, *, probes: int | None = None, effort: int | None = None) -> None:
        """Look at more or fewer lists, or nodes, from now on; the index stays as it is built."""
        given = {k: v for k, v in {"probes": probes, "effort": effort}.items() if v is not None}
        self.spec = replace(self.spec, **given)
        if self.index is not None:
            self.index.retune(self.spec)
        self._epoch += 1

    def recall(self, keys: np.ndarray, k: int = 1) -> float:
        """Return the share of the k best entries of queries (q, width) that `search` finds (1 without any).

        Distances count, not ids: of entries that are equally far any will do.
        """
        with self.exactly():
            true = self.search(keys, k)
        found = self.search(keys, k)
        wanted = (true.rows >= 0).sum(1)  # (q,)
        if not wanted.any():
            return 1.0
        last = np.take_along_axis(true.scores, np.maximum(wanted - 1, 0)[:, None], 1)
        good = found.scores >= last if self.metric == "ip" else found.scores <= last
        hits = np.minimum((good & (found.rows >= 0)).sum(1), wanted)
        return float(hits.sum() / wanted.sum())

    def search(self, keys: np.ndarray, k: int, memo: dict[str, Any] | None = None) -> Found:
        """Return the k best entries for each query (q, width); for one query without a memo there is a short way."""
        if k < 1:
            raise ValueError(f"k={k}: a search asks for at least one entry.")
        compare = self._comparison()
        if memo is None and len(keys) == 1 and (found := compare.search_one(keys, k)) is not None:
            return found
        queries = checked_keys(keys, self.width)
        old = remembered(memo, self, self._epoch, self._verb("search"), queries)
        if old is not None and old.limit < k:
            old = None
        known = 0 if old is None else len(old.keys)
        wide = k if old is None else old.limit
        scores, rows = compare.search(queries[known:], wide)  # (q, wide): queries no memo knows, with all entries
        if old is not None:  # those it knows, with the entries added since
            before = old.scores, old.rows
            if old.position < self.position:
                before = compare.merge([before, compare.search(queries[:known], wide, old.position)], wide)
            scores, rows = np.concatenate([before[0], scores]), np.concatenate([before[1], rows])
        remember(memo, self._verb("search"), Compared(self, queries, self._epoch, self.position, wide, scores, rows))
        scores, rows = scores[:, :k].copy(), rows[:, :k].copy()
        return Found([tuple(i) for i in self.ids_of(rows).tolist()], scores, rows)

    def above(self, keys: np.ndarray, thresholds: np.ndarray, memo: dict[str, Any] | None = None) -> list[FoundRows]:
        """Return, per query, all entries strictly above its threshold (ip) or at most that far away (l2), best first.

        `thresholds` is (q,), compared as float32.
        """
        queries = checked_keys(keys, self.width)
        limits = np.ascontiguousarray(thresholds, dtype=np.float32)
        if limits.shape != (len(queries),) or np.isnan(limits).any():
            raise ValueError(f"thresholds have shape {limits.shape}, expected one number for each of {len(queries)}.")
        old = remembered(memo, self, self._epoch, self._verb("above"), queries)
        if old is not None and not np.array_equal(old.limit, limits[: len(old.keys)]):
            old = None
        known, compare = 0 if old is None else len(old.keys), self._comparison()
        found = compare.above(queries[known:], limits[known:])  # queries that no memo knows, with all entries
        if old is not None:  # those it knows, with the entries added since
            before = list(zip(old.scores, old.rows, strict=True))
            if old.position < self.position:
                later = compare.above(queries[:known], limits[:known], old.position)
                before = [
                    sort(*map(np.concatenate, zip(b, n, strict=True)), self.metric) if len(n[1]) else b
                    for b, n in zip(before, later, strict=True)
                ]
            found = before + found
        scores, rows = [s for s, _ in found], [r for _, r in found]
        remember(memo, self._verb("above"), Compared(self, queries, self._epoch, self.position, limits, scores, rows))
        return [FoundRows(tuple(self.ids_of(r).tolist()), s.copy(), r.copy()) for s, r in found]

    def _comparison(self) -> Comparison:
        return Comparison(self, self.spec, None if self.exact else self.index, self._mirrors)

    def _verb(self, verb: str) -> str:
        return f"{verb} exactly" if self._shadow and not self.spec.exact else verb

    # -- the index beside the store -----------------------------------------------------------------------------
    def _reset(self) -> None:
        super()._reset()
        self.index = None if self.spec.exact else Indexed(self.spec, self.width, self.metric, self.read)

    def _on_added(self) -> None:
        if self.index is not None and self.index.added(len(self), self.position):
            self._epoch += 1  # what was found before the index changed may not be found now

    def settle(self) -> None:
        """Let what is being made of an approximate index serve now; waits for it."""
        if self.index is not None and self.index.settle():
            self._epoch += 1

    def _on_gone(self, row: int) -> None:
        if self.index is not None:
            self.index.gone(row)

    def _on_moved(self, row: int) -> None:
        if self.index is not None:
            self.index.moved(row)

    def nbytes(self) -> int:
        """Return the bytes of living keys and payloads, and of an approximate index."""
        return super().nbytes() + (0 if self.index is None else self.index.nbytes())

    def state(self) -> State:
        """Return the store's state, with an approximate index's own (what of it is being made serves from now on)."""
        self.settle()
        state = super().state()
        tensors, meta = ({}, None) if self.index is None else self.index.state()
        mine = {f"index/{name}": tensor for name, tensor in tensors.items()}
        return State({**state.tensors, **mine}, state.meta if meta is None else {**state.meta, "index": meta})

    def load(self, state: State) -> None:
        """Hold exactly what a state says; without an index in it, one is built when the next entry is added."""
        super().load(state)
        if self.index is not None and "parts" in state.meta.get("index", {}):
            mine = {n.removeprefix("index/"): t for n, t in state.tensors.items() if n.startswith("index/")}
            self.index.load(mine, state.meta["index"], self.keys_of)
