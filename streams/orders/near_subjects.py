"""Orders by likeness: near-duplicates one after another, and the edits of one picture together.

Knows texts and pictures' digests only. Likeness is that of letters: it stands in for what a text encoder finds alike,
and knows no meaning.
"""

from __future__ import annotations

import functools
import zlib
from collections.abc import Callable, Sequence

import numpy as np

from streams.types import Edit

BINS = 512


@functools.lru_cache(maxsize=1 << 14)
def letters(text: str) -> np.ndarray:
    """Return a unit vector (BINS,) of a text's triples of letters, case folded; two texts' product is their likeness.

    >>> round(float(letters("red fox") @ letters("Red Fox")), 6)
    1.0
    >>> float(letters("red fox") @ letters("red foxes")) > float(letters("red fox") @ letters("blue bird"))
    True
    """
    padded = f"  {text.casefold()}  "
    counts = np.zeros(BINS, dtype=np.float64)
    for i in range(len(padded) - 2):
        counts[zlib.crc32(padded[i : i + 3].encode()) % BINS] += 1
    counts /= np.linalg.norm(counts)
    counts.flags.writeable = False  # the same array is returned again
    return counts


def near_duplicates(edits: Sequence[Edit], name_of: Callable[[Edit], str], rng: np.random.Generator) -> list[Edit]:
    """Return the edits as a chain: each is followed by the one left whose name is most like its own."""
    if not edits:
        return []
    names = np.stack([letters(name_of(edit)) for edit in edits])
    left = np.ones(len(edits), dtype=bool)
    at = int(rng.integers(len(edits)))
    chain = [edits[at]]
    while len(chain) < len(edits):
        left[at] = False
        at = int(np.argmax(np.where(left, np.round(names @ names[at], 9), -1.0)))  # rounded: ties go by place
        chain.append(edits[at])
    return chain


def same_image(edits: Sequence[Edit], rng: np.random.Generator) -> list[Edit]:
    """Return the edits with those of one picture (without one: of one subject) one after another."""
    groups: dict[str, list[Edit]] = {}
    for i in rng.permutation(len(edits)):
        edit = edits[int(i)]
        groups.setdefault(edit.query.image.digest if edit.query.image else f"text/{edit.subject}", []).append(edit)
    return [edit for group in groups.values() for edit in group]
