"""When things arrive: offsets of simulated time, drawn up front from a seed. Knows nothing of what arrives.

Every process is a function of (n, rate, generator, its own options) to n ascending offsets in seconds; adding one is
writing it and naming it in `PROCESSES`. Drawing up front keeps arrivals apart from everything that happens later
(an open loop): a slow editor never thins out its own traffic.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from streams.order import generator
from streams.types import Arrival, Edit, Query, Withdraw


def steady(n: int, rate: float, rng: np.random.Generator) -> np.ndarray:
    """Return arrivals at equal distances of 1/rate seconds, the first after one of them.

    >>> steady(3, 2.0, np.random.default_rng(0)).tolist()
    [0.5, 1.0, 1.5]
    """
    return np.arange(1, n + 1) / rate


def poisson(n: int, rate: float, rng: np.random.Generator) -> np.ndarray:
    """Return a Poisson process: independent exponential gaps of mean 1/rate seconds."""
    return np.cumsum(rng.exponential(1 / rate, n))


PROCESSES: Mapping[str, Callable[..., np.ndarray]] = MappingProxyType({"poisson": poisson, "steady": steady})


def arrival_names() -> list[str]:
    """Return the names of all arrival processes, sorted."""
    return sorted(PROCESSES)


def arrival_options(name: str) -> list[str]:
    """Return the names of a process's own options (beyond its rate); raises `ValueError` with near names."""
    if name not in PROCESSES:
        near = difflib.get_close_matches(name, PROCESSES, 3, 0.4)
        hint = f" Did you mean {' or '.join(near)}?" if near else ""
        raise ValueError(f"arrivals={name}: no such process.{hint} Known: {', '.join(arrival_names())}.")
    return list(inspect.signature(PROCESSES[name]).parameters)[3:]


def arrival_offsets(name: str, n: int, rate: float = 1.0, seed: int = 0, **options: Any) -> np.ndarray:
    """Return n ascending float64 offsets in simulated seconds, `rate` arrivals per second on average.

    The generator is named by the process: another seed purpose (probes, service noise) never shifts arrivals, and
    editors compared under one seed see the same ones. Raises `ValueError` for a bad name, option, n or rate.
    """
    known = arrival_options(name)
    wrong = sorted(set(options) - set(known))
    if wrong:
        raise ValueError(f"arrivals.{wrong[0]}: {name} has no such option. Known: {', '.join(['rate', *known])}.")
    if n < 0 or not np.isfinite(rate) or rate <= 0:
        raise ValueError(f"arrivals.rate={rate}, n={n}: a rate above 0 (arrivals per second) and n >= 0 are needed.")
    return PROCESSES[name](n, float(rate), generator(seed, "arrivals", name), **options)


def timetable(items: Sequence[Edit | Query | Withdraw], offsets: Sequence[float] | np.ndarray) -> tuple[Arrival, ...]:
    """Return items with their moments; raises `ValueError` when the numbers differ or time runs backwards."""
    moments = np.asarray(offsets, dtype=np.float64)
    if moments.shape != (len(items),) or not np.isfinite(moments).all():
        raise ValueError(f"{len(items)} items need as many finite moments; given {moments.shape}.")
    if len(moments) and (moments[0] < 0 or (np.diff(moments) < 0).any()):
        raise ValueError("moments of arrival must ascend from 0 or later.")
    return tuple(Arrival(float(at_s), item) for at_s, item in zip(moments, items, strict=True))
