"""The bank: keys found again by an index, with payloads, ids, removal and eviction.

Knows nothing about editors or models. With a `flat` index every answer is exact and independent of batch size, shard
and thread count: candidates are proposed, their scores are computed again in one fixed order of summation, and where
rounding might have hidden a better entry the query is compared with every key. Other indexes may miss an entry; the
scores of those found are the same exact ones. Ties go to the entry that was added first.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lifelong.bank.search import engine_torch as torch_index
from lifelong.bank.search.approximate import Indexed
from lifelong.bank.search.engine_faiss import knn, one_faiss_thread
from lifelong.bank.search.exact import SPARE, best_of_one, beyond, exact_scores, nearest, sort
from lifelong.bank.search.memo import Compared, remember, remembered
from lifelong.bank.search.spec import IndexSpec
from lifelong.bank.storage.eviction import Eviction, Usage
from lifelong.bank.storage.shards import Metric, Shard, checked_keys
from lifelong.bank.storage.store import Store
from lifelong.log.checkpoint import State

__all__ = ["Bank", "Eviction", "Found", "FoundRows", "IndexSpec", "Metric", "Usage", "one_faiss_thread"]
BLOCK = 1024  # queries compared at a time: bounds temporary memory
FIRST_ABOVE = 64  # candidates of an approximate index that a threshold is tried on first


@dataclass(frozen=True)
class Found:
    """The k best entries of each of q queries, best first; missing: `''`, row -1, score -inf (ip) or inf (l2)."""

    ids: list[tuple[str, ...]]
    scores: np.ndarray
    rows: np.ndarray


@dataclass(frozen=True)
class FoundRows:
    """All entries beyond one query's threshold, best first."""

    ids: tuple[str, ...]
    scores: np.ndarray
    rows: np.ndarray


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
        self._plain = self.spec.exact and self.spec.engine == "faiss"
        self._mirrors = torch_index.Mirrors(self.spec.device)
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
        """Return the share of the true k best entries of queries (q, width) that `search` finds (1 without any)."""
        with self.exactly():
            true = self.search(keys, k).rows
        found = self.search(keys, k).rows
        hits = sum(len(np.intersect1d(f[f >= 0], t[t >= 0])) for f, t in zip(found, true, strict=True))
        return hits / max(1, int((true >= 0).sum())) if (true >= 0).any() else 1.0

    def search(self, keys: np.ndarray, k: int, memo: dict[str, Any] | None = None) -> Found:
        """Return the k best entries for each query (q, width)."""
        if k < 1:
            raise ValueError(f"k={k}: ask for at least one entry.")
        if memo is None and len(keys) == 1 and self._plain:
            found = self._search_one(keys, k)
            if found is not None:
                return found
        queries = checked_keys(keys, self.width)
        old = remembered(memo, self, self._epoch, self._verb("search"), queries)
        if old is not None and old.limit < k:
            old = None
        known = 0 if old is None else len(old.keys)
        wide = k if old is None else old.limit
        scores, rows = self._search(queries[known:], wide, 0)
        if old is not None:
            before = old.scores, old.rows
            if old.position < self.position:
                before = self._merge([before, self._search(queries[:known], wide, old.position)], wide)
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
        known = 0 if old is None else len(old.keys)
        found = self._above(queries[known:], limits[known:], 0)
        if old is not None:
            before = list(zip(old.scores, old.rows, strict=True))
            if old.position < self.position:
                later = self._above(queries[:known], limits[:known], old.position)
                before = [
                    sort(*map(np.concatenate, zip(b, n, strict=True)), self.metric) if len(n[1]) else b
                    for b, n in zip(before, later, strict=True)
                ]
            found = before + found
        scores, rows = [s for s, _ in found], [r for _, r in found]
        remember(memo, self._verb("above"), Compared(self, queries, self._epoch, self.position, limits, scores, rows))
        return [FoundRows(tuple(self.ids_of(r).tolist()), s.copy(), r.copy()) for s, r in found]

    def _search(self, queries: np.ndarray, k: int, since: int) -> tuple[np.ndarray, np.ndarray]:
        """Compare queries with the entries of rows `since` and later; pads with row -1."""
        scores = np.full((len(queries), k), -np.inf if self.metric == "ip" else np.inf, dtype=np.float32)
        rows = np.full((len(queries), k), -1, dtype=np.int64)
        approximate = None if self.exact else self.index
        tail = since if approximate is None else max(since, approximate.merged)
        for low in range(0, len(queries), BLOCK):
            block = slice(low, low + BLOCK)
            parts = []
            if approximate is not None and since < approximate.merged:
                parts.append(self._proposed(queries[block], k, approximate))
            parts += [nearest(queries[block], s, at, k, self.metric, self._propose) for s, at in self._since(tail)]
            if len(parts) != 1 or parts[0][1].shape[1] < k:
                parts = [self._merge([(scores[block], rows[block]), *parts], k)]
            scores[block], rows[block] = parts[0]
        return scores, rows

    def _search_one(self, keys: np.ndarray, k: int) -> Found | None:
        """Return what `search` returns for one query; None where that takes the long way."""
        query = np.ascontiguousarray(keys, dtype=np.float32)
        if query.shape != (1, self.width):
            return None
        hits: list[tuple[float, Shard, int]] = []
        for shard in self._shards:  # in order of insertion, as slots are: a stable sort keeps ties in that order
            best = best_of_one(query, shard, k, self.metric, self.spec)
            if best is None:
                return None
            hits += [(score, shard, slot) for score, slot in zip(*best, strict=True)]
        if len(self._shards) > 1:
            hits = sorted(hits, key=lambda hit: hit[0], reverse=self.metric == "ip")[:k]
        scores = [score for score, _, _ in hits]
        ids, rows = [shard.ids[slot] for _, shard, slot in hits], [int(shard.rows[slot]) for _, shard, slot in hits]
        if (missing := k - len(hits)) > 0:
            scores = scores + missing * [-np.inf if self.metric == "ip" else np.inf]
            ids, rows = ids + missing * [""], rows + missing * [-1]
        return Found([tuple(ids)], np.array([scores], dtype=np.float32), np.array([rows], dtype=np.int64))

    def _propose(self, queries: np.ndarray, shard: Shard, start: int, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Return k candidates of shard[start:used] by the spec's engine, all of whose keys it compares."""
        alive = shard.alive[start : shard.used] if shard.holes else None
        if self.spec.engine == "torch":
            keys = self._mirrors.of(shard, shard.keys, shard.used, shard.version)[start : shard.used]
            scores, slots = torch_index.knn(queries, keys, k, self.metric, alive)
        else:
            scores, slots = knn(queries, shard.keys[start : shard.used], k, self.metric, alive, self.spec)
        return scores, slots + start

    def _proposed(self, queries: np.ndarray, k: int, index: Indexed) -> tuple[np.ndarray, np.ndarray]:
        """Return exact scores and rows (n, <= k) of the best candidates of an approximate index."""
        rows = index.propose(queries, k + SPARE)
        loose = index.missing
        if len(loose):
            rows = np.concatenate([rows, np.broadcast_to(loose, (len(rows), len(loose)))], axis=1)
        scores, rows = self._scored(queries, rows)
        return scores[:, :k], rows[:, :k]

    def _scored(self, queries: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the exact scores of candidates (n, m) and their rows, best first; missing ones (-1) last."""
        which, place = np.nonzero(rows >= 0)
        scores = np.full(rows.shape, -np.inf if self.metric == "ip" else np.inf, dtype=np.float32)
        if len(which):
            keys = self.keys_of(rows[which, place])
            scores[which, place] = exact_scores(queries[which], keys[:, None], self.metric)[:, 0]
        late = np.where(rows < 0, np.iinfo(np.int64).max, rows)
        scores, late = sort(scores, late, self.metric)
        return scores, np.where(late == np.iinfo(np.int64).max, -1, late)

    def _above(self, queries: np.ndarray, limits: np.ndarray, since: int) -> list[tuple[np.ndarray, np.ndarray]]:
        approximate = None if self.exact else self.index
        tail = since if approximate is None else max(since, approximate.merged)
        parts = [list(beyond(queries, limits, s, start, self.metric)) for s, start in self._since(tail)]
        if approximate is not None and since < approximate.merged:
            parts.append([self._all_above(q, limit, approximate) for q, limit in zip(queries, limits, strict=True)])
        found = []
        for n, limit in enumerate(limits):
            scores = np.concatenate([np.empty(0, np.float32), *(p[n][0] for p in parts)])
            rows = np.concatenate([np.empty(0, np.int64), *(p[n][1] for p in parts)])
            keep = scores > limit if self.metric == "ip" else scores <= limit
            found.append(sort(scores[keep], rows[keep], self.metric))
        return found

    def _all_above(self, query: np.ndarray, limit: float, index: Indexed) -> tuple[np.ndarray, np.ndarray]:
        """Return an approximate index's candidates: more and more, until the last ones are beyond the threshold."""
        wide = FIRST_ABOVE
        while True:
            scores, rows = self._proposed(query[None], wide, index)
            scores, rows = scores[0][rows[0] >= 0], rows[0][rows[0] >= 0]
            outside = len(rows) and not (scores[-1] > limit if self.metric == "ip" else scores[-1] <= limit)
            if outside or len(rows) < wide:
                return scores, rows
            wide *= 4

    def _since(self, row: int) -> Iterator[tuple[Shard, int]]:
        """Yield (shard, first slot) where entries of rows `row` and later are alive."""
        for shard in self._shards:
            start = max(shard.start, int(np.searchsorted(shard.rows[: shard.used], row)))
            if shard.alive[start : shard.used].any():
                yield shard, start

    def _merge(self, parts: list[tuple[np.ndarray, np.ndarray]], k: int) -> tuple[np.ndarray, np.ndarray]:
        if len(parts) == 1:
            return parts[0]
        scores, rows = (np.concatenate(tables, axis=1) for tables in zip(*parts, strict=True))
        late = np.where(rows < 0, np.iinfo(np.int64).max, rows)  # a missing entry is worse than any
        scores, late = sort(scores, late, self.metric)
        return scores[:, :k], np.where(late == np.iinfo(np.int64).max, -1, late)[:, :k]

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
