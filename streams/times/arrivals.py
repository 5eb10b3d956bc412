"""When things arrive: offsets of simulated time, drawn up front from a seed. Knows nothing of what arrives.

Drawing up front keeps arrivals apart from everything that happens later (an open loop): a slow editor never thins out
its own traffic. The processes themselves are in `streams.times.processes`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from streams.near import near
from streams.orders.order import generator
from streams.settings import checked_settings
from streams.stream import StreamOptions
from streams.times.process_options import PROCESS_OPTIONS
from streams.times.processes import AS_RECORDED, PROCESSES, read_moments
from streams.types import Arrival, Edit, Posed, Withdraw

MOST_ARRIVALS = 10**8  # arrivals of one kind: more fit into no memory
MOST_PHASES = 10**7  # of a process that switches between them
LAST_S = 4e9  # seconds: nanoseconds of simulated time are 64-bit numbers
_ENDS = f"simulated time ends at {LAST_S:.0e} s (arrivals.rate is arrivals a second)."


def arrival_names() -> list[str]:
    """Return the names of all arrival processes, sorted."""
    return sorted(PROCESSES)


def process_options(name: str, purpose: str = "arrivals") -> type[StreamOptions]:
    """Return the options of a process, its rate among them; raises `ValueError` with near names."""
    if name not in PROCESS_OPTIONS:
        raise ValueError(f"{purpose}={name}: there is no such process.{near(name, arrival_names())}")
    return PROCESS_OPTIONS[name]


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
    n = int(expected_until(name, end_s, rate, purpose=purpose, **options) * 1.1) + 64
    if "over_s" in process_options(name).model_fields:
        options = {"over_s": end_s, **options}
    while (offsets := _offsets(name, n, rate, seed, purpose, options, until=True))[-1] < end_s:
        n *= 2
    return offsets[offsets < end_s]


def expected_until(
    name: str, end_s: float, rate: float | None = None, *, purpose: str = "arrivals", **options: Any
) -> float:
    """Return how many arrivals are expected before `end_s` (of a recorded process none: it is read, not drawn).

    Called before anything is drawn. Raises `ValueError` for a bad name or option, and for more than can be drawn.
    """
    given = _checked(name, rate, purpose, options)
    if name in AS_RECORDED:
        return 0.0
    number = end_s * given["rate"]
    if not number <= MOST_ARRIVALS:
        raise ValueError(
            f"{purpose}.rate={given['rate']:g}: about {number:.3g} {purpose} would come in {end_s:.3g} s of "
            f"simulated time; at most {MOST_ARRIVALS:.0e} are drawn. Give a lower rate (arrivals a second)."
        )
    _check_phases(end_s, purpose, given)
    return number


def _checked(name: str, rate: float | None, purpose: str, options: Mapping[str, Any]) -> dict[str, Any]:
    given = options if rate is None else {"rate": rate, **options}
    return checked_settings(process_options(name, purpose), given, purpose).model_dump(mode="json")


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
    name: str,
    n: int | None,
    rate: float | None,
    seed: int,
    purpose: str,
    options: Mapping[str, Any],
    *,
    until: bool = False,
) -> np.ndarray:
    given = _checked(name, rate, purpose, options)
    rate = given.pop("rate")
    if n is not None:
        _possible(n, rate, purpose, given, until)
    try:
        out = PROCESSES[name](n, rate, generator(seed, purpose, name), **given)
    except ValueError as error:  # processes do not know who asks
        raise ValueError(str(error).replace("arrivals.", f"{purpose}.", 1)) from error
    if len(out) and not until and not out[-1] <= LAST_S:
        key = f"file={given['file']}" if "file" in given else f"rate={rate:g}"
        raise ValueError(f"{purpose}.{key}: the last of {len(out)} would come after {out[-1]:.3g} s; {_ENDS}")
    return out


def _possible(n: int, rate: float | None, purpose: str, given: Mapping[str, Any], until: bool) -> None:
    """Raise `ValueError` where n arrivals are more than can be drawn, or take longer than simulated time lasts.

    Of arrivals `until` a moment some are drawn that come later; they count for nothing.
    """
    if not 0 <= n <= 2 * MOST_ARRIVALS:
        raise ValueError(f"{purpose}: {n:.3g} arrivals; from 0 to {MOST_ARRIVALS:.0e} are drawn.")
    if rate is None:
        return
    span_s = n / rate
    if span_s > LAST_S and not until:
        raise ValueError(f"{purpose}.rate={rate:g}: the last of {n} would come after {span_s:.3g} s; {_ENDS}")
    _check_phases(span_s, purpose, given)


def _check_phases(span_s: float, purpose: str, given: Mapping[str, Any]) -> None:
    phase_s = given.get("on_s", LAST_S) + given.get("off_s", 0.0)
    if span_s / phase_s > MOST_PHASES:
        raise ValueError(
            f"{purpose}.on_s and off_s: {span_s / phase_s:.3g} phases in {span_s:.3g} s; at most "
            f"{MOST_PHASES:.0e} are drawn."
        )


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
