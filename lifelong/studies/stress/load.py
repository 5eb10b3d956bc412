"""Stress: how much a system bears, found by doubling and halving, over seeds.

Knows a question that is answered by yes or no at a size, and replays; nothing of editors or models. What is searched
must be fine at small sizes and not at large ones; between the last size that was fine and the first that was not the
answer is known to within `tolerance`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lifelong.log import RunLog
from lifelong.log.shown import short_repr
from lifelong.running.unchanged import check_stream
from lifelong.running.words import ConfigError
from lifelong.simulation.recorded import fits_of, samples_of
from lifelong.studies.replay import Replayed, replay_with, settings_of
from reports.numbers.seeds import log_interval, log_mean

MOST = 60  # doublings: beyond, a size is no answer
MOST_QUERIES = 2_000_000  # of one replay: minutes


@dataclass(frozen=True)
class Knee:
    """The largest size that was fine and the smallest that was not, with what was tried on the way."""

    fine: float
    not_fine: float
    tried: tuple[tuple[float, bool], ...]


def knee(is_fine: Callable[[float], bool], first: float, tolerance: float = 0.02) -> Knee:
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


@dataclass(frozen=True)
class Bearing:
    """The largest query rate that a fleet bears, by seed, and what else was true there."""

    rates_per_s: tuple[float, ...]
    seeds: tuple[int, ...]
    in_slo: float
    busy: float

    __repr__ = short_repr

    @property
    def mean_per_s(self) -> float:
        """The geometric mean over seeds: rates differ by factors."""
        return log_mean(self.rates_per_s)

    def interval(self) -> tuple[float, float] | None:
        """Return 95 % of Student's t over the seeds' logarithms, from five on; None for fewer, which are shown."""
        return log_interval(self.rates_per_s)


def stress_load(
    run: str,
    changes: Mapping[str, Any],
    *,
    slo_s: float,
    good: float = 0.99,
    seeds: Sequence[int] = (0, 1, 2, 3, 4),
    say: Callable[[str], None] = lambda _: None,
) -> Bearing:
    """Return the largest `queries.rate` at which a share `good` of queries is answered within `slo_s` seconds.

    Replays the run with `changes` (see `lifelong.studies.replay`) at other rates; every seed's answer is told to
    `say`. Raises `ConfigError` for what cannot be replayed, and where no rate is fine or none is too much.
    """
    if not 0 < good < 1 or not 0 < slo_s < math.inf:
        raise ConfigError(f"slo={slo_s}, good={good}: seconds above 0, and a share between 0 and 1, are needed.")
    if "queries.rate" in changes:
        raise ConfigError("queries.rate: it is what is searched for; leave it out.")
    log = RunLog.open(run)
    check_stream(log)
    fits = fits_of(samples_of(log))
    last: list[tuple[float, Replayed]] = []
    queries: dict[float, int] = {}  # by rate, of the seed at hand

    def at(rate: float, seed: int) -> bool:
        if queries and rate > max(queries) and 2 * queries[max(queries)] > MOST_QUERIES:
            raise ConfigError(
                f"{good:.0%} of queries are answered within {slo_s:g} s at up to {max(queries):g} a second, perhaps "
                f"at more: no search simulates over {MOST_QUERIES:,} queries at once. Replay fewer edits (edits=20), "
                "or more of them in less time (arrivals.rate)."
            )
        config, settings = settings_of(log, {**changes, "queries.rate": rate, "seed": seed})
        done = replay_with(config, settings, fits)
        queries[rate] = len(done.load.queries_at)
        share = float((done.response_s() <= slo_s).mean()) if queries[rate] else 1.0
        if share >= good:
            last.append((share, done))
        return share >= good

    rates = []
    for seed in seeds:
        queries.clear()
        found = knee(lambda rate, seed=seed: at(rate, seed), 1.0).fine
        if not queries[found]:
            raise ConfigError(
                f"no query rate keeps {good:.0%} of queries within {slo_s:g} s (seed {seed}): even a single one "
                "takes longer, or waits for edits. Try a larger --slo, or policy=preempt."
            )
        rates.append(found)
        say(f"seed {seed}: {found:.3g} queries a second")
    share, done = last[-1]
    return Bearing(tuple(rates), tuple(seeds), share, done.busy())
