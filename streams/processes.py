"""Arrival processes: functions of (n, rate, generator, their own options) to n ascending offsets in seconds.

Knows nothing of what arrives, of seeds, or of who asks. Adding one is writing it and naming it in `PROCESSES`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import numpy as np

_Random = np.random.Generator


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


def trace(n: int | None, rate: float | None, rng: _Random, *, file: str) -> np.ndarray:
    """Return the first n moments (None: all) of a file: seconds, ascending, one per line.

    Blank lines and # comments are passed over. Moments are counted from the first one; with `rate` they are
    stretched so that the last is n / rate, without they are as recorded. Raises `ValueError` naming the line that is
    no number or that runs backwards, or how many moments there are where that is too few.
    """
    path = Path(file).expanduser()
    if not path.is_file():
        raise ValueError(f"arrivals.file={file}: no such file; expected one moment in seconds per line.")
    moments: list[float] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        text = line.split("#", 1)[0].strip()
        if not text:
            continue
        try:
            moments.append(float(text))
        except ValueError:
            raise ValueError(f"arrivals.file={file}, line {number}: {text[:40]!r} is no number of seconds.") from None
        if not np.isfinite(moments[-1]) or (len(moments) > 1 and moments[-1] < moments[-2]):
            raise ValueError(f"arrivals.file={file}, line {number}: {text} is not finite or before the line above.")
        if len(moments) == n:
            break
    if n is not None and len(moments) < n:
        raise ValueError(
            f"arrivals.file={file}: {len(moments)} moments for {n} arrivals; take fewer, or a longer file."
        )
    out = np.asarray(moments) - (moments[0] if moments else 0.0)
    if rate is None or not n:
        return out
    if out[-1] == 0:
        raise ValueError(
            f"arrivals.rate={rate}: all {n} moments of {file} are the same, no rate can be given to them."
        )
    return out * (n / rate / out[-1])


def _above(least: float, **given: float) -> None:
    for name, value in given.items():
        if not np.isfinite(value) or value <= least:
            raise ValueError(f"arrivals.{name}={value}: a number above {least:g} is needed.")


PROCESSES: Mapping[str, Callable[..., np.ndarray]] = MappingProxyType(
    {f.__name__: f for f in (constant, daily, gamma, hawkes, on_off, poisson, ramp, trace)}
)
AS_RECORDED = frozenset({"trace"})
"""Processes that need no rate; those of all others is 1 per second unless given."""
