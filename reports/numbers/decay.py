"""How retention decays: not at all, gradually, or with a catastrophe after a change point. Knows numbers only.

Gradual decay is a line that falls with the number of edits or with its logarithm. A catastrophe is such a line that
drops at once between two panels, or falls faster from one panel on. Points weigh by their binomial error; a change
point costs two parameters more, and the Bayesian information criterion says whether it is worth them (piecewise
against a single slope). What falls at the change point must also be more than what the line loses by itself.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

BEFORE, AFTER = 3, 2  # panels on either side of a change point, at least
LOSS = 0.1  # of retention: losing less is no decay, dropping by less no catastrophe
STRONG = 6.0  # BIC: what Kass and Raftery (1995) call strong evidence


@dataclass(frozen=True)
class Decay:
    """`kind` is none, gradual, catastrophic, or unknown where there are too few panels.

    `between` has the two steps around the change point of a catastrophe, `drop` what is lost there; `gain` is by how
    much BIC prefers a change point.
    """

    kind: str
    between: tuple[int, int] | None = None
    drop: float = math.nan
    gain: float = math.nan


def decay(steps: Sequence[int], means: Sequence[float], n: Sequence[int]) -> Decay:
    """Return how means of `n` right or wrong answers decay over steps; five panels are the least that can tell."""
    order = np.argsort(steps)
    x, y = np.asarray(steps, float)[order], np.asarray(means, float)[order]
    count = np.asarray(n, float)[order]
    if len(x) < BEFORE + AFTER:
        return Decay("unknown")
    share = (y * count + 1) / (count + 2)  # a few right answers of a few do not mean that there is no error
    root = np.sqrt(count / (share * (1 - share)))
    flat, _ = _fit(y, root, [])
    courses = {name: ruler / ruler[-1] for name, ruler in (("edits", x), ("logarithm", np.log1p(x)))}
    single = {name: _fit(y, root, [course]) for name, course in courses.items()}
    error, fallen = min(single.values(), key=lambda found: found[0])
    pieces = []
    for cut in range(BEFORE, len(x) - AFTER + 1):
        shapes = ((x >= x[cut]).astype(float), np.maximum(0.0, x - x[cut - 1]) / (x[-1] - x[cut - 1]))
        pieces += [(*_fit(y, root, [c, shape]), cut, c) for shape in shapes for c in courses.values()]
    best, (own, drop), cut, course = min(pieces, key=lambda found: found[0])
    gain = error - best - 2 * math.log(len(x))
    if gain > STRONG and drop > max(LOSS, own * float(course[-1] - course[0])):
        return Decay("catastrophic", (int(x[cut - 1]), int(x[cut])), drop, gain)
    if flat - error - math.log(len(x)) > STRONG and fallen[0] > LOSS:
        return Decay("gradual", None, math.nan, gain)
    return Decay("none", None, math.nan, gain)


def _fit(y: np.ndarray, root: np.ndarray, falls: Sequence[np.ndarray]) -> tuple[float, tuple[float, ...]]:
    """Return the weighted squares about y = level - sum of falls (each 0 or more), and how far each falls.

    A fall that would rise is left out: retention does not come back.
    """
    kept = list(range(len(falls)))
    while True:
        columns = np.stack([np.ones_like(y), *(-falls[i] for i in kept)], axis=1) * root[:, None]
        found = np.linalg.lstsq(columns, y * root, rcond=None)[0]
        rising = [i for i, size in zip(kept, found[1:], strict=True) if size < 0]
        if not rising:
            break
        kept.remove(min(rising, key=lambda i: found[1 + kept.index(i)]))
    sizes = dict(zip(kept, found[1:].tolist(), strict=True))
    squares = float(np.sum((columns @ found - y * root) ** 2))
    return squares, tuple(sizes.get(i, 0.0) for i in range(len(falls)))
