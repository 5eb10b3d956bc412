"""A cache with a budget in bytes that forgets what was used longest ago.

Knows nothing about what it keeps; the caller says how many bytes a value takes.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Any


class ByteCache:
    """Values by key, least recently used out first, never more than `budget_bytes` in all."""

    def __init__(self, budget_bytes: int) -> None:
        if budget_bytes < 0:
            raise ValueError(f"cache_bytes={budget_bytes}: expected 0 (keep nothing) or a positive number of bytes.")
        self.budget_bytes = budget_bytes
        self.used_bytes = 0
        self.hits = 0
        self.misses = 0
        self._kept: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def __contains__(self, key: Hashable) -> bool:
        return key in self._kept

    def get(self, key: Hashable) -> Any | None:
        """Return the value and mark it as used, or None where it is not kept."""
        found = self._kept.get(key)
        if found is None:
            self.misses += 1
            return None
        self.hits += 1
        self._kept.move_to_end(key)
        return found[0]

    def put(self, key: Hashable, value: Any, nbytes: int) -> None:
        """Keep a value; one larger than the whole budget is not kept at all."""
        old = self._kept.pop(key, None)
        if old is not None:
            self.used_bytes -= old[1]
        if nbytes > self.budget_bytes:
            return
        self._kept[key] = (value, nbytes)
        self.used_bytes += nbytes
        while self.used_bytes > self.budget_bytes:
            _, (_, freed) = self._kept.popitem(last=False)
            self.used_bytes -= freed

    def clear(self) -> None:
        """Forget everything."""
        self._kept.clear()
        self.used_bytes = 0
