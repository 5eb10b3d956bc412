"""`lifelong replay`, `stress load` and `trace`: a finished run's traffic under other conditions, and its timeline.

Puts replays and their report together; computes nothing itself.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lifelong.config import ConfigError, parse_words


def replay_command(
    run: Annotated[Path, typer.Argument(help="A finished run's folder.")],
    words: Annotated[
        list[str] | None,
        typer.Argument(help="key=value words: arrivals.rate=2 queries.rate=50 policy=preempt replicas=1,10,100 ..."),
    ] = None,
    slo_s: Annotated[float, typer.Option("--slo", min=0.0, help="Seconds within which an answer is good.")] = 1.0,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Where the table and the picture go.")] = None,
) -> None:
    """Replay a run's traffic without its model, at other rates, policies and fleets; prints the capacity plan."""
    from lifelong.log import RunLog
    from lifelong.replay import replay_with, settings_of
    from lifelong.service_samples import fits_of, held_out, samples_of
    from reports import capacity

    changes = parse_words(words or ())
    given = changes.pop("replicas", 1)
    fleets = given if isinstance(given, list) else [given]
    if not fleets or not all(isinstance(n, int) for n in fleets):
        raise ConfigError(f"replicas={given}: whole numbers, such as replicas=1,10,100.")
    log = RunLog.open(run)
    samples = samples_of(log)
    fits = fits_of(samples)
    for found in held_out(samples):
        print(
            f"{found.operation}: fitted to every second window, held-out n={found.n}: "
            f"mean {found.mean_s * 1e3:.3f} ms ({found.mean_error:.1%} off), "
            f"p99 {found.p99_s * 1e3:.3f} ms ({found.p99_error:.1%} off)"
        )
    points = []
    for replicas in fleets:
        config, settings = settings_of(log, changes | {"replicas": replicas})
        done = replay_with(config, settings, fits)
        points.append(
            capacity.point(
                replicas, settings.workers, done.response_s(), done.outcome.stale, done.lag_s(), done.busy_s(),
                done.span_s(), slo_s,
            )
        )  # fmt: skip
    print("\n".join(capacity.lines(points, slo_s)))
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        capacity.table(points).write_csv(out / "capacity.csv")
        words_said = " ".join(words or ())
        capacity.picture(points, slo_s, f"{log.name} {words_said}").savefig(out / "capacity.png", dpi=150)
        print(out / "capacity.png")


def trace_command(
    run: Annotated[Path, typer.Argument(help="A run's folder.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The JSON file, for chrome://tracing or Perfetto.")],
) -> None:
    """Write a run's timeline in simulated time: who waited, what was edited and answered, when panels were held."""
    from reports.chrome_trace import write_trace

    print(write_trace(run, out))


stress_app = typer.Typer(help="How much a system bears before it breaks.", no_args_is_help=True)


@stress_app.command("load")
def stress_load_command(
    run: Annotated[Path, typer.Argument(help="A finished run's folder.")],
    words: Annotated[
        list[str] | None, typer.Argument(help="key=value words, as for replay: policy=preempt replicas=10 ...")
    ] = None,
    slo_s: Annotated[float, typer.Option("--slo", min=0.0, help="Seconds within which an answer is good.")] = 1.0,
    good: Annotated[float, typer.Option("--good", help="Share of queries that shall be.")] = 0.99,
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="How many seeds.")] = 5,
) -> None:
    """Find the largest query rate that is answered in time, by replays of a run; prints it with its interval."""
    from lifelong.stress import stress_load

    found = stress_load(str(run), parse_words(words or ()), slo_s=slo_s, good=good, seeds=range(seeds))
    spread = found.interval()
    by_seed = ", ".join(f"{rate:.3g}" for rate in found.rates_per_s)
    said = f"95 % [{spread[0]:.3g}, {spread[1]:.3g}]" if spread else f"seeds: {by_seed}; too few for an interval"
    print(f"{good:.0%} of queries within {slo_s:g} s up to {found.mean_per_s:.3g} queries a second ({said})")
    print(f"there, workers are busy {found.busy:.0%} of the time; edits arrive as said, beside the queries")
