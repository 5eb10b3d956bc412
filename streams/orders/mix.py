"""Orders by kind: one domain in a burst after another, and a mix of domains that drifts. Knows edits and their kinds.

What a kind is, the stream says: a group of things, or else the relation.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

import numpy as np

from streams.types import Edit

BURST = 20  # edits of one kind on end
STRETCH = 50  # edits: how long each kind has its turn in a drift
BLUR = 1.5  # stretches: how far from the middle of its own one a kind is still met


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
    """Return the edits so that kinds come and go one by one, round after round, while there are edits of them.

    Each kind has its stretch of `STRETCH` places, and is met ever more rarely up to `BLUR` stretches from its middle.
    """
    kinds = [deque(own) for _, own in _kinds(edits, kind_of, rng)]
    kinds = [kinds[int(i)] for i in rng.permutation(len(kinds))]
    result: list[Edit] = []
    for place, share in enumerate(rng.random(len(edits)).tolist()):
        now = int(place / STRETCH)
        near_by = [s for s in range(max(0, now - 2), now + 3) if kinds[s % len(kinds)]]
        weights = [max(0.0, BLUR - abs((place + 0.5) / STRETCH - s - 0.5)) for s in near_by]
        if sum(weights):
            sums = np.cumsum(weights)
            chosen = near_by[int(np.searchsorted(sums, share * sums[-1], side="right").clip(max=len(sums) - 1))]
        else:  # all kinds of this time are used up: the next one that is not
            chosen = next(s for s in range(now, now + len(kinds)) if kinds[s % len(kinds)])
        result.append(kinds[chosen % len(kinds)].popleft())
    return result


def _kinds(
    edits: Sequence[Edit], kind_of: Callable[[Edit], str], rng: np.random.Generator
) -> list[tuple[str, list[Edit]]]:
    """Return the kinds by name with their edits in a random order."""
    found: dict[str, list[Edit]] = {}
    for i in rng.permutation(len(edits)):
        found.setdefault(kind_of(edits[int(i)]), []).append(edits[int(i)])
    return sorted(found.items())
