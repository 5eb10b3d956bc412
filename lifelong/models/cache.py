"""A cache with a budget in bytes that forgets what was used longest ago.

Knows nothing about what it keeps; the caller says how many bytes a value takes.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, device


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

    def anew(self, part: int = 1) -> ByteCache:
        """Return an empty cache of the same kind with the same budget, or a `part`-th of it."""
        return ByteCache(self.budget_bytes // part)

    def clear(self) -> None:
        """Forget everything."""
        self._kept.clear()
        self.used_bytes = 0


class TieredCache(ByteCache):
    """A cache of which the tensors of a device lie there, `near_bytes` at most, and those used longest ago in the
    host's memory, from which they come back when they are wanted."""

    def __init__(self, budget_bytes: int, near_bytes: int) -> None:
        super().__init__(budget_bytes)
        self.near_bytes = near_bytes
        self.near_used_bytes = 0
        self._near: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept) + len(self._near)

    def __contains__(self, key: Hashable) -> bool:
        return key in self._near or key in self._kept

    def get(self, key: Hashable) -> Any | None:
        """Return the value, on the device that it was put from, and mark it as used; None where it is not kept."""
        if key in self._near:
            self.hits += 1
            self._near.move_to_end(key)
            return self._near[key][0]
        found = super().get(key)
        if not isinstance(found, _Away):
            return found
        value = found.tensor.to(found.device)
        self.put(key, value, value.numel() * value.element_size())
        return value

    def put(self, key: Hashable, value: Any, nbytes: int) -> None:
        """Keep a value; one larger than the budget is not kept at all."""
        old = self._near.pop(key, None)
        self.near_used_bytes -= old[1] if old is not None else 0
        far = not isinstance(value, Tensor) or value.device.type == "cpu"
        if far or nbytes > self.near_bytes:
            super().put(key, value if far else _Away(value.cpu(), value.device), nbytes)
            return
        super().put(key, None, self.budget_bytes + 1)  # no longer in the host's memory
        self._near[key] = (value, nbytes)
        self.near_used_bytes += nbytes
        while self.near_used_bytes > self.near_bytes:
            name, (tensor, size) = self._near.popitem(last=False)
            self.near_used_bytes -= size
            super().put(name, _Away(tensor.cpu(), tensor.device), size)

    def anew(self, part: int = 1) -> TieredCache:
        """Return an empty cache of the same kind with the same budgets, or a `part`-th of them."""
        return TieredCache(self.budget_bytes // part, self.near_bytes // part)

    def clear(self) -> None:
        """Forget everything."""
        super().clear()
        self._near.clear()
        self.near_used_bytes = 0


@dataclass(frozen=True, eq=False)
class _Away:
    """A tensor in the host's memory, and the device that it belongs to."""

    tensor: Tensor
    device: device
