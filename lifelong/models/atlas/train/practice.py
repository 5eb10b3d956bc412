"""Which facts the model still gets wrong, so that they are asked more often; knows fact numbers only.

Hits are gathered all the time, but draws use a copy that is renewed every `period` steps: so what is drawn
for a step never depends on how far ahead it was drawn.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

import numpy as np
import torch

_FLOOR = 0.12  # a fact that is always answered still comes back, so that it is not forgotten


class Practice:
    """Running share of misses of numbered facts, 1 at first."""

    def __init__(self, facts: int, period: int = 50, memory: float = 0.6) -> None:
        self.count, self.period, self._memory = facts, period, memory
        self._running = np.ones(facts, np.float32)
        self._used = np.ones(facts, np.float32)

    def mark(self, facts: np.ndarray, missed: np.ndarray) -> None:
        """Note whether each asked fact (number, -1 = none) was missed."""
        known = facts >= 0
        numbers, fresh = facts[known], missed[known].astype(np.float32)
        self._running[numbers] = self._memory * self._running[numbers] + (1 - self._memory) * fresh

    def renew(self) -> None:
        """Use what has been noted so far for the draws to come."""
        self._used = self._running.copy()

    def need(self, fact: int) -> float:
        """How much a fact needs practice, _FLOOR to 1."""
        return _FLOOR + (1 - _FLOOR) * float(self._used[fact])

    def order(self, facts: Sequence[int], rng: random.Random) -> list[int]:
        """Places of `facts` in random order, needy ones first (weighted sampling without replacement)."""
        keys = [rng.expovariate(1.0) / self.need(fact) for fact in facts]
        return sorted(range(len(facts)), key=keys.__getitem__)

    def mean_miss(self) -> float:
        """Mean running share of misses."""
        return float(self._running.mean())

    def tensors(self) -> dict[str, torch.Tensor]:
        """State for a checkpoint."""
        running, used = torch.from_numpy(self._running), torch.from_numpy(self._used)
        return {"practice/running": running, "practice/used": used}

    def load(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """State from a checkpoint; a checkpoint without it leaves the start."""
        if "practice/running" in tensors:
            self._running = tensors["practice/running"].numpy().copy()
            self._used = tensors["practice/used"].numpy().copy()
