"""Stress: the largest query rate that a fleet bears, found by doubling and halving, over replications.

Knows replays and a share that is asked of them; nothing of editors or models. All rates are asked with the same
replications (equal seeds). A rate is fine where the whole 95 % interval of the share of queries in time keeps the
limit, too much where none of it does; in between nobody can tell. So the two rates at which that changes are an
interval of the largest rate that is borne.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from lifelong.log import RunLog
from lifelong.log.shown import short_repr
from lifelong.running.parts import make_stream
from lifelong.running.unchanged import check_stream
from lifelong.running.words import ConfigError
from lifelong.simulation.recorded import fits_of, samples_of
from lifelong.studies.replay import REPLICATIONS, check_replications, replications, settings_of
from reports.statistics.replications import Replicated, share_over
from reports.statistics.seeds import ENOUGH

MOST = 60  # doublings: beyond, a size is no answer
MOST_QUERIES = 2_000_000  # of all replications at one rate: seconds with one worker in order, else minutes
_TOLERANCE = 0.02
_FARTHEST = 32.0  # how many times the rate an end of its interval is looked for

Verdict = Literal["fine", "cannot tell", "too much"]


@dataclass(frozen=True)
class Knee:
    """The largest size that was fine and the smallest that was not, with what was tried on the way."""

    fine: float
    not_fine: float
    tried: tuple[tuple[float, bool], ...]


def knee(is_fine: Callable[[float], bool], first: float, tolerance: float = _TOLERANCE) -> Knee:
    """Return where a system stops being fine: doubled (or halved) from `first`, then bisected to a relative width.

    Raises `ValueError` where it never stops within so many doublings, or never was fine, and for a first size or a
    tolerance that is none.
    """
    if not first > 0 or not 0 < tolerance < 1:
        raise ValueError(f"first={first}, tolerance={tolerance}: a size above 0 and a share of it are needed.")
    tried: list[tuple[float, bool]] = []

    def ask(size: float) -> bool:
        tried.append((size, is_fine(size)))
        return tried[-1][1]

    rises = ask(first)
    before = size = first
    while len(tried) <= MOST:
        before, size = size, size * (2.0 if rises else 0.5)
        if ask(size) != rises:
            break
    else:
        said = "fine" if rises else "not fine"
        raise ValueError(f"no end was found: it is {said} from {min(first, size):g} to {max(first, size):g}.")
    low, high = min(before, size), max(before, size)
    while high / low > 1 + tolerance:
        middle = float(np.sqrt(low * high))
        low, high = (middle, high) if ask(middle) else (low, middle)
    return Knee(low, high, tuple(tried))


def edge(holds: Callable[[float], bool], start: float, factor: float, tolerance: float = _TOLERANCE) -> float | None:
    """Return the first size, from `start` on upwards (`factor` above 1) or downwards, from which something holds.

    The distance is doubled until it holds, then halved to a relative width; the size that is returned holds. None
    where nothing within `_FARTHEST` times the start does.
    """
    before, step, size = start, factor, start
    while not holds(size):
        before, size, step = size, size * step, step**2
        if max(size / start, start / size) > _FARTHEST:
            return None
    while max(size / before, before / size) > 1 + tolerance:
        middle = math.sqrt(before * size)
        before, size = (before, middle) if holds(middle) else (middle, size)
    return size


@dataclass(frozen=True)
class Tried:
    """One rate: the share of queries in time over all replications, how busy workers were, and what that says."""

    rate_per_s: float
    in_slo: Replicated
    busy: float
    verdict: Verdict


@dataclass(frozen=True)
class Bearing:
    """The largest query rate that a fleet bears over replications, and what was tried, by rate.

    At `rate_per_s` the share of all replications keeps the limit. The largest rate that is surely fine and the
    smallest that is surely too much are an interval of it (None: there is none near, or too few replications).
    """

    rate_per_s: float
    fine_per_s: float | None
    too_much_per_s: float | None
    at_rate: Tried
    tried: tuple[Tried, ...]
    replications: int

    __repr__ = short_repr


def verdict_on(in_slo: Replicated, good: float) -> Verdict:
    """Return what a share over replications says of the share that is asked for; too few of them say nothing."""
    if in_slo.known and in_slo.low >= good:
        return "fine"
    return "too much" if in_slo.known and in_slo.high < good else "cannot tell"


def stress_load(
    run: str,
    changes: Mapping[str, Any],
    *,
    slo_s: float,
    good: float = 0.99,
    count: int = REPLICATIONS,
    say: Callable[[str], None] = lambda _: None,
) -> Bearing:
    """Return the largest `queries.rate` at which a share `good` of queries is answered within `slo_s` seconds.

    Replays the run with `changes` (see `lifelong.studies.replay`) at other rates, `count` times each with seeds from
    the run's on; every rate's verdict is told to `say`. Raises `ConfigError` for what cannot be replayed, and where
    no rate is fine or none is too much.
    """
    if not 0 < good < 1 or not 0 < slo_s < math.inf:
        raise ConfigError(f"slo={slo_s}, good={good}: seconds above 0, and a share between 0 and 1, are needed.")
    if "queries.rate" in changes:
        raise ConfigError("queries.rate: it is what is searched for; leave it out.")
    check_replications(count)
    log = RunLog.open(run)
    check_stream(log)
    fits = fits_of(samples_of(log))
    stream = make_stream(settings_of(log, {**changes, "queries.rate": 1.0})[0])
    tried: dict[float, Tried] = {}

    def at(rate: float) -> Tried:
        if rate in tried:
            return tried[rate]
        largest = max(tried, default=0.0)
        if rate > largest and tried and tried[largest].in_slo.n * rate / largest > MOST_QUERIES:
            raise _TooManyError(largest)
        within, sizes, busy = [], [], []
        for done in replications(*settings_of(log, {**changes, "queries.rate": rate}), fits, stream, count):
            counted = done.counted()
            within.append(int((counted.response_s <= slo_s).sum()))
            sizes.append(len(counted.response_s))
            busy.append(counted.busy)
        in_slo = share_over(within, sizes)
        tried[rate] = Tried(rate, in_slo, float(np.mean(busy)), verdict_on(in_slo, good))
        if count >= ENOUGH:
            say(f"{rate:.4g} queries a second: {in_slo.text(1, 4)} in time: {tried[rate].verdict}")
        else:
            say(f"{rate:.4g} queries a second: {in_slo.text(1, 4)} in time")
        return tried[rate]

    try:
        found = knee(lambda rate: not at(rate).in_slo.value < good, 1.0).fine
    except _TooManyError as error:
        raise ConfigError(
            f"{good:.4g} of queries are answered within {slo_s:g} s at up to {error.rate:g} a second, perhaps "
            f"at more: no search simulates over {MOST_QUERIES:,} queries at once. Replay fewer edits (edits=20), "
            "or more of them in less time (arrivals.rate), or fewer --replications."
        ) from None
    if not at(found).in_slo.n:
        raise ConfigError(
            f"no query rate keeps {good:.4g} of queries within {slo_s:g} s: even a single one takes longer, or waits "
            "for edits. Try a larger --slo, or policy=preempt."
        )
    if count >= ENOUGH:
        edge(lambda rate: at(rate).verdict == "fine", found, 1 / (1 + _TOLERANCE))
        try:
            edge(lambda rate: at(rate).verdict == "too much", found, 1 + _TOLERANCE)
        except _TooManyError:
            say(f"no rate is surely too much among those that {MOST_QUERIES:,} queries can be simulated of")
    fine = max((rate for rate, one in tried.items() if rate <= found and one.verdict == "fine"), default=None)
    too_much = min((rate for rate, one in tried.items() if rate >= found and one.verdict == "too much"), default=None)
    by_rate = tuple(tried[rate] for rate in sorted(tried))
    return Bearing(found, fine, too_much, at(found), by_rate, count)


class _TooManyError(Exception):
    """A rate would need more queries than are simulated at once; `rate` is the largest that was tried."""

    def __init__(self, rate: float) -> None:
        super().__init__(rate)
        self.rate = rate


def bearing_lines(found: Bearing, slo_s: float, good: float) -> list[str]:
    """Return what a search found as lines of text: the rate with its interval, and what was true there."""
    at, in_slo = found.at_rate, found.at_rate.in_slo
    if found.replications < ENOUGH:
        known = f"{found.replications} replication{'s' * (found.replications > 1)}: too few for an interval"
    else:
        low = "none is surely fine" if found.fine_per_s is None else f"surely up to {found.fine_per_s:.3g}"
        high = "none is surely too much" if found.too_much_per_s is None else f"surely not {found.too_much_per_s:.3g}"
        known = f"95 %: {low}, {high}; in between nobody can tell; {found.replications} replications"
    return [
        f"{good:.4g} of queries within {slo_s:g} s up to {found.rate_per_s:.3g} queries a second ({known})",
        f"there, {in_slo.text(1, 4)} of {in_slo.n:,} queries are answered in time and workers are busy {at.busy:.0%} "
        f"of the time; edits arrive as said, beside the queries",
    ]
