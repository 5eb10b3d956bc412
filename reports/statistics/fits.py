"""How well a trained editor's number is known: over streams (seeds) and over trainings (fits).

A fit is drawn by chance as a stream is. Runs that share one fit say how an editor does on other streams *given that
fit*, and nothing of how another training would do. Knows numbers only.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from reports.statistics.paired import students_95
from reports.statistics.seeds import ENOUGH, mean_of, of_seeds

FITS = 3  # fewer do not tell how fits differ: Student's t of two is 12.7 standard errors


def given(fits: Sequence[int]) -> str:
    """Return what an interval takes as given: '' of an editor without fits and from three on.

    >>> given([0, 0, 0]), given([0, 1]), given([]), given([0, 1, 2])
    ('given one fit', 'given 2 fits', '', '')
    """
    n = len(set(fits))
    return "" if n in (0, *range(FITS, n + 1)) else "given one fit" if n == 1 else f"given {n} fits"


def of_runs(values: Sequence[float], n: int, seeds: Sequence[int], fits: Sequence[int]) -> dict[str, Any]:
    """Return mean, n, the runs' own numbers and, where it can be told, the 95 % interval over seeds and fits.

    `values` (nan of a run that was not asked), `seeds` and `fits` (none of an editor that is not trained) are of the
    same runs. Where no two runs share
    a seed or a fit, or where there is nothing to tell fits apart by, it is Student's over runs. Else both spreads are
    put together: that of the seeds' means and that of the fits' means, each by Student's t, as the root of the sum
    of their squares. Either holds what is left of single runs, so it is rather too wide than too narrow.
    """
    known = [i for i, value in enumerate(values) if not math.isnan(value)]
    if len(known) < len(values):  # a run that was not asked
        own = [values[i] for i in known], [seeds[i] for i in known], [fits[i] for i in known if fits]
        return of_runs(own[0], n, own[1], own[2]) | {"seeds": list(values)}
    own = len(set(seeds)) == len(values)
    few = len(set(fits)) < FITS
    if own and (few or len(set(fits)) == len(values)):
        return of_seeds(values, n)
    out = mean_of(list(values)) | {"n": n, "seeds": list(values)}
    parts = [_half_width(values, seeds, ENOUGH)] + ([] if few else [_half_width(values, fits, FITS)])
    half = math.sqrt(sum(part * part for part in parts))
    return out if math.isnan(half) else out | {"low": out["mean"] - half, "high": out["mean"] + half}


def _half_width(values: Sequence[float], group: Sequence[int], least: int) -> float:
    """Return half of Student's 95 % interval of the mean of groups' means; nan of fewer groups than `least`."""
    parts: dict[int, list[float]] = defaultdict(list)
    for value, key in zip(values, group, strict=True):
        parts[key].append(value)
    means = [sum(part) / len(part) for part in parts.values()]
    if len(means) < least:
        return math.nan
    mean = sum(means) / len(means)
    deviation = math.sqrt(sum((m - mean) ** 2 for m in means) / (len(means) - 1))
    return students_95(len(means) - 1) * deviation / math.sqrt(len(means))
