"""Shares and percentiles of waiting times over independent replications, with intervals. Knows numbers only.

Waiting times of one simulation follow each other: who comes after somebody who waited long waits long too. So their
number does not say how well a percentile is known; other simulations of the same thing, drawn apart, do. Every
replication counts as one sample here. A share is that of all queries together; its interval is Student's of the
replications, on the scale of log odds. A percentile is a value that was measured; its interval holds
every value of which the share of queries at or below it may be the one asked for. Student's t of the replications'
log percentiles covers less: the p99 of a short replication is too low on average.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from reports.statistics.percentiles import percentile
from reports.statistics.seeds import ENOUGH, student

WARM_UP = 0.1
"""The share of the time, from its beginning, that is left out: the system begins empty."""
LEAST_BEYOND = 12
"""Independent samples that must lie beyond a percentile. With fewer the interval of a p99 covered 44 to 84 % in
queues at utilisation .8 and .9, with so many at least 90 % (10 replications of 300 to 10,000 queries)."""


@dataclass(frozen=True)
class Replicated:
    """A number over replications with its 95 % interval, not-a-number where there is none.

    `n` are all samples together, `effective_n` so many independent ones as say as much (not a number below five
    replications).
    """

    value: float
    low: float
    high: float
    n: int
    effective_n: float
    replications: int

    @property
    def known(self) -> bool:
        """Whether there is an interval."""
        return not math.isnan(self.low)

    def text(self, scale: float = 1.0, digits: int = 2) -> str:
        """Return it as a table shows it: value [low, high]; value alone, or '-', where it is not known.

        >>> Replicated(0.5, 0.4, 0.6, 1000, 80.0, 10).text(1000, 0)
        '500 [400, 600]'
        """
        if math.isnan(self.value):
            return "-"
        low, value, high = (f"{x * scale:.{digits}f}" for x in (self.low, self.value, self.high))
        return f"{value} [{low}, {high}]" if self.known else value


@dataclass(frozen=True)
class Replicate:
    """What one replication measured after its warm-up, in seconds.

    `response_s` and `stale` by query, `lag_s` by edit (from its arrival until it is visible everywhere). `counted_s`
    is how long arrivals were counted. Over the whole time: `busy`, the share of all workers' time that they served,
    and `load`, the work that arrived in the same units.
    """

    response_s: np.ndarray
    stale: np.ndarray
    lag_s: np.ndarray
    counted_s: float
    busy: float
    load: float


def after_warm_up(arrived_s: np.ndarray, span_s: float | np.ndarray) -> np.ndarray:
    """Return which arrivals are counted: all but those of the first tenth (`WARM_UP`) of their run's time."""
    return np.asarray(arrived_s) >= WARM_UP * span_s


def share_over(good: Sequence[int] | np.ndarray, n: Sequence[int] | np.ndarray) -> Replicated:
    """Return the share of good ones in all replications together; `good` and `n` count them by replication.

    Without any sample it is not a number. Where all are good the interval is that of all but one, so it never
    claims certainty. Raises `ValueError` for counts that do not fit.
    """
    counts, sizes = np.asarray(good, float), np.asarray(n, float)
    if counts.shape != sizes.shape or (counts < 0).any() or (counts > sizes).any():
        raise ValueError(
            f"good={counts.tolist()} of n={sizes.tolist()}: expected as many counts, each at most its n."
        )
    total = int(sizes.sum())
    if not total:
        return Replicated(math.nan, math.nan, math.nan, 0, math.nan, len(sizes))
    value = float(counts.sum()) / total
    if len(sizes) < ENOUGH:
        return Replicated(value, math.nan, math.nan, total, math.nan, len(sizes))
    low, high, _, effective_n = _odds_interval(counts, sizes)
    return Replicated(value, low, high, total, effective_n, len(sizes))


def percentiles_over(parts: Sequence[np.ndarray], shares: Sequence[float]) -> tuple[Replicated, ...]:
    """Return percentiles of all replications' samples together (.99: p99); `parts` has one array of each replication.

    One is refused (not a number) where fewer than `LEAST_BEYOND` independent samples lie beyond it, by the effective
    number of samples of the median, or where an end of its interval is beyond all samples. Below five replications
    values have no interval, and are refused as `reports.statistics.percentiles` refuses them. Raises `ValueError` for
    a share that is not between 0 and 1, and for samples that are not numbers.
    """
    arrays = [np.sort(np.asarray(part, float)) for part in parts]
    pooled = np.sort(np.concatenate(arrays), kind="stable") if arrays else np.empty(0)  # merges what is sorted
    plain = [percentile(pooled, share) for share in shares]  # checks what was given
    if len(arrays) < ENOUGH or not len(pooled):
        nan = math.nan
        return tuple(Replicated(p.value, nan, nan, len(pooled), nan, len(arrays)) for p in plain)
    sizes = np.array([len(part) for part in arrays], float)

    def interval(value: float, side: str) -> tuple[float, float, int, float]:
        """The interval of the share of samples at or below a value (right), or below it (left)."""
        found = np.array([np.searchsorted(part, value, side=side) for part in arrays], float)  # pyright: ignore
        return _odds_interval(found, sizes)

    effective_n = interval(pooled[(len(pooled) - 1) // 2], "right")[3]
    return tuple(_inverted(pooled, interval, share, effective_n, len(arrays)) for share in shares)


def _inverted(
    pooled: np.ndarray,
    interval: Callable[[float, str], tuple[float, float, int, float]],
    share: float,
    effective_n: float,
    replications: int,
) -> Replicated:
    """Return a percentile: from the first sample whose share may be so large to the last whose may be so small."""
    n, place = len(pooled), math.ceil(len(pooled) * share) - 1
    first, last = 0, place
    while first < last:
        middle = (first + last) // 2
        first, last = (first, middle) if interval(pooled[middle], "right")[1] >= share else (middle + 1, last)
    low = first
    first, last = place, n - 1
    while first < last:
        middle = (first + last + 1) // 2
        first, last = (middle, last) if interval(pooled[middle], "left")[0] <= share else (first, middle - 1)
    inside = interval(pooled[0], "left")[1] < share and interval(pooled[-1], "right")[0] > share
    if not inside or effective_n * min(share, 1 - share) < LEAST_BEYOND:
        return Replicated(math.nan, math.nan, math.nan, n, effective_n, replications)
    value, least, most = (float(pooled[k]) for k in (place, low, first))
    return Replicated(value, least, most, n, effective_n, replications)


def _odds_interval(counts: np.ndarray, sizes: np.ndarray) -> tuple[float, float, int, float]:
    """Return the 95 % interval of a share over five or more replications, n, and the effective n.

    Replications may differ in size. The error of the log odds is the jackknife's, from leaving out each replication
    in turn: it is large where a few of them make the share what it is. Where one alone does, it is the linear one.
    Where all or none are counted the other end is that of one sample more or less.
    """
    total, t = float(sizes.sum()), float(student(len(sizes) - 1))
    whole = float(counts.sum()) / total
    if whole in (0.0, 1.0):
        counts = counts.copy()
        counts[int(sizes.argmax())] += 1 if whole == 0 else -1
    share = float(counts.sum()) / total
    rest = counts - share * sizes
    error = math.sqrt(float(rest @ rest) * len(sizes) / (len(sizes) - 1)) / total
    spread = share * (1 - share)
    if not spread:  # a single sample
        return 0.0, 1.0, int(total), 1.0
    effective_n = min(total, spread / error**2) if error else total
    left = (counts.sum() - counts) / np.maximum(total - sizes, 1)
    if 0 < left.min() and left.max() < 1:
        odds_left = np.log(left / (1 - left))
        half = t * math.sqrt(float(((odds_left - odds_left.mean()) ** 2).sum()) * (len(sizes) - 1) / len(sizes))
    else:
        half = t * error / spread
    odds = math.log(share / (1 - share))
    low, high = (_share_at(odds - half), _share_at(odds + half))
    return (0.0 if whole == 0 else low), (1.0 if whole == 1 else high), int(total), effective_n


def _share_at(odds: float) -> float:
    return 1 / (1 + math.exp(-odds)) if odds > -700 else 0.0
