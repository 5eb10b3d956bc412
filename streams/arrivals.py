"""When things arrive: offsets of simulated time, drawn up front from a seed. Knows nothing of what arrives.

Drawing up front keeps arrivals apart from everything that happens later (an open loop): a slow editor never thins out
its own traffic. The processes themselves are in `streams.processes`.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from streams.near import near
from streams.order import generator
from streams.processes import AS_RECORDED, PROCESSES, read_moments
from streams.types import Arrival, Edit, Posed, Withdraw


def arrival_names() -> list[str]:
    """Return the names of all arrival processes, sorted."""
    return sorted(PROCESSES)


def arrival_options(name: str) -> list[str]:
    """Return the names of a process's own options (beyond its rate); raises `ValueError` with near names."""
    if name not in PROCESSES:
        raise ValueError(f"arrivals={name}: no such process.{near(name, arrival_names())}")
    return list(inspect.signature(PROCESSES[name]).parameters)[3:]


def arrival_offsets(
    name: str, n: int, rate: float | None = None, seed: int = 0, *, purpose: str = "arrivals", **options: Any
) -> np.ndarray:
    """Return n ascending float64 offsets in simulated seconds, `rate` (1 unless given) per second on average.

    The generator is named by the purpose and the process: another purpose (queries, probes, service noise) never
    shifts arrivals, and editors compared under one seed see the same ones. A trace is as recorded without a rate.
    Raises `ValueError` for a bad name, option, n or rate.
    """
    return _offsets(name, n, rate, seed, purpose, options)


def offsets_until(
    name: str, end_s: float, rate: float | None = None, seed: int = 0, *, purpose: str = "arrivals", **options: Any
) -> np.ndarray:
    """Return the offsets of all arrivals before `end_s`, else as `arrival_offsets`; a ramp is as long as that.

    What was recorded comes whole, also what is later: nothing of it is dropped.
    """
    if name in AS_RECORDED:
        return _offsets(name, None, rate, seed, purpose, options)
    if "over_s" in arrival_options(name):
        options = {"over_s": end_s, **options}
    n = int(end_s * (rate or 1.0) * 1.1) + 64
    while (offsets := _offsets(name, n, rate, seed, purpose, options))[-1] < end_s:
        n *= 2
    return offsets[offsets < end_s]


def trace_origin(files: Mapping[str, str]) -> float:
    """Return the earliest moment of several trace files, named by what they are traces of (arrivals, queries ...).

    Called once for a run, so that its traces keep their distance. Raises `ValueError` naming the file.
    """
    first: list[float] = []
    for purpose, file in files.items():
        try:
            first += read_moments(file, 1)
        except ValueError as error:
            raise ValueError(str(error).replace("arrivals.", f"{purpose}.", 1)) from error
    return min(first, default=0.0)


def _offsets(
    name: str, n: int | None, rate: float | None, seed: int, purpose: str, options: Mapping[str, Any]
) -> np.ndarray:
    known = arrival_options(name)
    wrong = sorted(set(options) - set(known))
    if wrong:
        raise ValueError(f"{purpose}.{wrong[0]}: {name} has no such option. Known: {', '.join(['rate', *known])}.")
    needed = [p.name for p in inspect.signature(PROCESSES[name]).parameters.values() if p.default is p.empty][3:]
    missing = [option for option in needed if option not in options]
    if missing:
        raise ValueError(f"{purpose}.{missing[0]}: {name} needs it. Say {purpose}.{missing[0]}=...")
    if rate is None and name not in AS_RECORDED:
        rate = 1.0
    if (n is not None and n < 0) or (rate is not None and (not np.isfinite(rate) or rate <= 0)):
        raise ValueError(f"{purpose}.rate={rate}, n={n}: a rate above 0 (arrivals per second) and n >= 0 are needed.")
    try:
        return PROCESSES[name](n, None if rate is None else float(rate), generator(seed, purpose, name), **options)
    except ValueError as error:  # processes do not know who asks
        raise ValueError(str(error).replace("arrivals.", f"{purpose}.", 1)) from error


def timetable(items: Sequence[Edit | Posed | Withdraw], offsets: Sequence[float] | np.ndarray) -> tuple[Arrival, ...]:
    """Return items with their moments; raises `ValueError` when the numbers differ or time runs backwards."""
    moments = np.asarray(offsets, dtype=np.float64)
    if moments.shape != (len(items),) or not np.isfinite(moments).all():
        raise ValueError(f"{len(items)} items need as many finite moments; given {moments.shape}.")
    if len(moments) and (moments[0] < 0 or (np.diff(moments) < 0).any()):
        raise ValueError("moments of arrival must ascend from 0 or later.")
    return tuple(Arrival(float(at_s), item) for at_s, item in zip(moments, items, strict=True))


def merged(*timetables: Sequence[Arrival]) -> tuple[Arrival, ...]:
    """Return several timetables as one; of arrivals at the same moment those of the first one come first."""
    return tuple(sorted((a for table in timetables for a in table), key=lambda arrival: arrival.at_s))
