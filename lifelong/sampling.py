"""Which past edits and queries stand for all of them: by age, and for latency.

Pure functions of their arguments. Drawing has a random stream of its own, so measuring changes nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from streams.types import Query

_LATENCY = 0x6C6174  # names the random stream of `draw` among those of one seed


def draw(queries: Sequence[Query], n: int, seed: int, step: int) -> list[Query]:
    """Return n queries drawn for one step, without repetition where there are enough.

    The same arguments always give the same queries; raises `ValueError` when there is nothing to draw from.
    """
    if not queries and n:
        raise ValueError("Latency needs at least one past probe to draw from; none was given.")
    rng = np.random.default_rng(np.random.SeedSequence([seed, _LATENCY, step]))
    picked = rng.choice(len(queries), size=n, replace=len(queries) < n) if n else []
    return [queries[int(i)] for i in picked]


def log_age_sample(history: Sequence[str], n: int) -> list[str]:
    """Return n edits whose ages are spread evenly on a logarithmic axis, in order of history (all when fewer).

    Age 1 is the newest. Young ages come whole; the same history always gives the same sample.

    >>> log_age_sample("abcdefgh", 4)
    ['a', 'e', 'g', 'h']
    """
    if len(history) <= n:
        return list(history)
    marks = n
    ages = np.unique(np.rint(np.geomspace(1, len(history), marks)).astype(int))
    while len(ages) < n:
        marks += max(1, n - len(ages))
        ages = np.unique(np.rint(np.geomspace(1, len(history), marks)).astype(int))
    if len(ages) > n:  # one round can overshoot: leave out evenly, never the oldest or the newest
        ages = ages[np.unique(np.rint(np.linspace(0, len(ages) - 1, n)).astype(int))]
    return [history[len(history) - int(age)] for age in ages[::-1]]
