"""What a report shows of traffic, and a run's timeline, against the facts themselves."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

import lifelong
from lifelong.log import Edited, RunLog, Served
from reports.figures import rollback as figures_rollback
from reports.figures import traffic as figures_traffic
from reports.page import write_report
from reports.statistics.replications import WARM_UP
from reports.table import load_runs
from reports.trace import CHANGES, QUERIES, WAITING, write_trace

WORDS = {"model": "tiny", "stream": "toy", "edits": 30, "panels.at": [10, 30], "queries.rate": 8.0}
WORDS |= {"policy": "queries_first", "clock.edit_s": 0.7, "panels.latency_routes": 4, "panels.latency_answers": 1}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    out = str(tmp_path_factory.mktemp("traffic"))
    return [lifelong.run(None, quiet=True, out=out, editor=editor, **WORDS) for editor in ("oracle", "none")]  # pyright: ignore[reportArgumentType]


def test_percentiles_of_waiting_are_those_of_the_facts(runs: list[Path]) -> None:
    facts, _ = load_runs(runs)
    table = figures_traffic.waiting(facts).table
    served = RunLog.open(runs[0]).table(Served).to_pylist()
    begins = WARM_UP * max(row["arrived_sim_s"] for row in served)
    response = sorted(row["sim_s"] - row["arrived_sim_s"] for row in served if row["arrived_sim_s"] >= begins)
    row = table.filter(
        (pl.col("editor") == "oracle") & pl.col("time").str.contains("resp") & (pl.col("percentile") == "p50")
    )
    assert row["n"].item() == len(response) > 150
    assert row["value_s"].item() == pytest.approx(response[(len(response) + 1) // 2 - 1])
    assert table["low_s"].is_nan().all(), "waiting times of one run follow each other: no interval"


def test_response_times_have_an_interval_over_five_seeds(runs: list[Path]) -> None:
    facts, _ = load_runs(runs)
    moved = [facts.served.with_columns(pl.lit(seed).cast(facts.served["seed"].dtype).alias("seed"),
                                       pl.col("sim_s") + 0.01 * seed) for seed in range(5)]  # fmt: skip
    table = figures_traffic.waiting(replace(facts, served=pl.concat(moved))).table
    p50 = table.filter(pl.col("time").str.contains("resp") & (pl.col("percentile") == "p50"))
    assert (
        (p50["seeds"] == 5).all() and (p50["low_s"] < p50["value_s"]).all() and (p50["value_s"] < p50["high_s"]).all()
    )


def test_shares_of_stale_queries_are_those_of_the_facts(runs: list[Path]) -> None:
    facts, _ = load_runs(runs)
    table = figures_traffic.staleness(facts).table
    for editor in ("oracle", "none"):
        mine = table.filter(pl.col("editor") == editor)
        inside = facts.served.filter((pl.col("editor") == editor) & pl.col("scope").is_in(figures_traffic.INSIDE))
        for column in ("right", "stale_version", "stale_answer"):
            mean = float((mine[column] * mine["n"]).sum()) / int(mine["n"].sum())
            assert mean == pytest.approx(inside[column].cast(pl.Float64).mean())
    assert table.filter(pl.col("editor") == "none")["right"].max() == 0


def test_the_time_average_of_queries_inside_is_littles_law(runs: list[Path]) -> None:
    """The mean depth times the time is the sum of all stays, but for those that end after the last arrival."""
    facts, _ = load_runs(runs)
    depth = figures_traffic.lag(facts).table.filter(pl.col("editor") == "oracle")["queries_inside"]
    served = facts.served.filter(pl.col("editor") == "oracle")
    end = float(served["arrived_sim_s"].max())  # type: ignore[arg-type]
    stays = (served["sim_s"].clip(upper_bound=end) - served["arrived_sim_s"]).sum()
    assert float(depth.mean() or 0) * end == pytest.approx(stays)  # type: ignore[arg-type]


def test_the_page_has_traffic_where_there_was_some(runs: list[Path], tmp_path: Path) -> None:
    page = write_report(runs, tmp_path).read_text()
    assert set(re.findall(r'<figure id="(\w+)"', page)) >= {"waiting", "staleness", "edit_lag"}


def test_the_timeline_has_every_query_and_edit_and_no_overlap_in_a_lane(runs: list[Path], tmp_path: Path) -> None:
    found = json.loads(write_trace(runs[0], tmp_path / "trace.json").read_text())["traceEvents"]
    log = RunLog.open(runs[0])
    spans = [e for e in found if e["ph"] == "X"]
    count = {pid: sum(e["pid"] == pid for e in spans) for pid in (WAITING, CHANGES, QUERIES)}
    assert count[QUERIES] == log.table(Served).num_rows and count[CHANGES] == log.table(Edited).num_rows
    lanes: dict[tuple[int, int], float] = {}
    for event in sorted(spans, key=lambda e: e["ts"]):
        lane = event["pid"], event["tid"]
        assert event["ts"] >= lanes.get(lane, 0.0) - 1e-3
        lanes[lane] = event["ts"] + event["dur"]
    assert sum(e["ph"] == "i" for e in found) == 2


def test_rollback_is_whole_where_an_editor_takes_back_and_says_where_it_cannot(tmp_path: Path) -> None:
    words = WORDS | {"withdrawals.rate": 0.3, "out": str(tmp_path), "edits": 20, "panels.at": [10, 20]}
    facts, _ = load_runs([lifelong.run(None, quiet=True, editor=editor, **words) for editor in ("oracle", "ft")])  # pyright: ignore[reportArgumentType]
    drawn = figures_rollback.rollback(facts)
    assert figures_rollback.happened(facts)
    shares = drawn.table.filter(pl.col("agreement").is_not_null())
    assert set(shares["editor"]) == {"oracle"} and shares["agreement"].min() == 1 and shares["n"].sum() > 20
    taken = facts.withdrawals.filter(pl.col("editor") == "oracle")
    assert drawn.table["remove_ms"].drop_nulls().len() >= taken["value"].sum() > 0
    assert facts.gauged["step"].unique().sort().to_list() == [10, 20], "a withdrawal is no panel"
    assert re.search(r"not there: .*ft [1-9]", drawn.caption)


def test_no_rollback_is_drawn_where_nothing_was_taken_back(runs: list[Path]) -> None:
    assert not figures_rollback.happened(load_runs(runs)[0])
