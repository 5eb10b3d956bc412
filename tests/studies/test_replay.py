"""Replaying a run's traffic without its model: equal arrivals, equal staleness, and the capacity plan."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import lifelong
from lifelong.log import Edited, RunLog, Served
from lifelong.running.parts import make_stream
from lifelong.running.words import ConfigError
from lifelong.simulation.jobs import jobs_of
from lifelong.simulation.recorded import fits_of, samples_of
from lifelong.simulation.service_times import Fitted
from lifelong.studies.replay import edit_batches, replay, replay_with, replications, settings_of
from reports.statistics.percentiles import percentile
from streams.times.arrivals import arrival_offsets, merged, offsets_until, timetable
from streams.types import Edit, Query, Withdraw

WORDS = {"model": "tiny", "stream": "toy", "editor": "oracle", "edits": 30, "panels.at": [30], "arrivals.rate": 1.0}
WORDS |= {"queries.rate": 5.0, "queries.recency": 0.8, "queries.recent": 2.0, "policy": "queries_first"}
COSTS = {"edit_s": 0.6, "encode_s": 0.01, "route_s": 0.001, "apply_s": 0.001, "answer_s": 0.05}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    words: dict[str, Any] = WORDS | {f"clock.{name}": seconds for name, seconds in COSTS.items()}
    return lifelong.run(None, quiet=True, out=str(tmp_path_factory.mktemp("replay")), **words)


def test_a_replay_with_the_same_costs_is_the_run(run: Path) -> None:
    """Same arrivals, policy and constant services: every query begins and ends when it did, as stale as it was."""
    log = RunLog.open(run)
    fits = {name.removesuffix("_s"): Fitted(seconds, 0.0, 0.0, np.ones(1)) for name, seconds in COSTS.items()}
    again = replay_with(*settings_of(log, {}), {**fits, "remove": Fitted(0.0, 0.0, 0.0, np.ones(1))})
    served = sorted(log.table(Served).to_pylist(), key=lambda row: row["query"])
    assert len(served) == len(again.load.queries_at) > 100
    assert again.response_s() == pytest.approx([r["sim_s"] - r["arrived_sim_s"] for r in served], abs=1e-6)
    assert again.outcome.stale.tolist() == [row["stale_version"] for row in served]
    assert again.outcome.bank_len.tolist() == [row["step"] for row in served]
    lags = [row["visible_sim_s"] - row["arrived_sim_s"] for row in log.table(Edited).to_pylist()]
    assert again.lag_s() == pytest.approx(lags, abs=1e-6)


def test_more_replicas_answer_sooner_at_equal_arrivals(run: Path) -> None:
    one, four = (replay(run, {"queries.rate": 40.0, "replicas": n}) for n in (1, 4))
    assert (one.load.queries_at == four.load.queries_at).all()
    assert four.response_s().mean() <= one.response_s().mean()


def test_replications_have_equal_edits_other_arrivals_and_are_equal_for_what_is_compared(run: Path) -> None:
    log = RunLog.open(run)
    fits = fits_of(samples_of(log))
    (config, one), (_, four) = (settings_of(log, {"queries.rate": 40.0, "replicas": n}) for n in (1, 4))
    stream = make_stream(config)
    single, fleet = (list(replications(config, settings, fits, stream, 3)) for settings in (one, four))
    assert all((a.load.queries_at == b.load.queries_at).all() for a, b in zip(single, fleet, strict=True))
    assert all(len(done.edit_arrived) == 30 for done in single)
    assert len({done.load.queries_at[0] for done in single}) == 3
    first = replay(run, {"queries.rate": 40.0})
    assert (first.response_s() == single[0].response_s()).all(), "the first one has the run's own seed"


def test_what_arrives_in_the_first_tenth_of_the_time_is_not_counted(run: Path) -> None:
    done = replay(run, {"queries.rate": 40.0})
    counted, begins = done.counted(), 0.1 * done.span_s()
    assert len(counted.response_s) == (done.load.queries_at / 1e9 >= begins).sum() < len(done.response_s())
    assert len(counted.lag_s) == (done.edit_arrived / 1e9 >= begins).sum()
    assert counted.counted_s == pytest.approx(0.9 * done.span_s())


@pytest.mark.parametrize("withdrawals", [0, 40])
@pytest.mark.parametrize(("count", "window_s"), [(1, np.inf), (4, np.inf), (4, 2.0), (8, 0.5)])
def test_batches_are_cut_as_the_event_loop_cuts_them(count: int, window_s: float, withdrawals: int) -> None:
    at_s = arrival_offsets("poisson", 200, 1.0, seed=4)
    edits = [Edit(str(n), Query(str(n)), "a", "s") for n in range(200)]
    cut_s = offsets_until("poisson", float(at_s[-1]), 0.2, seed=5, purpose="withdrawals")[:withdrawals]
    number, ready = edit_batches(at_s, count, window_s, cut_s.tolist())
    arrivals = merged(timetable(edits, at_s), timetable([Withdraw("0")] * len(cut_s), cut_s))
    jobs = [job for job in jobs_of(arrivals, count, 0.0 if np.isinf(window_s) else window_s) if job.edits]
    assert np.bincount(number).tolist() == [len(job.edits) for job in jobs]
    assert ready == pytest.approx([job.ready / 1e9 for job in jobs])


def test_a_replay_makes_as_many_edits_at_once_as_the_run_did(tmp_path: Path) -> None:
    words: dict[str, Any] = WORDS | {"batch": 5, "out": str(tmp_path)}
    log = RunLog.open(lifelong.run(None, quiet=True, **words))
    assert settings_of(log, {"batch": 0})[0].batch == settings_of(log, {})[0].batch == 5


def test_what_a_replay_cannot_change_is_refused(run: Path) -> None:
    with pytest.raises(ConfigError, match="editor.radius: a replay cannot change it"):
        replay(run, {"editor.radius": 1})
    with pytest.raises(ConfigError, match="round_robin"):
        replay(run, {"balancer": "best"})


def test_the_command_prints_the_plan_and_draws_it(run: Path, tmp_path: Path) -> None:
    words = ["queries.rate=40", "replicas=1,2", "--slo", "0.5", "-o", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-m", "lifelong.cli", "replay", str(run), *words], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip().endswith("capacity.png") and "goodput" in done.stdout
    assert "10 replications of equal edits" in done.stdout and "n: queries" in done.stdout
    assert (tmp_path / "capacity.png").stat().st_size > 10_000
    rows = pl.read_csv(tmp_path / "capacity.csv")
    assert rows["replications"].to_list() == [10, 10] and (rows["p50_low_s"] < rows["p50_s"]).all()
    assert (rows["effective_queries"] < rows["queries"]).all() and (rows["in_slo_low"] <= rows["in_slo"]).all()
    for wrong in (["--replications", "0"], ["--validate", "replicas=2"], ["--validate"]):
        refused = subprocess.run(
            [sys.executable, "-m", "lifelong.cli", "replay", str(run), *wrong], capture_output=True, text=True
        )
        assert refused.returncode == 2 and refused.stderr.count("\n") == 1, refused.stderr


@pytest.mark.parametrize("policy", ["fifo", "preempt"])
@pytest.mark.parametrize("rate", [1.0, 16.0, 400.0])
def test_workers_are_busy_at_most_all_the_time_and_the_offered_load_is_told_apart(run: Path, rate, policy) -> None:
    """By hand: work is what all services took; until the last arrival workers served what the queue then lacks."""
    for replicas, workers in ((1, 1), (2, 3)):
        done = replay(run, {"queries.rate": rate, "replicas": replicas, "workers": workers, "policy": policy})
        assert 0 < done.busy() <= 1 and done.busy() <= done.offered()
        if replicas == workers == 1 and policy == "fifo":  # one worker, never idle while something waits
            spans = sorted([*zip(done.outcome.begun.tolist(), done.outcome.ended.tolist(), strict=True)])
            end = done.span_s() * 1e9
            queries = sum(min(e, end) - min(b, end) for b, e in spans)
            assert done.busy() >= queries / end - 1e-9
    crowded = replay(run, {"queries.rate": 400.0, "policy": policy})
    assert crowded.busy() > 0.95 and crowded.offered() > 2


def test_goodput_follows_the_offered_load_until_it_cannot(run: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "lifelong.cli", "replay", str(run), "queries.rate=1,4,400", "-o", str(tmp_path)]
    subprocess.run([*command, "--slo", "5"], capture_output=True, text=True, check=True)
    rows = pl.read_csv(tmp_path / "capacity.csv")
    share = (rows["goodput_per_s"] / rows["offered_per_s"]).to_list()
    assert rows["offered_per_s"].to_list() == pytest.approx([1, 4, 400], rel=0.5) and share[0] > share[2]
    two = subprocess.run([*command, "replicas=1,2"], capture_output=True, text=True)
    assert two.returncode == 2 and "queries.rate and replicas are lists" in two.stderr


@pytest.mark.parametrize("share", [0.5, 0.9, 0.99])
def test_percentiles_lie_in_their_intervals_as_often_as_they_say(share: float) -> None:
    rng = np.random.default_rng(0)
    truth = -math.log(1 - share)
    found = [percentile(rng.exponential(1.0, 2000), share) for _ in range(400)]
    assert np.mean([p.low <= truth <= p.high for p in found]) == pytest.approx(0.95, abs=0.035)


def test_a_percentile_of_too_few_samples_is_refused() -> None:
    assert math.isnan(percentile(np.arange(2000.0), 0.999).value) and percentile(np.arange(10.0), 0.999).n == 10
    assert not math.isnan(percentile(np.arange(20_000.0), 0.999).value)
