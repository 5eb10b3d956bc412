"""What a caller keeps beside its queries so that only what is new is compared: a memo, and when it still holds.

Knows arrays; nothing of how they are searched.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Compared:
    """Queries, what they were compared with (a bank in an epoch, its rows below `position`), and what was found."""

    bank: object
    keys: np.ndarray
    epoch: int
    position: int
    limit: Any  # k, or the thresholds
    scores: Any
    rows: Any


def remembered(
    memo: dict[str, Any] | None, bank: object, epoch: int, verb: str, queries: np.ndarray
) -> Compared | None:
    """Return what a memo holds, if it is of this bank, of these queries or the first of them, and still valid."""
    old: Compared | None = None if memo is None else memo.get(f"{verb}:{id(bank)}")
    if old is None or old.bank is not bank or old.epoch != epoch or len(old.keys) > len(queries):
        return None
    return old if old.keys is queries or np.array_equal(old.keys, queries[: len(old.keys)]) else None


def remember(memo: dict[str, Any] | None, verb: str, compared: Compared) -> None:
    """Keep a comparison in a memo, if there is one; a caller may write into its array afterwards."""
    if memo is not None:
        keys = compared.keys
        memo[f"{verb}:{id(compared.bank)}"] = replace(compared, keys=keys.copy() if keys.flags.writeable else keys)
