"""Queries compared with the entries of a store: the best of them, and all beyond a threshold, with exact scores.

Knows a store's shards, an index spec and the index made by it; nothing of memos, nor of how entries come and go. Rows
that an approximate index serves are proposed by it and scored again; all others are compared with every key.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lifelong.bank.search import engine_faiss, engine_torch
from lifelong.bank.search.approximate import Indexed
from lifelong.bank.search.exact import SPARE, WORST, best_of_one, beyond, exact_scores, nearest, sort
from lifelong.bank.search.spec import IndexSpec
from lifelong.bank.storage.shards import Shard
from lifelong.bank.storage.store import Store

_BLOCK = 1024  # queries compared at a time: bounds temporary memory
FIRST_ABOVE = 64  # candidates of an approximate index that a threshold is tried on first

_Scored = tuple[np.ndarray, np.ndarray]
"""Exact scores (float32) and row numbers (int64) of one shape, best first along the last axis."""


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


@dataclass(slots=True)
class Comparison:
    """What a bank compares queries by; made anew for each search, so that it holds no bank alive.

    `index` serves the rows it has; it is None where every key has to be compared. `mirrors` are torch's.
    """

    store: Store
    spec: IndexSpec
    index: Indexed | None
    mirrors: engine_torch.Mirrors

    def search(self, queries: np.ndarray, k: int, since: int = 0) -> _Scored:
        """Return the k best entries (n, k) among rows `since` and later, for queries (n, width); pads with row -1."""
        metric, merged = self.store.metric, self._merged
        scores = np.full((len(queries), k), WORST[metric], dtype=np.float32)
        rows = np.full((len(queries), k), -1, dtype=np.int64)
        for low in range(0, len(queries), _BLOCK):
            block = slice(low, low + _BLOCK)
            parts: list[_Scored] = []  # of (at most _BLOCK, at most k) each
            if self.index is not None and since < merged:
                parts.append(self._proposed(queries[block], k, self.index))
            for shard, start in self._from(max(since, merged)):
                parts.append(nearest(queries[block], shard, start, k, metric, self._propose))
            if len(parts) != 1 or parts[0][1].shape[1] < k:
                parts = [self.merge([(scores[block], rows[block]), *parts], k)]
            scores[block], rows[block] = parts[0]
        return scores, rows

    def search_one(self, keys: np.ndarray, k: int) -> Found | None:
        """Return what a search for one query (1, width) finds; None where it has to go the long way."""
        query = np.ascontiguousarray(keys, dtype=np.float32)
        if self.index is not None or self.spec.engine != "faiss" or query.shape != (1, self.store.width):
            return None
        metric = self.store.metric
        hits: list[tuple[float, Shard, int]] = []
        for shard in self.store.shards:  # in order of insertion, as slots are: a stable sort keeps ties in that order
            best = best_of_one(query, shard, k, metric, self.spec)
            if best is None:
                return None
            hits += [(score, shard, slot) for score, slot in zip(*best, strict=True)]
        if len(self.store.shards) > 1:
            hits = sorted(hits, key=lambda hit: hit[0], reverse=metric == "ip")[:k]
        scores = [score for score, _, _ in hits]
        ids, rows = [shard.ids[slot] for _, shard, slot in hits], [int(shard.rows[slot]) for _, shard, slot in hits]
        if (missing := k - len(hits)) > 0:
            scores, ids, rows = scores + missing * [WORST[metric]], ids + missing * [""], rows + missing * [-1]
        return Found([tuple(ids)], np.array([scores], dtype=np.float32), np.array([rows], dtype=np.int64))

    def above(self, queries: np.ndarray, limits: np.ndarray, since: int = 0) -> list[_Scored]:
        """Return, per query (n, width), all entries among rows `since` and later that are beyond its limit (n,)."""
        metric, merged = self.store.metric, self._merged
        parts: list[list[_Scored]] = [
            list(beyond(queries, limits, shard, start, metric)) for shard, start in self._from(max(since, merged))
        ]
        if self.index is not None and since < merged:
            parts.append([self._all_above(q, limit, self.index) for q, limit in zip(queries, limits, strict=True)])
        found: list[_Scored] = []
        for n, limit in enumerate(limits):
            scores = np.concatenate([np.empty(0, np.float32), *(p[n][0] for p in parts)])  # (m,), a superset
            rows = np.concatenate([np.empty(0, np.int64), *(p[n][1] for p in parts)])
            keep = self._is_beyond(scores, limit)
            found.append(sort(scores[keep], rows[keep], metric))
        return found

    def merge(self, parts: list[_Scored], k: int) -> _Scored:
        """Return the k best of several answers (n, m) to the same queries."""
        if len(parts) == 1:
            return parts[0]
        scores, rows = (np.concatenate(tables, axis=1) for tables in zip(*parts, strict=True))
        scores, rows = sort(scores, rows, self.store.metric)
        return scores[:, :k], rows[:, :k]

    @property
    def _merged(self) -> int:
        """The row from which on every key is compared."""
        return 0 if self.index is None else self.index.merged

    def _from(self, row: int) -> Iterator[tuple[Shard, int]]:
        """Yield (shard, first slot) where entries of rows `row` and later are alive."""
        for shard in self.store.shards:
            start = max(shard.start, int(np.searchsorted(shard.rows[: shard.used], row)))
            if shard.alive[start : shard.used].any():
                yield shard, start

    def _propose(self, queries: np.ndarray, shard: Shard, start: int, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Return rough scores and slots (n, k) of shard[start:used] by the spec's engine, which compares all keys."""
        alive = shard.alive[start : shard.used] if shard.holes else None
        metric = self.store.metric
        if self.spec.engine == "torch":
            keys = self.mirrors.of(shard, shard.keys, shard.used, shard.version)[start : shard.used]
            scores, slots = engine_torch.torch_knn(queries, keys, k, metric, alive)
        else:
            scores, slots = engine_faiss.faiss_knn(
                queries, shard.keys[start : shard.used], k, metric, alive, self.spec
            )
        return scores, slots + start

    def _proposed(self, queries: np.ndarray, k: int, index: Indexed) -> _Scored:
        """Return the best candidates (n, at most k) of an approximate index."""
        rows = index.propose(queries, k + SPARE)  # (n, m), -1 where there are no more
        loose = index.missing
        if len(loose):
            rows = np.concatenate([rows, np.broadcast_to(loose, (len(rows), len(loose)))], axis=1)
        scores = np.full(rows.shape, WORST[self.store.metric], dtype=np.float32)
        which, place = np.nonzero(rows >= 0)
        if len(which):
            keys = self.store.keys_of(rows[which, place])  # (candidates, width)
            scores[which, place] = exact_scores(queries[which], keys[:, None], self.store.metric)[:, 0]
        scores, rows = sort(scores, rows, self.store.metric)
        return scores[:, :k], rows[:, :k]

    def _all_above(self, query: np.ndarray, limit: float, index: Indexed) -> _Scored:
        """Return an approximate index's candidates: more and more, until the last ones are not beyond the limit."""
        wide = FIRST_ABOVE
        while True:
            scores, rows = self._proposed(query[None], wide, index)
            scores, rows = scores[0][rows[0] >= 0], rows[0][rows[0] >= 0]
            if len(rows) < wide or not self._is_beyond(scores[-1], limit):
                return scores, rows
            wide *= 4

    def _is_beyond(self, scores: np.ndarray, limit: float) -> np.ndarray:
        return scores > limit if self.store.metric == "ip" else scores <= limit
