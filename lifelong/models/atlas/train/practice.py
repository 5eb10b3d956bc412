"""Which facts the model still gets wrong, so that they are asked more often; knows fact numbers only.

Hits are gathered all the time, but a step is drawn by what was noted up to the period before its own (`period` steps
long): so what is drawn for a step never depends on how far ahead it was drawn.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

import numpy as np
import torch

_FLOOR = 0.12  # a fact that is always answered still comes back, so that it is not forgotten
_KEPT = ("running", "before", "latest")


class Practice:
    """Running share of misses of numbered facts, 1 at first."""

    def __init__(self, facts: int, period: int = 50, memory: float = 0.6) -> None:
        self.count, self.period, self._memory = facts, period, memory
        self._running = np.ones(facts, np.float32)
        self._used = np.ones(facts, np.float32)
        self._noted: dict[int, np.ndarray] = {}

    def mark(self, facts: np.ndarray, missed: np.ndarray) -> None:
        """Note whether each asked fact (number, -1 = none) was missed."""
        known = facts >= 0
        numbers, fresh = facts[known], missed[known].astype(np.float32)
        self._running[numbers] = self._memory * self._running[numbers] + (1 - self._memory) * fresh

    def renew(self, step: int) -> None:
        """Keep what has been noted so far, if a period begins at `step`, for the steps of the period after it."""
        if step % self.period == 0:
            period = step // self.period
            self._noted = {p: n for p, n in self._noted.items() if p == period - 1}
            self._noted[period] = self._running.copy()

    def noted(self, step: int) -> np.ndarray:
        """Return the practice that `step` is drawn by; steps further than one period ahead have none yet."""
        period = step // self.period - 1
        return self._noted[period] if period >= 0 else np.ones_like(self._running)

    def use(self, noted: np.ndarray) -> None:
        """Draw by this practice from now on."""
        self._used = noted

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
        latest = max(self._noted, default=0)
        kept = [self._running, *(self._noted.get(period, self._running) for period in (latest - 1, latest))]
        return {f"practice/{name}": torch.from_numpy(one) for name, one in zip(_KEPT, kept, strict=True)}

    def load(self, tensors: Mapping[str, torch.Tensor], step: int) -> None:
        """State from a checkpoint that was written before `step`; a checkpoint without it leaves the start."""
        if "practice/latest" in tensors and step:
            self._running, before, latest = (tensors[f"practice/{name}"].numpy().copy() for name in _KEPT)
            period = (step - 1) // self.period
            self._noted = {period - 1: before, period: latest}
