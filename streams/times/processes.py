"""Arrival processes: functions of (n, rate, generator, their own options) to n ascending offsets in seconds.

Knows nothing of what arrives, of seeds, or of who asks. Adding one is writing it and naming it in `PROCESSES`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import numpy as np

from streams.text import TextError, lines_of, printable, read_text

LATEST_S = 1e11
"""The last moment that a trace may have: three thousand years, told to a millisecond."""
_Random = np.random.Generator
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)


def constant(n: int, rate: float, rng: _Random) -> np.ndarray:
    """Return arrivals at equal distances of 1/rate seconds, the first after one of them.

    >>> constant(3, 2.0, np.random.default_rng(0)).tolist()
    [0.5, 1.0, 1.5]
    """
    return np.arange(1, n + 1) / rate


def poisson(n: int, rate: float, rng: _Random) -> np.ndarray:
    """Return a Poisson process: independent exponential gaps of mean 1/rate seconds."""
    return np.cumsum(rng.exponential(1 / rate, n))


def gamma(n: int, rate: float, rng: _Random, *, burstiness: float = 0.5) -> np.ndarray:
    """Return a renewal process of gamma gaps, whose shape is `burstiness` as vLLM's benchmark names it.

    1 is Poisson, below 1 is burstier (the gaps' variance is 1/burstiness times their squared mean), far above 1 is
    almost constant.
    """
    _above(0, burstiness=burstiness)
    return np.cumsum(rng.gamma(burstiness, 1 / (rate * burstiness), n))


def on_off(
    n: int, rate: float, rng: _Random, *, on_s: float = 30.0, off_s: float = 90.0, quiet: float = 0.0
) -> np.ndarray:
    """Return a Poisson process that switches between a busy and a quiet rate (a two-state MMPP).

    Phases last exponential times of mean `on_s` and `off_s` seconds; the quiet rate is the share `quiet` of the busy
    one, and both are such that the long-run average is `rate`.
    """
    _above(0, on_s=on_s, off_s=off_s)
    if not 0 <= quiet <= 1:
        raise ValueError(f"arrivals.quiet={quiet}: the quiet rate is a share of the busy one, from 0 to 1.")
    busy = rate * (on_s + off_s) / (on_s + quiet * off_s)
    phases = rng.spawn(1)[0]  # apart, so that a longer stream begins as a shorter one
    on = bool(phases.random() < on_s / (on_s + off_s))
    wanted = np.cumsum(rng.exponential(1.0, n))  # a unit-rate process, to be laid along the integral of the rate
    ends, sums = [0.0], [0.0]
    while n and sums[-1] < wanted[-1]:
        span = phases.exponential(on_s if on else off_s)
        ends.append(ends[-1] + span)
        sums.append(sums[-1] + span * (busy if on else quiet * busy))
        on = not on
    return np.interp(wanted, sums, ends)


def daily(n: int, rate: float, rng: _Random, *, period_s: float = 86_400.0, depth: float = 0.8) -> np.ndarray:
    """Return a Poisson process of rate * (1 + depth sin(2 pi t / period_s)), by thinning a faster one.

    The long-run average is `rate`; with `depth` 1 the quietest moment is silent.
    """
    _above(0, period_s=period_s)
    if not 0 <= depth <= 1:
        raise ValueError(f"arrivals.depth={depth}: the rate swings by a share of its average, from 0 to 1.")
    kept: list[np.ndarray] = []
    have, now = 0, 0.0
    while have < n:
        candidates = now + np.cumsum(rng.exponential(1 / (rate * (1 + depth)), 4096))
        height = 1 + depth * np.sin(2 * np.pi * candidates / period_s)
        kept.append(candidates[rng.random(len(candidates)) * (1 + depth) < height])
        have, now = have + len(kept[-1]), float(candidates[-1])
    return np.concatenate(kept)[:n] if kept else np.zeros(0)


def hawkes(n: int, rate: float, rng: _Random, *, offspring: float = 0.5, memory_s: float = 10.0) -> np.ndarray:
    """Return a self-exciting process: every arrival brings about `offspring` further ones, on average.

    Each adds offspring / memory_s to the rate, fading exponentially over `memory_s` seconds. The first arrivals have
    none before them, so the average rate comes up to `rate` only after some `memory_s` / (1 - offspring). Drawn
    exactly, without rejection (Dassios and Zhao 2013, algorithm 3.1, constant jumps).
    """
    _above(0, memory_s=memory_s)
    if not 0 <= offspring < 1:
        raise ValueError(f"arrivals.offspring={offspring}: at 1 and beyond arrivals never end; from 0 to below 1.")
    base, excess, now = rate * (1 - offspring), 0.0, 0.0
    out = np.empty(n)
    for i, (outside, inside) in enumerate(rng.exponential(1.0, (n, 2)).tolist()):
        gap = outside / base
        # The fading excess holds excess * memory_s arrivals on average; where it brings none, the base does.
        left = 1 - inside / (excess * memory_s) if excess else 0.0
        gap = min(gap, -memory_s * math.log(left)) if left > 0 else gap
        now += gap
        excess = excess * math.exp(-gap / memory_s) + offspring / memory_s
        out[i] = now
    return out


def ramp(
    n: int,
    rate: float,
    rng: _Random,
    *,
    growth: float = 4.0,
    shape: Literal["linear", "exponential"] = "linear",
    over_s: float = 0.0,
) -> np.ndarray:
    """Return a Poisson process whose rate grows to `growth` times its first one within `over_s` seconds.

    `rate` is the average over that time; afterwards the last rate stays. Below 1 it falls. With `over_s` 0 the ramp
    is n / rate seconds long, so that a longer stream has another beginning.
    """
    _above(0, growth=growth)
    if not over_s >= 0:
        raise ValueError(f"arrivals.over_s={over_s}: seconds of the ramp, 0 for the whole stream.")
    if shape not in ("linear", "exponential"):
        raise ValueError(f"arrivals.shape={shape}: linear or exponential.")
    whole_s = over_s or n / rate
    share = np.linspace(0, 1, 10_001)
    if shape == "linear" or growth == 1:
        sums = (2 * share + (growth - 1) * share**2) / (1 + growth)
        last = 2 * growth / (1 + growth)
    else:
        sums = (growth**share - 1) / (growth - 1)
        last = growth * np.log(growth) / (growth - 1)
    wanted = np.cumsum(rng.exponential(1.0, n)) / max(whole_s * rate, 1e-300)
    inside = np.interp(wanted, sums, share)
    return whole_s * np.where(wanted <= 1, inside, 1 + (wanted - 1) / last)


def trace(n: int | None, rate: float | None, rng: _Random, *, file: str, origin_s: float | None = None) -> np.ndarray:
    """Return the first n moments (None: all) of a file: seconds, ascending, one per line.

    Blank lines and # comments are passed over. Moments are counted from `origin_s`, by default from the first one; a
    run counts all its traces from the earliest moment of any. With `rate` they are stretched, their distance from
    the origin too, so that n of them take n / rate seconds; without they are as recorded. Raises `ValueError` naming
    the line that is no moment or runs backwards, or how many moments there are where that is too few.
    """
    moments = read_moments(file, n)
    if n is not None and len(moments) < n:
        raise ValueError(
            f"arrivals.file={file}: {len(moments)} moments for {n} arrivals; take fewer, or a longer file."
        )
    if not moments:
        return np.zeros(0)
    origin = moments[0] if origin_s is None else origin_s
    if not origin <= moments[0]:
        raise ValueError(f"arrivals.origin_s={origin_s}: {file} begins at {moments[0]:g} s, before it.")
    out = np.asarray(moments) - origin
    if rate is None:
        return out
    span = moments[-1] - moments[0]
    if span == 0:
        raise ValueError(
            f"arrivals.rate={rate}: all {len(moments)} moments of {file} are the same, no rate can be given to them."
        )
    out = out * (len(moments) / span / rate)
    if not out[-1] <= LATEST_S:
        raise ValueError(f"arrivals.rate={rate}: the last moment of {file} would be at {out[-1]:.3g} s; give more.")
    return out


def read_moments(file: str, n: int | None = None) -> list[float]:
    """Return the first n moments (None: all) of a trace file, in seconds as they stand there.

    Raises `ValueError` with the file, and with the line of what is no number of seconds from 0 to `LATEST_S`, or
    comes before the line above it.
    """
    if not isinstance(file, str):
        raise ValueError(f"arrivals.file={file!r}: expected the name of a file.")
    path = Path(file).expanduser()
    if not path.exists():
        raise ValueError(f"arrivals.file={file}: no such file; expected one moment in seconds per line.")
    try:
        lines = lines_of(read_text(path))
    except TextError as error:
        raise ValueError(f"arrivals.file={file}: {error}") from error
    moments: list[float] = []
    for number, line in enumerate(lines, start=1):
        text = line.split("#", 1)[0].strip(" \t")
        if not text:
            continue
        where = f"arrivals.file={file}, line {number}: '{printable(text[:40])}'"
        if not _NUMBER.fullmatch(text):
            raise ValueError(f"{where} is no number of seconds.")
        moment = float(text)
        if not 0 <= moment <= LATEST_S:
            raise ValueError(f"{where} is not from 0 to {LATEST_S:g} seconds. Moments are seconds, not milliseconds.")
        if moments and moment < moments[-1]:
            raise ValueError(f"{where} is before the line above, {moments[-1]:g}. Moments ascend.")
        moments.append(moment)
        if len(moments) == n:
            break
    return moments


def _above(least: float, **given: float) -> None:
    for name, value in given.items():
        if not np.isfinite(value) or value <= least:
            raise ValueError(f"arrivals.{name}={value}: a number above {least:g} is needed.")


PROCESSES: Mapping[str, Callable[..., np.ndarray]] = MappingProxyType(
    {f.__name__: f for f in (constant, daily, gamma, hawkes, on_off, poisson, ramp, trace)}
)
AS_RECORDED = frozenset({"trace"})
"""Processes that need no rate; those of all others is 1 per second unless given."""
