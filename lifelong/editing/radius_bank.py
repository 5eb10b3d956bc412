"""A bank whose entries reach as far as a radius: what lies inside one, and what a new key is to its nearest one.

The deferral rule that GRACE (arXiv 2211.11031) and MELO (arXiv 2312.11795) have in common. Knows keys, radii and
whether two labels are equal; nothing of edits, values, clusters or models.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from lifelong.bank import Bank

Label = tuple[int, ...]
"""The tokens of an edit's target: labels are equal where all tokens are."""
Judgement = Literal["far", "join", "conflict"]

# A radius may equal the distance of an edit's own key; the same key, computed in another batch, differs by
# rounding. This relative slack keeps such an edit in scope and is far below any gap between two edits.
SLACK = 1e-4


def nearness(distance: float) -> float | None:
    """Return a distance as `Route.best` has it, negated; None where there was no entry to be near to.

    >>> nearness(2.5), nearness(math.inf)
    (-2.5, None)
    """
    return -distance if math.isfinite(distance) else None


class RadiusBank(Bank):
    """Euclidean keys with a radius each; a new entry begins with `radius`. Of equally near entries the first wins."""

    def __init__(self, width: int, radius: float, *, index: str = "flat") -> None:
        super().__init__(width, metric="l2", index=index)
        self.radius = radius

    def put(self, entry: str, key: np.ndarray, radius: float, payloads: Mapping[str, Tensor] | None = None) -> None:
        """Add one entry: its key (width,) and payloads with one leading row."""
        self.add([entry], key.reshape(1, -1), {"radius": torch.tensor([[radius]]), **(payloads or {})})

    def resize(self, entry: str, radius: float) -> None:
        """Give an entry another radius."""
        self.update(entry, payloads={"radius": torch.tensor([radius])})

    def radii(self, entries: Sequence[str] | None = None) -> list[float]:
        """Return the radii of some entries (all by default, in order of storing)."""
        names = self.ids() if entries is None else entries
        return self.payload("radius", self.rows_of(names)).reshape(-1).tolist() if names else []

    def nearest(self, keys: np.ndarray, *, without: Collection[str] = ()) -> list[tuple[str, float]]:
        """Return, per key row, the nearest entry and its distance; there must be one but those `without`."""
        found = self.search(keys, 1 + len(without))
        pairs = (zip(ids, scores, strict=True) for ids, scores in zip(found.ids, found.scores.tolist(), strict=True))
        return [next((i, d) for i, d in row if i not in without) for row in pairs]

    def judge(self, near: str, distance: float, same_label: bool) -> Judgement:
        """Return what a new key is to its nearest entry: beyond both radii, of its label, or in conflict with it."""
        if distance > self.radius + self.radii([near])[0]:
            return "far"
        return "join" if same_label else "conflict"

    def inside(self, keys: np.ndarray, memo: dict[str, Any] | None = None) -> list[tuple[str | None, float]]:
        """Return, per key row, the nearest entry (None outside its radius) and its distance (inf without any)."""
        if not len(self) or not len(keys):
            return [(None, math.inf)] * len(keys)
        found = self.search(keys, 1, memo)
        radii = self.payload("radius", found.rows[:, 0]).reshape(-1).tolist()
        pairs = zip(found.ids, found.scores[:, 0].tolist(), radii, strict=True)
        return [(ids[0] if d <= radius + abs(radius) * SLACK else None, d) for ids, d, radius in pairs]
