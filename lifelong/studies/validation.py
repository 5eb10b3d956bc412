"""How true a replay is from end to end: a measured run's own arrivals, served with fitted services, against the run.

Knows run logs and replays; imports no model. Arrivals, edits and policy are those that the run had; only how long
each service takes is drawn. So what is off is what a replay leaves out: services that depend on more than bank and
batch, or on each other.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lifelong.log import Edited, RunLog, Served
from lifelong.log.shown import short_repr
from lifelong.running.parts import make_stream
from lifelong.running.unchanged import check_stream
from lifelong.running.words import ConfigError
from lifelong.simulation.recorded import every_second_window, fits_of, samples_of
from lifelong.simulation.service_times import Fitted
from lifelong.studies.replay import REPLICATIONS, Replayed, check_replications, replay_with, settings_of
from reports.statistics.percentiles import percentile

_SHARES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}


@dataclass(frozen=True)
class Validated:
    """One number of a run and the same of its replays: `drawn` has it once for each drawing of the services.

    `n` are the queries or edits it is taken over. Percentiles are in seconds; not-a-number where n is too small.
    """

    name: str
    recorded: float
    drawn: tuple[float, ...]
    n: int

    @property
    def replayed(self) -> float:
        """The mean over drawings."""
        return float(np.mean(self.drawn))

    @property
    def error(self) -> float:
        """How far the mean over drawings is off, relative to what was recorded."""
        return self.replayed / self.recorded - 1 if self.recorded else math.nan


@dataclass(frozen=True)
class Validation:
    """A run and its replays from end to end: `rows` of response time and edit lag, and stale queries as a share."""

    run: str
    rows: tuple[Validated, ...]
    stale: Validated

    __repr__ = short_repr


def validate_replay(run: str | Path, *, draws: int = REPLICATIONS) -> Validation:
    """Return how far replays of a run as it was are from what it recorded; services are drawn `draws` times.

    Services are fitted to every second of ten windows of the run's samples, so half of what is compared was not
    seen. Raises `ConfigError` unless the run's clock is `measured` and the run is finished, `LogError` as `replay`.
    """
    check_replications(draws)
    log = RunLog.open(run)
    clock = str(log.config().get("clock", {}).get("name", ""))
    if clock != "measured":
        raise ConfigError(
            f"{log.folder}: its clock is {clock}, so its times are not measured ones. Validate a run that was made "
            "with clock=measured."
        )
    if not log.done():
        raise ConfigError(f"{log.folder}: the run is not finished; go on with it by --resume, then validate.")
    check_stream(log)
    return validated_with(log, fits_of({k: every_second_window(v)[0] for k, v in samples_of(log).items()}), draws)


def validated_with(log: RunLog, fits: Mapping[str, Fitted], draws: int) -> Validation:
    """Return how far replays of a run with given fits are from what it recorded; see `validate_replay`."""
    config, settings = settings_of(log, {})
    if not log.table(Served).num_rows:  # a replay would ask once a second
        config = config.model_copy(update={"queries": None})
    stream = make_stream(config)
    served = sorted(log.table(Served).to_pylist(), key=lambda row: row["query"])
    edited = log.table(Edited).to_pylist()
    recorded = {
        "response": np.array([row["sim_s"] - row["arrived_sim_s"] for row in served]),
        "edit lag": np.array([row["visible_sim_s"] - row["arrived_sim_s"] for row in edited]),
    }
    drawn: dict[str, list[np.ndarray]] = {name: [] for name in recorded}
    stale = []
    for draw in range(draws):
        done = replay_with(config, settings, fits, stream, services_seed=config.seed + draw)
        _check_arrivals(done, served, log)
        drawn["response"].append(done.response_s()[: len(served)])
        drawn["edit lag"].append(done.lag_s())
        stale.append(float(done.outcome.stale.mean()) if len(served) else math.nan)
    rows = [_compared(f"{what} {name}", recorded[what], drawn[what], share)
            for what in recorded for name, share in _SHARES.items()]  # fmt: skip
    was = float(np.mean([row["stale_version"] for row in served])) if served else math.nan
    return Validation(log.name, tuple(rows), Validated("stale queries", was, tuple(stale), len(served)))


def validation_lines(found: Validation) -> list[str]:
    """Return the comparison as a table of text; '-' where too few queries or edits lie beyond a percentile."""
    head = ("", "recorded", "replayed", "lowest, highest", "error", "n")
    table: list[tuple[str, ...]] = [head]
    for row in found.rows:
        ends = f"{min(row.drawn):.4g}, {max(row.drawn):.4g}"
        cells = (f"{row.recorded:.4g} s", f"{row.replayed:.4g} s", ends, f"{row.error:+.1%}")
        table.append((row.name, *(("-",) * 4 if math.isnan(row.recorded) else cells), f"{row.n:,}"))
    if found.stale.n:
        ends = f"{min(found.stale.drawn):.4f}, {max(found.stale.drawn):.4f}"
        shares = (f"{found.stale.recorded:.4f}", f"{found.stale.replayed:.4f}", ends)
        table.append((found.stale.name, *shares, f"{found.stale.replayed - found.stale.recorded:+.4f}",
                      f"{found.stale.n:,}"))  # fmt: skip
    widths = [max(len(row[k]) for row in table) for k in range(len(head))]
    lines = ["  ".join([f"{row[0]:<{widths[0]}}", *(f"{c:>{w}}" for c, w in zip(row[1:], widths[1:], strict=True))])
             for row in table]  # fmt: skip
    draws = len(found.stale.drawn)
    said = (
        f"{found.run}: its own arrivals, services drawn {draws} times from fits to every second window of its samples"
    )
    return [said, *lines]


def _compared(name: str, recorded: np.ndarray, drawn: Sequence[np.ndarray], share: float) -> Validated:
    values = tuple(percentile(one, share).value for one in drawn)
    return Validated(name, percentile(recorded, share).value, values, len(recorded))


def _check_arrivals(done: Replayed, served: Sequence[dict], log: RunLog) -> None:
    """Raise `ConfigError` unless a replay's queries arrived when the run's did."""
    there = done.load.queries_at[: len(served)] / 1e9
    if served and not (
        len(done.load.queries_at) == len(served)
        and np.allclose(there, [row["arrived_sim_s"] for row in served], rtol=0, atol=1e-6)
    ):
        raise ConfigError(f"{log.folder}: its queries did not arrive as they are drawn now. Run it again, --fresh.")
