"""`lifelong replay` and `trace`: a finished run's traffic under other conditions, and its timeline.

Puts replays and their report together; computes nothing itself.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lifelong.cli.words import say
from lifelong.running.words import ConfigError, parse_words

if TYPE_CHECKING:
    from lifelong.simulation.service_times import Fidelity


def one_list(changes: dict[str, Any], may: Sequence[str]) -> tuple[str | None, list[dict[str, Any]]]:
    """Return which key has a list for its value, and the changes once for each of its values.

    Raises `ConfigError` for an empty list, and for a second one.
    """
    lists = [key for key, value in changes.items() if key in may and isinstance(value, list)]
    if len(lists) > 1:
        raise ConfigError(f"{' and '.join(lists)} are lists: give one of them a single value.")
    if not lists:
        return None, [changes]
    if not changes[lists[0]]:
        raise ConfigError(f"{lists[0]}: an empty list; give values, such as {lists[0]}=1,10,100.")
    return lists[0], [{**changes, lists[0]: value} for value in changes[lists[0]]]


def replay_command(
    run: Annotated[Path, typer.Argument(help="A finished run's folder.")],
    words: Annotated[
        list[str] | None,
        typer.Argument(help="key=value words: arrivals.rate=2 queries.rate=50 policy=preempt replicas=1,10,100 ..."),
    ] = None,
    slo_s: Annotated[float, typer.Option("--slo", min=0.0, help="Seconds within which an answer is good.")] = 1.0,
    count: Annotated[
        int, typer.Option("--replications", help="Replays of each row, with seeds of their own; intervals from 5.")
    ] = 10,
    validate: Annotated[
        bool, typer.Option("--validate", help="Compare a replay of the run as it was with what it recorded.")
    ] = False,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Where the table and the picture go.")] = None,
) -> None:
    """Replay a run's traffic without its model, at other rates, policies and fleets; prints the capacity plan.

    One of `replicas` and `queries.rate` may be a list. --validate needs a run with clock=measured, and no words.
    """
    from lifelong.log import RunLog
    from lifelong.running.parts import make_stream
    from lifelong.running.unchanged import check_stream, editor_changed
    from lifelong.simulation.recorded import fidelities, fits_of, samples_of
    from lifelong.studies.replay import check_replications, replications, settings_of
    from lifelong.studies.validation import validate_replay, validation_lines
    from reports.figures import capacity
    from reports.figures.style import save
    from reports.written import csv_bytes, write_whole

    if not 0 < slo_s < math.inf:
        raise ConfigError(f"--slo {slo_s}: seconds above 0 are needed.")
    check_replications(count)
    if validate:
        if words or out is not None:
            raise ConfigError("--validate replays the run as it was: leave out the other words and -o.")
        print("\n".join(validation_lines(validate_replay(run, draws=count))))
        return
    varied, cells = one_list(parse_words(words or ()), ("replicas", "queries.rate"))
    log = RunLog.open(run)
    check_stream(log)
    if editor_changed(log):
        say("the editor's file changed since the run; its times are those that were measured then")
    samples = samples_of(log)
    fits = fits_of(samples)
    for found in fidelities(samples):
        print(fidelity_text(found))
    points, stream = [], None
    for config, settings in [settings_of(log, changes) for changes in cells]:
        stream = make_stream(config) if stream is None else stream  # the same edits in every row
        parts = [done.counted() for done in replications(config, settings, fits, stream, count)]
        points.append(capacity.point(settings.replicas, parts, slo_s=slo_s))
    print("\n".join(capacity.plan_lines(points, slo_s)))
    if out is not None:
        words_said = " ".join(words or ())
        drawn = capacity.draw_plan(points, slo_s, f"{log.name} {words_said}", along=varied or "replicas")
        write_whole(out / "capacity.csv", csv_bytes(capacity.table(points)))
        print(save(drawn, out / "capacity.png"))


def trace_command(
    run: Annotated[Path, typer.Argument(help="A run's folder.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The JSON file, for chrome://tracing or Perfetto.")],
) -> None:
    """Write a run's timeline in simulated time: who waited, what was edited and answered, when panels were held."""
    from reports.trace import write_trace

    print(write_trace(run, out))


def fidelity_text(found: Fidelity) -> str:
    """Return how far a fit is off on what was held out, with the p99's interval where there are enough for one."""
    from reports.statistics.percentiles import percentile

    p99, mean_s = percentile(found.measured_s, 0.99), float(found.measured_s.mean())
    tail = f"p99 {p99.text(1e3, 3)} ms ({found.p99_error:.1%} off)" if p99.known else "too few for a p99"
    begin = f"{found.operation}: fitted to every second window, held-out n={p99.n}: "
    return begin + f"mean {mean_s * 1e3:.3f} ms ({found.mean_error:.1%} off), {tail}"
