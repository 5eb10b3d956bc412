"""The shortest exact way for one query and one shard: what a system that serves queries one at a time does all day.

Knows shards; nothing of ids, memos or payloads. It gives what `rescore.nearest` gives, bit for bit, with a few Python
numbers where that one handles arrays, and leaves to it whatever is not plain.
"""

from __future__ import annotations

import math

import numpy as np

from lifelong.bank.search.engine_faiss import knn_one
from lifelong.bank.search.exact import SPARE
from lifelong.bank.search.spec import IndexSpec
from lifelong.bank.storage.shards import HUGE, Metric, Shard, exact_scores

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
    near, width = wide, len(row)
    if wide > k:
        norm = math.sqrt(size) * (1 + width * 2.0**-23)  # a sum in single precision may be too small
        scale = norm * shard.max_norm if metric == "ip" else (norm + shard.max_norm) ** 2
        bound = 2 * ((1.01 * width + 16) * 2.0**-24 * scale + 1e-30)  # twice the slack of `rescore`
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
