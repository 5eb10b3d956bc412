"""Exact answers from rough ones: whose rounded scores are near the best is scored again, in one fixed order of sums.

Knows shards and queries; nothing of ids, memos or what made the rough scores. A float32 score by any engine is within
`slack` of the true one, so that what cannot be among the k best is known without looking at it; where too many are
near, the query is compared with every key.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TypeVar

import numpy as np
import torch

from lifelong.bank.search.engine_faiss import knn_one
from lifelong.bank.search.spec import IndexSpec
from lifelong.bank.storage.shards import HUGE, Metric, Shard

SPARE = 3  # candidates beyond k that are tried first; where they are not enough, as many as WIDER, then every key
WIDER = 48
DENSE = 128  # queries whose every score is held at a time: bounds temporary memory

WORST: dict[Metric, float] = {"ip": -math.inf, "l2": math.inf}
"""The score of a missing entry; that of one that is there is finite."""
Norms = TypeVar("Norms", float, np.ndarray)
Propose = Callable[[np.ndarray, Shard, int, int], tuple[np.ndarray, np.ndarray]]
"""(queries, shard, first slot, k) -> rough scores (n, k), best first (squared distances for l2), and slots (n, k)."""


def sort(scores: np.ndarray, rows: np.ndarray, metric: Metric) -> tuple[np.ndarray, np.ndarray]:
    """Sort the last axis best first; ties by row number, missing entries (row -1, scored `WORST`) last."""
    if scores.shape[-1] == 1:
        return scores, rows
    order = np.lexsort((rows, -scores if metric == "ip" else scores), axis=-1)
    return np.take_along_axis(scores, order, -1), np.take_along_axis(rows, order, -1)


def slack(norms: Norms, width: int, shard: Shard, metric: Metric) -> Norms:
    """Return a bound on the rounding error of float32 inner products or squared distances of queries with a shard.

    `norms` are the queries' norms, (n,) or one number, as single precision has them; the result is like them. For a
    sum of d products in any order the error is d 2^-24 of the sum of their sizes, to first order; the rest is for
    adding norms and for rounding the exact score, twice.
    """
    norms = norms * (1 + width * 2.0**-23)  # a sum in single precision may be too small
    size = norms * shard.max_norm if metric == "ip" else (norms + shard.max_norm) ** 2
    return (1.01 * width + 16) * 2.0**-24 * size + 1e-30


def norms_of(queries: np.ndarray) -> np.ndarray:
    """Return the norms (n,) of queries (n, width), summed in single precision: for `slack`."""
    return np.sqrt(np.einsum("ij,ij->i", queries, queries).astype(np.float64))


def _dense(queries: np.ndarray, shard: Shard, start: int, metric: Metric) -> np.ndarray:
    """Return approximate scores (n, used - start) as "higher is better"; dead slots score not-a-number."""
    keys = torch.from_numpy(shard.keys[start : shard.used])
    product = torch.from_numpy(queries).mm(keys.T).numpy().astype(np.float64)
    if metric == "l2":
        norms = (shard.keys[start : shard.used].astype(np.float64) ** 2).sum(-1)
        product = 2 * product - norms - (queries.astype(np.float64) ** 2).sum(-1)[:, None]
    product[:, ~shard.alive[start : shard.used]] = np.nan  # never beyond anything
    return product


def beyond(
    queries: np.ndarray, floors: np.ndarray, shard: Shard, start: int, metric: Metric
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield, per query, exact scores and rows of a superset of the entries at least as good as its floor.

    `floors` (n,) are inner products or distances.
    """
    goal = floors.astype(np.float64) if metric == "ip" else -(np.maximum(floors.astype(np.float64), 0) ** 2)
    # a float32 score is within 2^-24 of itself: the relative widening keeps an exact tie inside
    goal = goal - slack(norms_of(queries), queries.shape[1], shard, metric) - np.abs(goal) * 2.0**-20
    for low in range(0, len(queries), DENSE):
        near = _dense(queries[low : low + DENSE], shard, start, metric) >= goal[low : low + DENSE, None]
        for query, mask in zip(queries[low : low + DENSE], near, strict=True):
            slots = np.flatnonzero(mask) + start
            yield exact_scores(query[None], shard.keys[slots][None], metric)[0], shard.rows[slots]


def nearest(
    queries: np.ndarray, shard: Shard, start: int, k: int, metric: Metric, propose: Propose, spare: int = SPARE
) -> tuple[np.ndarray, np.ndarray]:
    """Return exact scores and rows (n, min(k, living)) of the best entries of shard[start:used] per query.

    Each stage is for the queries that the one before could not settle.
    """
    # Some more candidates than asked for are proposed by rough scores, in float32 and in any order of sums.
    living = shard.live if start <= shard.start else int(shard.alive[start : shard.used].sum())
    start, wide = max(start, shard.start), min(living, k + spare)
    rough, slots = propose(queries, shard, start, wide)  # (n, wide) both
    if wide <= k:  # all living entries
        return sort(exact_scores(queries, shard.keys[slots], metric), shard.rows[slots], metric)
    # A rough score is off by at most `bound`. The k first have true scores of at least that of the k-th less one
    # bound, hence so has the true k-th best; and whoever scores more than two bounds less is truly below that.
    bound = slack(norms_of(queries), queries.shape[1], shard, metric)  # (n,)
    near = rough >= (rough[:, k - 1] - 2 * bound)[:, None] if metric == "ip" else (
        rough <= (rough[:, k - 1] + 2 * bound)[:, None])  # fmt: skip
    if not near[:, k:].any():  # the k first are the k best
        return sort(exact_scores(queries, shard.keys[slots[:, :k]], metric), shard.rows[slots[:, :k]], metric)
    # Whoever is near is scored again, exactly, and only those are sorted.
    which, place = np.nonzero(near)
    picked = slots[which, place]  # (candidates,)
    scores = np.full(rough.shape, WORST[metric], dtype=np.float32)
    scores[which, place] = exact_scores(queries[which], shard.keys[picked][:, None], metric)[:, 0]
    scores, rows = sort(scores, shard.rows[slots], metric)
    scores, rows = scores[:, :k].copy(), rows[:, :k].copy()
    # Where even the last candidate is near, entries that were not proposed may be as well: none of them has a rough
    # score better than the last one's, so none is truly better than that by more than one bound.
    unsure = np.flatnonzero(near[:, -1]) if wide < living else np.empty(0, dtype=np.int64)
    if len(unsure):
        last, kth = rough[unsure, -1].astype(np.float64), scores[unsure, k - 1].astype(np.float64)
        sure = kth > last + bound[unsure] if metric == "ip" else kth * kth < last - bound[unsure]
        unsure = unsure[~sure]
    if not len(unsure):
        return scores, rows
    # The rest is asked again with many candidates, and what is unsure then is compared with every key.
    if spare < WIDER:
        scores[unsure], rows[unsure] = nearest(queries[unsure], shard, start, k, metric, propose, WIDER)
        return scores, rows
    better = beyond(queries[unsure], scores[unsure, k - 1], shard, start, metric)
    for one, (all_scores, all_rows) in zip(unsure, better, strict=True):
        best, its_rows = sort(all_scores, all_rows, metric)
        scores[one], rows[one] = best[:k], its_rows[:k]
    return scores, rows


def exact_scores(queries: np.ndarray, keys: np.ndarray, metric: Metric) -> np.ndarray:
    """Return float32 scores of pairs, the same for a pair wherever and with whatever else it is computed.

    `queries` is (n, width), `keys` (n, m, width), the result (n, m): inner products, or Euclidean distances.
    Products of float32 are exact in float64 and a contiguous last axis is summed in one fixed order, so no batch
    size, shard or thread count changes a bit; a matrix product gives no such promise.
    """
    wide = queries.astype(np.float64)[:, None, :]
    if metric == "ip":
        return (wide * keys).sum(-1).astype(np.float32)
    gap = wide - keys
    return np.sqrt((gap * gap).sum(-1)).astype(np.float32)


FEW = 3  # candidates scored one after another: more are quicker together


def best_of_one(
    query: np.ndarray, shard: Shard, k: int, metric: Metric, spec: IndexSpec
) -> tuple[list[float], list[int]] | None:
    """Return exact scores and slots of the best min(k, living) entries for a query (1, width), best first.

    None where the query has to be compared otherwise: its numbers are huge or none, or too many entries are near.
    """
    row, keys, start, used, live = query[0], shard.keys, shard.start, shard.used, shard.live
    size = float(row.dot(row))
    if not size < HUGE * HUGE or not live:
        return None
    wide = min(live, k + SPARE)
    alive = None if live == used - start else shard.alive[start:used]
    values, slots = knn_one(query, keys[start:used], wide, metric, alive, spec)
    near = wide
    if wide > k:  # whoever may be among the k best comes first, as in `nearest`
        bound = 2 * slack(math.sqrt(size), len(row), shard, metric)
        cut = values[k - 1] - bound if metric == "ip" else values[k - 1] + bound
        near = k
        while near < wide and (values[near] >= cut if metric == "ip" else values[near] <= cut):
            near += 1
        if near == wide and wide < live:
            return None
    places = [slot + start for slot in slots[:near]]
    if near > FEW:
        scores = exact_scores(query, keys[places][None], metric)[0].tolist()
    else:
        exact = row.astype(np.float64)
        scores = [_score(exact, keys[place], metric) for place in places]
    if near == 1:
        return scores, places
    sign = -1 if metric == "ip" else 1
    order = sorted(range(near), key=lambda i: (sign * scores[i], places[i]))[:k]  # slots are in order of insertion
    return [scores[i] for i in order], [places[i] for i in order]


def _score(query: np.ndarray, key: np.ndarray, metric: Metric) -> float:
    """Return `exact_scores` of one pair; `query` (width,) is float64 already."""
    if metric == "ip":
        return float(np.float32(np.add.reduce(query * key)))
    gap = query - key
    return float(np.float32(np.sqrt(np.add.reduce(gap * gap))))
