"""Questions compared by the letters they share: sets of trigrams, and an index of such sets with a picture each.

Knows texts and digests; nothing of edits, facts or models, and learns nothing.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

COUNTED = 128
"""Trigrams of a question that count; of a longer one those of the smallest hash, which are a fair sample."""
NO_TRIGRAM = np.uint64(2**64 - 1)
"""Fills up the row of a question that has fewer."""
_MIX = np.uint64(0x9E3779B97F4A7C15)  # odd: no two trigrams get one code


def trigrams(text: str) -> np.ndarray:
    """Return the codes (n,) uint64 of a text's distinct trigrams, ascending, at most `COUNTED`.

    Capitals, punctuation and spaces do not count; words are told apart by one space, and one stands at either end. A
    text without any letter or digit is taken as it is.

    >>> np.array_equal(trigrams("Who made it?"), trigrams(" who MADE: it"))
    True
    """
    plain = text.casefold()
    words = "".join(c if c.isalnum() else " " for c in plain).split()
    spelt = f" {' '.join(words) or plain} ".ljust(3)
    letters = np.frombuffer(spelt.encode("utf-32-le", "surrogatepass"), dtype=np.uint32).astype(np.uint64)
    packed = letters[:-2] << np.uint64(42) | letters[1:-1] << np.uint64(21) | letters[2:]
    return np.unique(packed * _MIX)[:COUNTED]


class Alike(NamedTuple):
    """A stored question and the share of trigrams that it has in common with another: the Jaccard index, above 0."""

    id: str
    jaccard: float


class TrigramIndex:
    """Questions by id, each a set of trigrams and the picture that it is about; of equally near ones the oldest wins.

    An inverted index: a search counts the stored occurrences of its trigrams, and divides once a stored question.
    """

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self._codes: dict[str, tuple[np.ndarray, bytes]] = {}  # id -> its trigrams and picture, oldest first
        self._slot: dict[str, int] = {}
        self._ids: list[str] = []  # by slot; that of a question that is gone stays, with nothing in common with any
        self._sizes, self._groups = array("q"), array("q")
        self._group: dict[bytes, int] = {}  # picture -> its number
        self._places: dict[int, array[int]] = {}  # trigram -> slots of the questions that have it

    def __len__(self) -> int:
        return len(self._slot)

    def __contains__(self, question_id: str) -> bool:
        return question_id in self._slot

    def add(self, question_id: str, codes: np.ndarray, picture: bytes) -> None:
        """Store a question; raises `ValueError` where its id is stored already."""
        if question_id in self._slot:
            raise ValueError(f"Edit {question_id!r} is stored already; withdraw it first.")
        slot = self._slot[question_id] = len(self._ids)
        self._codes[question_id] = codes, picture
        self._ids.append(question_id)
        self._sizes.append(len(codes))
        self._groups.append(self._group.setdefault(picture, len(self._group)))
        for code in codes.tolist():
            self._places.setdefault(code, array("q")).append(slot)

    def remove(self, question_id: str) -> None:
        """Forget a question; one that is not stored is passed over."""
        slot = self._slot.pop(question_id, None)
        if slot is None:
            return
        for code in self._codes.pop(question_id)[0].tolist():
            self._places[code].remove(slot)
            if not self._places[code]:
                del self._places[code]
        if len(self._ids) > 64 + 2 * len(self._slot):  # most slots are empty
            kept = self._codes
            self._reset()
            for other, (codes, picture) in kept.items():
                self.add(other, codes, picture)

    def nbytes(self) -> int:
        """Return the bytes of the stored trigrams, 8 each."""
        return 8 * sum(len(codes) for codes, _ in self._codes.values())

    def nearest(self, codes: np.ndarray, picture: bytes) -> tuple[Alike | None, Alike | None]:
        """Return the nearest question about the same picture, and the nearest about another; None: nothing shared."""
        held = [self._places[code] for code in codes.tolist() if code in self._places]
        if not held:
            return None, None
        slots = np.concatenate([np.frombuffer(places, dtype=np.int64) for places in held])
        shared = np.bincount(slots, minlength=len(self._ids))
        jaccard = shared / (np.array(self._sizes) + len(codes) - shared)
        same = np.array(self._groups) == self._group.get(picture, -1)
        return self._best(np.where(same, jaccard, 0.0)), self._best(np.where(same, 0.0, jaccard))

    def _best(self, jaccard: np.ndarray) -> Alike | None:
        slot = int(jaccard.argmax())
        return Alike(self._ids[slot], float(jaccard[slot])) if jaccard[slot] > 0 else None


def padded_rows(codes: Sequence[np.ndarray]) -> np.ndarray:
    """Return sets of trigrams as rows (n, COUNTED) of one array, filled up with `NO_TRIGRAM`."""
    out = np.full((len(codes), COUNTED), NO_TRIGRAM)
    for row, one in zip(out, codes, strict=True):
        row[: len(one)] = one
    return out
