"""The bank: keys searched by FAISS, with payloads, ids, removal and eviction. The only import of faiss.

Knows nothing about editors or models. Every answer is exact and independent of batch size, shard and thread count:
FAISS proposes candidates, their scores are computed again in one fixed order of summation, and where rounding might
have hidden a better entry the query is compared with every key. Ties go to the entry that was added first.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

# isort: split
import faiss  # after torch: with two OpenMP runtimes the first one loaded serves both

# isort: split
from lifelong.shards import Metric, Shard, checked_keys, exact_scores
from lifelong.store import Eviction, Store

__all__ = ["Bank", "Eviction", "Found", "FoundRows", "Metric", "one_faiss_thread"]
SPARE = 8  # candidates beyond k: with fewer, rounding at the last place forces a full comparison more often
BLOCK = 1024  # queries compared at a time, DENSE where every key is compared: bounds temporary memory
DENSE = 128


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


@dataclass(frozen=True)
class _Compared:
    """What a memo holds: the queries, what they were compared with, and what was found."""

    bank: Bank
    keys: np.ndarray
    epoch: int
    position: int
    limit: Any  # k, or the thresholds
    scores: Any
    rows: Any


@contextmanager
def one_faiss_thread(width: int) -> Iterator[None]:
    """Search with one thread and with a matrix product from four queries on, and restore both settings.

    A second thread makes one query many times slower on a busy machine; the thread count may be torch's own as well,
    so it is put back. FAISS compares its threshold with queries x width.
    """
    threads, threshold = faiss.omp_get_max_threads(), faiss.cvar.distance_compute_blas_threshold
    torch_threads = torch.get_num_threads()
    if threads != 1:
        faiss.omp_set_num_threads(1)
    faiss.cvar.distance_compute_blas_threshold = 4 * width
    try:
        yield
    finally:
        faiss.cvar.distance_compute_blas_threshold = threshold
        if threads != 1:
            faiss.omp_set_num_threads(threads)
            torch.set_num_threads(torch_threads)


def _sort(scores: np.ndarray, rows: np.ndarray, metric: Metric) -> tuple[np.ndarray, np.ndarray]:
    """Sort the last axis best first; ties by row number, missing entries (row -1) last."""
    order = np.lexsort((rows, -scores if metric == "ip" else scores), axis=-1)
    return np.take_along_axis(scores, order, -1), np.take_along_axis(rows, order, -1)


def _candidates(
    queries: np.ndarray, shard: Shard, start: int, k: int, metric: Metric
) -> tuple[np.ndarray, np.ndarray]:
    """Return FAISS's k best slots of shard[start:used] per query and its scores (squared distances for l2)."""
    n, width = queries.shape
    keys = shard.keys[start : shard.used]
    scores, slots = np.empty((n, k), dtype=np.float32), np.empty((n, k), dtype=np.int64)
    alive = np.packbits(shard.alive[start : shard.used], bitorder="little")
    chosen = faiss.IDSelectorBitmap(len(keys), faiss.swig_ptr(alive)) if shard.holes else None
    x, y, s, i = (faiss.swig_ptr(a) for a in (queries, keys, scores, slots))
    with one_faiss_thread(width):
        if metric == "ip":
            faiss.knn_inner_product(x, y, width, n, len(keys), k, s, i, chosen)
        else:
            faiss.knn_L2sqr(x, y, width, n, len(keys), k, s, i, None, chosen)
    return scores, slots + start


def _slack(queries: np.ndarray, shard: Shard, metric: Metric) -> np.ndarray:
    """Return, per query, a bound on the rounding error of float32 inner products or squared distances."""
    norms = np.sqrt((queries.astype(np.float64) ** 2).sum(-1))
    size = norms * shard.max_norm if metric == "ip" else (norms + shard.max_norm) ** 2
    return (queries.shape[1] + 8) * 2.0**-22 * size + 1e-30


def _dense(queries: np.ndarray, shard: Shard, start: int, metric: Metric) -> np.ndarray:
    """Return approximate scores (n, used - start) as "higher is better"; dead slots score not-a-number."""
    keys = torch.from_numpy(shard.keys[start : shard.used])
    product = torch.from_numpy(queries).mm(keys.T).numpy().astype(np.float64)
    if metric == "l2":
        norms = (shard.keys[start : shard.used].astype(np.float64) ** 2).sum(-1)
        product = 2 * product - norms - (queries.astype(np.float64) ** 2).sum(-1)[:, None]
    product[:, ~shard.alive[start : shard.used]] = np.nan  # never beyond anything
    return product


def _beyond(
    queries: np.ndarray, floors: np.ndarray, shard: Shard, start: int, metric: Metric
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield, per query, exact scores and rows of a superset of the entries at least as good as its floor.

    `floors` (n,) are inner products or distances.
    """
    goal = floors.astype(np.float64) if metric == "ip" else -(np.maximum(floors.astype(np.float64), 0) ** 2)
    # a float32 score is within 2^-24 of itself: the relative widening keeps an exact tie inside
    goal = goal - _slack(queries, shard, metric) - np.abs(goal) * 2.0**-20
    for low in range(0, len(queries), DENSE):
        near = _dense(queries[low : low + DENSE], shard, start, metric) >= goal[low : low + DENSE, None]
        for query, mask in zip(queries[low : low + DENSE], near, strict=True):
            slots = np.flatnonzero(mask) + start
            yield exact_scores(query[None], shard.keys[slots][None], metric)[0], shard.rows[slots]


def _nearest(queries: np.ndarray, shard: Shard, start: int, k: int, metric: Metric) -> tuple[np.ndarray, np.ndarray]:
    """Return exact scores and rows (n, min(k, living)) of the best entries of shard[start:used] per query."""
    living = shard.live if start <= shard.start else int(shard.alive[start : shard.used].sum())
    start, wide = max(start, shard.start), min(living, k + SPARE)
    rough, slots = _candidates(queries, shard, start, wide, metric)
    scores, rows = _sort(exact_scores(queries, shard.keys[slots], metric), shard.rows[slots], metric)
    if wide == living:
        return scores[:, :k], rows[:, :k]
    slack = _slack(queries, shard, metric)
    last, kth = rough[:, -1].astype(np.float64), scores[:, k - 1].astype(np.float64)
    sure = kth > last + slack if metric == "ip" else kth * kth < last - slack
    scores, rows = scores[:, :k].copy(), rows[:, :k].copy()
    unsure = np.flatnonzero(~sure)
    better = _beyond(queries[unsure], scores[unsure, k - 1], shard, start, metric)
    for place, (all_scores, all_rows) in zip(unsure, better, strict=True):
        one, its_rows = _sort(all_scores, all_rows, metric)
        scores[place], rows[place] = one[:k], its_rows[:k]
    return scores, rows


class Bank(Store):
    """A `Store` that is searched exactly; see there for adding, eviction, payloads and state.

    A `memo` is a dict the caller keeps beside an array of queries: the bank notes in it what it has compared, and
    next time compares only entries added since (and queries appended since); after a removal, an eviction or a
    changed key it compares everything again. The result equals a search without a memo bit for bit.
    """

    def search(self, keys: np.ndarray, k: int, memo: dict[str, Any] | None = None) -> Found:
        """Return the k best entries for each query (q, width)."""
        queries = checked_keys(keys, self.width)
        if k < 1:
            raise ValueError(f"k={k}: ask for at least one entry.")
        old = self._remembered(memo, "search", queries)
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
        self._remember(memo, "search", queries, wide, scores, rows)
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
        old = self._remembered(memo, "above", queries)
        if old is not None and not np.array_equal(old.limit, limits[: len(old.keys)]):
            old = None
        known = 0 if old is None else len(old.keys)
        found = self._above(queries[known:], limits[known:], 0)
        if old is not None:
            before = list(zip(old.scores, old.rows, strict=True))
            if old.position < self.position:
                later = self._above(queries[:known], limits[:known], old.position)
                before = [
                    b
                    if not len(n[1])
                    else _sort(np.concatenate([b[0], n[0]]), np.concatenate([b[1], n[1]]), self.metric)
                    for b, n in zip(before, later, strict=True)
                ]
            found = before + found
        self._remember(memo, "above", queries, limits, [s for s, _ in found], [r for _, r in found])
        return [FoundRows(tuple(self.ids_of(r).tolist()), s.copy(), r.copy()) for s, r in found]

    def _search(self, queries: np.ndarray, k: int, since: int) -> tuple[np.ndarray, np.ndarray]:
        """Compare queries with the entries of rows `since` and later; pads with row -1."""
        worst = -np.inf if self.metric == "ip" else np.inf
        scores = np.full((len(queries), k), worst, dtype=np.float32)
        rows = np.full((len(queries), k), -1, dtype=np.int64)
        for low in range(0, len(queries), BLOCK):
            block = slice(low, low + BLOCK)
            parts = [(scores[block], rows[block])]
            parts += [_nearest(queries[block], s, start, k, self.metric) for s, start in self._since(since)]
            scores[block], rows[block] = self._merge(parts, k)
        return scores, rows

    def _above(self, queries: np.ndarray, limits: np.ndarray, since: int) -> list[tuple[np.ndarray, np.ndarray]]:
        parts = [list(_beyond(queries, limits, s, start, self.metric)) for s, start in self._since(since)]
        found = []
        for n, limit in enumerate(limits):
            scores = np.concatenate([np.empty(0, np.float32), *(p[n][0] for p in parts)])
            rows = np.concatenate([np.empty(0, np.int64), *(p[n][1] for p in parts)])
            keep = scores > limit if self.metric == "ip" else scores <= limit
            found.append(_sort(scores[keep], rows[keep], self.metric))
        return found

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
        scores, late = _sort(scores, late, self.metric)
        return scores[:, :k], np.where(late == np.iinfo(np.int64).max, -1, late)[:, :k]

    def _remembered(self, memo: dict[str, Any] | None, verb: str, queries: np.ndarray) -> _Compared | None:
        """Return what a memo holds, if it is of this bank, of these queries or the first of them, and still valid."""
        old: _Compared | None = None if memo is None else memo.get(f"{verb}:{id(self)}")
        if old is None or old.bank is not self or old.epoch != self._epoch or len(old.keys) > len(queries):
            return None
        return old if old.keys is queries or np.array_equal(old.keys, queries[: len(old.keys)]) else None

    def _remember(self, memo: dict[str, Any] | None, verb: str, queries: np.ndarray, limit: Any, *found: Any) -> None:
        if memo is not None:
            keys = queries.copy() if queries.flags.writeable else queries  # a caller may write into its array
            memo[f"{verb}:{id(self)}"] = _Compared(self, keys, self._epoch, self.position, limit, *found)
