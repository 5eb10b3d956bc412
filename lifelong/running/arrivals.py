"""What arrives in a run and when: its stream's edits, the traffic's queries, withdrawals, on one time axis.

Knows configuration and stream; nothing of editors, models or queues. Everything is drawn up front.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from lifelong.running.config import NamedPart, RunConfig, check_model
from lifelong.running.options import options_model
from lifelong.running.words import ConfigError
from streams.orders.order import generator
from streams.times.arrivals import arrival_offsets, expected_until, merged, offsets_until, timetable, trace_origin
from streams.times.processes import AS_RECORDED
from streams.times.traffic import DrawnQuestions, TrafficFacts, TrafficOptions, draw_traffic, pose
from streams.types import Arrival, Edit, Withdraw

if TYPE_CHECKING:
    from streams.stream import Stream


def check_arrivals(config: RunConfig) -> None:
    """Raise `ConfigError` unless all arrivals have known names and options, and recorded ones a readable file.

    Called before a stream is loaded; `check_amounts` then knows how many edits there are.
    """
    for what in ("arrivals", "queries", "withdrawals"):
        part: NamedPart | None = getattr(config, what)
        if part is not None:
            check_model(options_model(what, part.name), part.options, what)
            if part.name in AS_RECORDED:
                _named_error(lambda part=part, what=what: _until(config, part, what, math.inf))


def check_amounts(config: RunConfig, edits: int) -> None:
    """Raise `ConfigError` where a run's arrivals are more than can be drawn, later than time ends, or too few.

    Called before a model is asked anything. `edits` is how many the stream has.
    """

    def check() -> None:
        end_s = float(offsets(config, edits)[-1])
        for what in ("queries", "withdrawals"):
            part: NamedPart | None = getattr(config, what)
            if part is not None:
                expected_until(part.name, end_s, purpose=what, **_process_options(part))

    _named_error(check)


def _named_error(check: Callable[[], object]) -> None:
    try:
        check()
    except (ValueError, OSError) as error:
        raise ConfigError(str(error)) from error


def traffic_options(config: RunConfig) -> TrafficOptions:
    """Return what the traffic asks about; raises `ConfigError` for a bad value."""
    given = {} if config.queries is None else config.queries.options
    mine = {k: v for k, v in given.items() if k in TrafficOptions.model_fields}
    return check_model(TrafficOptions, mine, "queries")


def offsets(config: RunConfig, edits: int) -> np.ndarray:
    """Return the moments at which a run's edits arrive, in simulated seconds."""
    return arrival_offsets(config.arrivals.name, edits, seed=config.seed, **_process_options(config.arrivals, config))


def withdrawn(config: RunConfig, edits: tuple[Edit, ...], at_s: np.ndarray) -> dict[str, float]:
    """Return which edits are taken back, and when: at each withdrawal one of those that have arrived and stand.

    An edit that a later one of the stream replaces never is; where none is left, nothing is taken back.
    """
    if config.withdrawals is None:
        return {}
    moments = _until(config, config.withdrawals, "withdrawals", float(at_s[-1]))
    drawn = generator(config.seed, "withdrawals", "edits").random(len(moments))
    replaced = {edit.supersedes for edit in edits}
    standing: list[str] = []
    out: dict[str, float] = {}
    arrived = 0
    for moment, share in zip(moments.tolist(), drawn.tolist(), strict=True):
        while arrived < len(edits) and at_s[arrived] <= moment:
            standing += [edits[arrived].id] if edits[arrived].id not in replaced else []
            arrived += 1
        if standing:
            out[standing.pop(int(share * len(standing)))] = moment
    return out


def asked(config: RunConfig, facts: TrafficFacts) -> DrawnQuestions:
    """Return the traffic until the last edit arrives, a trace to its end (none where the run has no queries)."""
    if config.queries is None:
        return DrawnQuestions(np.zeros(0), np.zeros(0, np.int64), np.zeros(0, np.int64))
    moments = _until(config, config.queries, "queries", float(facts.at_s[-1]))
    return draw_traffic(facts, moments, traffic_options(config), config.seed)


def arrivals_of(config: RunConfig, stream: Stream) -> tuple[Arrival, ...]:
    """Return everything that arrives in a run; at one moment edits come first, then withdrawals, then queries."""
    at_s = offsets(config, len(stream.edits))
    gone = withdrawn(config, stream.edits, at_s)
    facts = TrafficFacts.of(stream.edits, at_s, gone)
    traffic = asked(config, facts)
    return merged(
        timetable(stream.edits, at_s),
        timetable([Withdraw(i) for i in gone], list(gone.values())),
        timetable(pose(stream, facts, traffic, config.seed), traffic.at_s),
    )


def _until(config: RunConfig, part: NamedPart, what: str, end_s: float) -> np.ndarray:
    return offsets_until(part.name, end_s, seed=config.seed, purpose=what, **_process_options(part, config))


def _process_options(part: NamedPart, config: RunConfig | None = None) -> dict[str, Any]:
    """Return the options of a part's process; all traces of a run count from the earliest moment of any."""
    options: dict[str, Any] = {k: v for k, v in part.options.items() if k not in TrafficOptions.model_fields}
    if config is not None and part.name in AS_RECORDED and "origin_s" not in options:
        parts = {"arrivals": config.arrivals, "queries": config.queries, "withdrawals": config.withdrawals}
        traced = {what: p.options for what, p in parts.items() if p is not None and p.name in AS_RECORDED}
        options["origin_s"] = trace_origin({what: o["file"] for what, o in traced.items() if "file" in o})
    return options
