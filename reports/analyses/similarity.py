"""How alike two questions are, by their words alone: the cosine of their counts of letter trigrams.

Knows texts and pictures' names; no model, since reports know none. Two questions may also show the same picture.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

_CHUNK = 1024  # texts compared at a time


def trigram_counts(text: str) -> Counter[str]:
    """Return the counts of a text's letter trigrams, cases and spaces folded, with one space about it.

    >>> list(trigram_counts("Ab  c"))
    [' ab', 'ab ', 'b c', ' c ']
    """
    plain = f" {' '.join(text.casefold().split())} "
    return Counter(plain[i : i + 3] for i in range(len(plain) - 2))


def cosines(texts: Sequence[str], others: Sequence[str]) -> np.ndarray:
    """Return the cosine of every text with every other one, (len(texts), len(others)), between 0 and 1.

    A text without a single trigram is alike nothing.
    """
    counted, compared = _rows(texts, place := {}), _rows(others, place)
    width = max(1, len(place))
    right = _dense(compared, width)
    out = np.zeros((len(texts), len(others)), np.float32)
    for start in range(0, len(texts), _CHUNK):
        out[start : start + _CHUNK] = _dense(counted[start : start + _CHUNK], width) @ right.T
    return np.clip(out, 0, 1)


def _rows(texts: Sequence[str], place: dict[str, int]) -> list[dict[int, int]]:
    return [{place.setdefault(t, len(place)): n for t, n in trigram_counts(text).items()} for text in texts]


def _dense(rows: Sequence[dict[int, int]], width: int) -> np.ndarray:
    """Return rows of unit length, (n, width)."""
    out = np.zeros((len(rows), width), np.float32)
    for i, row in enumerate(rows):
        out[i, list(row)] = list(row.values())
    lengths = np.linalg.norm(out, axis=1, keepdims=True)
    return out / np.where(lengths > 0, lengths, 1)
