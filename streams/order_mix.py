"""Orders by kind: one domain in a burst after another, and a mix of domains that drifts. Knows edits and their kinds.

What a kind is, the stream says: a group of things, or else the relation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from streams.types import Edit

BURST = 20  # edits of one kind on end
BLUR = 0.15  # of the whole stream: how far beyond its own stretch a kind is still met


def bursts(edits: Sequence[Edit], kind_of: Callable[[Edit], str], rng: np.random.Generator) -> list[Edit]:
    """Return the edits in bursts of `BURST` of one kind (its last one may be shorter), neighbours of two kinds.

    Two bursts of one kind meet only where no other kind is left.
    """
    waiting: list[tuple[str, list[Edit]]] = []
    for kind, own in _kinds(edits, kind_of, rng):
        waiting += [(kind, own[i : i + BURST]) for i in range(0, len(own), BURST)]
    waiting = [waiting[int(i)] for i in rng.permutation(len(waiting))]
    result: list[Edit] = []
    last = None
    while waiting:
        at = next((i for i, (kind, _) in enumerate(waiting) if kind != last), 0)
        last, burst = waiting.pop(at)
        result += burst
    return result


def drift(edits: Sequence[Edit], kind_of: Callable[[Edit], str], rng: np.random.Generator) -> list[Edit]:
    """Return the edits so that kinds come and go one by one, each over its own stretch and `BLUR` on either side."""
    kinds = _kinds(edits, kind_of, rng)
    places: list[float] = []
    flat: list[Edit] = []
    begin = 0.0
    for i in rng.permutation(len(kinds)):
        own = kinds[int(i)][1]
        end = begin + len(own) / len(edits)
        places += rng.uniform(begin - BLUR, end + BLUR, len(own)).tolist()
        flat += own
        begin = end
    return [flat[int(i)] for i in np.argsort(places, kind="stable")]


def _kinds(
    edits: Sequence[Edit], kind_of: Callable[[Edit], str], rng: np.random.Generator
) -> list[tuple[str, list[Edit]]]:
    """Return the kinds by name with their edits in a random order."""
    found: dict[str, list[Edit]] = {}
    for i in rng.permutation(len(edits)):
        found.setdefault(kind_of(edits[int(i)]), []).append(edits[int(i)])
    return sorted(found.items())
