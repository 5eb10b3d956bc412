"""The options of every arrival process, as checked data: what may be given, its bounds, unit and default.

Knows no process: `streams.times.processes` draws. A test holds both to the same names and defaults.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

from pydantic import Field

from streams.settings import PathText
from streams.stream import StreamOptions

SLOWEST, FASTEST = 1e-9, 1e9  # arrivals a second: one in thirty years, and one a nanosecond, the simulator's step


class ProcessOptions(StreamOptions):
    """What every process takes: its rate."""

    rate: float = Field(default=1.0, ge=SLOWEST, le=FASTEST, description="arrivals a second of simulated time")


class DailyOptions(ProcessOptions):
    """A rate that swings like day and night."""

    period_s: float = Field(default=86_400.0, gt=0, description="seconds from one peak to the next")
    depth: float = Field(default=0.8, ge=0, le=1, description="share of the average by which the rate swings")


class GammaOptions(ProcessOptions):
    """Independent gaps, burstier or more even than Poisson's."""

    burstiness: float = Field(default=0.5, gt=0, description="1 is Poisson, below burstier, above more even")


class HawkesOptions(ProcessOptions):
    """Arrivals that bring about further ones."""

    offspring: float = Field(default=0.5, ge=0, lt=1, description="further arrivals that each brings about")
    memory_s: float = Field(default=10.0, gt=0, description="seconds over which that fades")


class OnOffOptions(ProcessOptions):
    """Busy phases and quiet ones."""

    on_s: float = Field(default=30.0, gt=0, description="mean seconds of a busy phase")
    off_s: float = Field(default=90.0, gt=0, description="mean seconds of a quiet phase")
    quiet: float = Field(default=0.0, ge=0, le=1, description="the quiet rate as a share of the busy one")


class RampOptions(ProcessOptions):
    """A rate that grows or falls."""

    growth: float = Field(default=4.0, gt=0, description="the last rate divided by the first")
    shape: Literal["linear", "exponential"] = Field(default="linear", description="how the rate grows")
    over_s: float = Field(default=0.0, ge=0, description="seconds of the ramp; 0: the whole stream")


class TraceOptions(StreamOptions):
    """Moments from a file."""

    rate: float | None = Field(
        default=None, ge=SLOWEST, le=FASTEST, description="stretch the moments to it; as recorded without it"
    )
    file: PathText = Field(description="one moment in seconds a line, ascending")
    origin_s: float | None = Field(
        default=None, description="the moment that counts as 0; by default the earliest of all traces of the run"
    )


PROCESS_OPTIONS: Mapping[str, type[StreamOptions]] = MappingProxyType(
    {
        "constant": ProcessOptions,
        "daily": DailyOptions,
        "gamma": GammaOptions,
        "hawkes": HawkesOptions,
        "on_off": OnOffOptions,
        "poisson": ProcessOptions,
        "ramp": RampOptions,
        "trace": TraceOptions,
    }
)
"""The options of every process, by its name."""
