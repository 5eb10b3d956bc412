"""What if: the traffic of a finished run again, under other rates, policies or fleets, without its model.

Knows run logs, streams and the fleet; imports no model. Services take as long as the run measured, fitted
(`lifelong.simulation.service_times`); what is drawn with a seed is drawn as in a run, so that changes are compared
on equal arrivals. Replications replay the same edits with arrivals, questions and services of other seeds. Answers
are not simulated: staleness is by version.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lifelong.log import Edited, RunLog
from lifelong.log.shown import short_repr
from lifelong.running.arrivals import asked, check_arrivals, offsets, withdrawn
from lifelong.running.config import NamedPart, RunConfig, check_one_stream, from_table
from lifelong.running.parts import make_stream
from lifelong.running.unchanged import check_stream
from lifelong.running.words import ConfigError
from lifelong.simulation.clock import PARTS
from lifelong.simulation.fleet import NEVER, FleetOutcome, FleetSettings, Load, simulate_fleet
from lifelong.simulation.jobs import NANO, nanoseconds
from lifelong.simulation.queries import OUTSIDE
from lifelong.simulation.recorded import fits_of, samples_of
from lifelong.simulation.service_times import Fitted, draw_services
from reports.statistics.replications import WARM_UP, Replicate, after_warm_up
from streams.near import near
from streams.times.traffic import TrafficFacts
from streams.types import SCOPES

if TYPE_CHECKING:
    from streams.stream import Stream

REPLICATIONS = 10
MOST_REPLICATIONS = 1000
FLEET = tuple(f.name for f in fields(FleetSettings) if f.name not in ("workers", "policy"))


@dataclass(frozen=True)
class Replayed:
    """One replay: what it was made of and what came out, arrays by query or by change."""

    settings: FleetSettings
    load: Load
    outcome: FleetOutcome
    scopes: np.ndarray
    edit_arrived: np.ndarray
    edit_change: np.ndarray

    __repr__ = short_repr

    def response_s(self) -> np.ndarray:
        """Return seconds from a query's arrival until its answer."""
        return (self.outcome.ended - self.load.queries_at) / NANO

    def span_s(self) -> float:
        """Return the seconds during which things arrive."""
        return float(max(self.load.queries_at.max(initial=0), self.load.ready_at.max(initial=1))) / NANO

    def busy(self) -> float:
        """Return the share of all workers' time until the last arrival that they served, queries and changes."""
        return self._share(self.outcome.serving)

    def offered(self) -> float:
        """Return the offered load: all work that arrived, as a share of all workers' time until the last arrival.

        Above 1 more comes than can be served.
        """
        return self._share(self.outcome.offered)

    def _share(self, nanoseconds: int) -> float:
        return nanoseconds / NANO / (self.span_s() * self.settings.replicas * self.settings.workers)

    def lag_s(self) -> np.ndarray:
        """Return seconds from an edit's arrival until it was visible on every replica that will have it."""
        visible = self.outcome.visible_at
        last = np.where(visible == NEVER, -1, visible).max(0)
        return (last[self.edit_change] - self.edit_arrived) / NANO

    def counted(self) -> Replicate:
        """Return what is counted of it as one replication: what arrived after the warm-up."""
        span_s = self.span_s()
        queries, edits = (after_warm_up(at / NANO, span_s) for at in (self.load.queries_at, self.edit_arrived))
        return Replicate(
            self.response_s()[queries],
            self.outcome.stale[queries],
            self.lag_s()[edits],
            (1 - WARM_UP) * span_s,
            self.busy(),
            self.offered(),
        )


def replay(run: str | Path, changes: Mapping[str, Any] | None = None) -> Replayed:
    """Replay a run with changes by dotted key: those of arrivals, queries, withdrawals, workers, policy and fleet.

    Raises `ConfigError` for a key that a replay cannot change, `LogError` for a folder that is no run, or one whose
    stream changed since.
    """
    log = RunLog.open(run)
    check_stream(log)
    config, settings = settings_of(log, changes or {})
    return replay_with(config, settings, fits_of(samples_of(log)))


def replications(
    config: RunConfig, settings: FleetSettings, fits: Mapping[str, Fitted], stream: Stream, count: int = REPLICATIONS
) -> Iterator[Replayed]:
    """Yield `count` replays of the same edits, as `replay_with`, each with the next seed from `config.seed` on.

    Whatever is compared under equal seeds meets equal arrivals, questions and spreads of services. Raises
    `ConfigError` as `replay_with`.
    """
    check_replications(count)
    for seed in range(config.seed, config.seed + count):
        yield replay_with(config.model_copy(update={"seed": seed}), settings, fits, stream)


def check_replications(count: int) -> None:
    """Raise `ConfigError` for a number of replications that is none, or more than anybody waits for."""
    if not 1 <= count <= MOST_REPLICATIONS:
        raise ConfigError(
            f"replications={count}: expected 1 to {MOST_REPLICATIONS:,}; from 5 on there are intervals."
        )


def settings_of(log: RunLog, changes: Mapping[str, Any]) -> tuple[RunConfig, FleetSettings]:
    """Return the run's configuration with changes, and the fleet's."""
    mine = ("arrivals", "queries", "withdrawals", "workers", "policy", "batch", "window_s", "edits", "seed")
    for key in changes:
        if key.split(".")[0] not in (*mine, *FLEET):
            raise ConfigError(f"{key}: a replay cannot change it.{near(key, (*mine, *FLEET))}")
    fleet = {key: value for key, value in changes.items() if key in FLEET}
    config = from_table(log.config(), {k: v for k, v in changes.items() if k not in fleet})
    check_one_stream(config, "a replay")
    if config.queries is None:
        config = config.model_copy(update={"queries": NamedPart(name="poisson", options={"rate": 1.0})})
    if not config.batch:  # as many at once as the editor took in the run
        config = config.model_copy(update={"batch": max(log.table(Edited)["batch_len"].to_pylist(), default=1)})
    check_arrivals(config)
    try:
        return config, FleetSettings(workers=config.workers, policy=config.policy, **fleet)
    except (ValueError, TypeError) as error:
        raise ConfigError(str(error)) from error


def replay_with(
    config: RunConfig,
    settings: FleetSettings,
    fits: Mapping[str, Fitted],
    stream: Stream | None = None,
    services_seed: int | None = None,
) -> Replayed:
    """Replay a configuration on a fleet with fitted services; raises `ConfigError` for an operation without a fit.

    `stream` is the configuration's own unless given; services are drawn with `services_seed`, else as all is.
    """
    missing = sorted({"edit", *PARTS} - set(fits))
    if missing:
        raise ConfigError(
            f"the run has measured no {', '.join(missing)}: replay one whose panels sample latency "
            "(panels.latency_answers above 0)."
        )
    stream = make_stream(config) if stream is None else stream
    drawn_with = config.seed if services_seed is None else services_seed
    at_s = offsets(config, len(stream.edits))
    gone = withdrawn(config, stream.edits, at_s)
    facts = TrafficFacts.of(stream.edits, at_s, gone)
    traffic = asked(config, facts)
    places = {edit.id: n for n, edit in enumerate(stream.edits)}
    taken = sorted(gone.items(), key=lambda pair: pair[1])
    batch, ready = edit_batches(
        at_s, max(1, config.batch), config.window_s or np.inf, [moment for _, moment in taken]
    )
    ready_s = np.concatenate([ready, [moment for _, moment in taken]])
    sizes = np.concatenate([np.bincount(batch, minlength=len(ready)), np.full(len(taken), -1)]).astype(np.int64)
    order = np.argsort(ready_s, kind="stable")
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    edit_change = place[batch]
    back = np.full(len(stream.edits), -1)
    for n, (edit_id, _) in enumerate(taken):
        back[places[edit_id]] = place[len(ready) + n]
    outside = np.isin(traffic.scopes, [SCOPES.index(s) for s in OUTSIDE])
    about = np.where((traffic.edits < 0) | outside, -1, edit_change[traffic.edits])
    over = (about >= 0) & (facts.withdrawn_s[traffic.edits] <= traffic.at_s)
    about = np.where(over, back[traffic.edits], about)
    items = np.maximum(sizes[order], 1)
    made = draw_services(fits, ("edit",), items, drawn_with, "changes")
    removed = draw_services(fits, ("remove",), items, drawn_with, "changes")
    removes = (sizes[order] < 0)[:, None]
    changes = type(made)(
        ("change",),
        np.where(removes, removed.constant_s, made.constant_s),
        np.where(removes, removed.entry_s, made.entry_s),
    )
    load = Load(
        np.array([nanoseconds(s) for s in ready_s[order].tolist()], np.int64),
        sizes[order],
        np.round(traffic.at_s * NANO).astype(np.int64),
        about,
        changes,
        draw_services(fits, PARTS, np.ones(len(traffic)), drawn_with, "queries"),
    )
    arrived = np.round(at_s * NANO).astype(np.int64)
    return Replayed(settings, load, simulate_fleet(load, settings), traffic.scopes, arrived, edit_change)


def edit_batches(
    at_s: np.ndarray, count: int, window_s: float, cut_s: Sequence[float] = ()
) -> tuple[np.ndarray, np.ndarray]:
    """Return each edit's batch, and when each batch may begin, as `jobs_of` cuts them.

    A batch is full with `count` edits, closes `window_s` after its first one, and is cut short by a withdrawal (at
    `cut_s`, ascending).
    """
    number = np.zeros(len(at_s), np.int64)
    ready: list[float] = []
    first = held = 0
    events = sorted(
        [(moment, 0, n) for n, moment in enumerate(at_s.tolist())] + [(moment, 1, -1) for moment in cut_s]
    )
    for moment, is_cut, n in events:
        closes = at_s[first] + window_s
        if held and closes < moment:
            ready.append(float(closes))
            held = 0
        if is_cut:
            if held:
                ready.append(moment)
            held = 0
            continue
        first = n if not held else first
        held += 1
        number[n] = len(ready)
        if held == count:
            ready.append(moment)
            held = 0
    if held:
        ready.append(float(at_s[-1] if np.isinf(window_s) else at_s[first] + window_s))
    return number, np.array(ready)
