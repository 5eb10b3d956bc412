"""Which entries leave a full bank: by a rule, or by what a user's function says that they are worth.

Knows shards and their counters; nothing of searching or of what entries mean.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal, get_args

import numpy as np

from lifelong.bank.storage.shards import Shard

Eviction = Literal["never", "fifo", "lru", "lfu"]
RULES = get_args(Eviction)


@dataclass(frozen=True)
class Usage:
    """What is known of n entries when room has to be made, in order of insertion.

    `rows` are their places in that order, `last_use` ticks (one more with each addition and each touch; `tick` is the
    present one), `uses` counts of touches, `keys` (n, width).
    """

    ids: tuple[str, ...]
    rows: np.ndarray
    last_use: np.ndarray
    uses: np.ndarray
    revisions: np.ndarray
    tick: int
    keys: np.ndarray


Value = Callable[[Usage], np.ndarray]
"""A user's function from the usage of n entries to what each is worth, (n,): the least valuable go first."""


def leaving(shards: Sequence[Shard], rule: Eviction | Value, n: int, tick: int) -> list[str]:
    """Return the ids of the n entries that leave: of equal ones the oldest.

    Raises `ValueError` when a function gives anything but one number for each entry.
    """
    if rule == "fifo":
        return list(islice((i for s in shards for i in s.ids[s.start : s.used] if i is not None), n))
    if callable(rule):
        usage = usage_of(shards, tick)
        worth = np.asarray(rule(usage), dtype=np.float64)
        if worth.shape != usage.rows.shape or np.isnan(worth).any():
            said = f"shape {worth.shape}, {int(np.isnan(worth).sum())} of them not a number"
            raise ValueError(f"the eviction function gave {said}: expected one number for each of {len(usage.ids)}.")
    else:
        worth = _column(shards, "last_use" if rule == "lru" else "uses")
    ids = _column(shards, "ids")
    return ids[np.argsort(worth, kind="stable")[:n]].tolist()


def usage_of(shards: Sequence[Shard], tick: int) -> Usage:
    """Return what is known of every living entry's use; there must be one."""
    rows, last_use, uses, revisions = (_column(shards, n) for n in ("rows", "last_use", "uses", "revisions"))
    ids = tuple(_column(shards, "ids").tolist())
    return Usage(ids, rows, last_use, uses, revisions, tick, _column(shards, "keys"))


def _column(shards: Sequence[Shard], name: str) -> np.ndarray:
    return np.concatenate([getattr(s, name)[s.living()] for s in shards])
