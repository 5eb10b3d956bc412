"""What an editor learnt as points in two dimensions, for a picture. Knows no editor and draws nothing."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from streams.types import Pool


@dataclass(frozen=True)
class Space:
    """Points of one space in two dimensions, `before` and `after` training (n, 2), with a kind and a number each.

    `separation` is the share of points whose nearest neighbour in the full space is alike, before and after; what
    alike means, and where the space lies, is `about`'s to say.
    """

    name: str
    about: str
    before: np.ndarray
    after: np.ndarray
    kinds: tuple[str, ...]
    numbers: np.ndarray
    separation: tuple[float, float]


class HasSpaces(ABC):
    """Beside `Editor`: an editor that can show what its `fit` learnt."""

    @abstractmethod
    def spaces(self, pool: Pool) -> Sequence[Space]:
        """Return spaces for the edits and questions of a pool; called after `fit` or `load_fitted`."""
