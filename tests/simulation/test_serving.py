"""A run with query traffic: what is served, when, by which edits, and that no quality depends on it."""

from __future__ import annotations

from typing import Any

import pytest

import lifelong
from lifelong.log import Edited, Gauged, Probed, RunLog, Served

RUN = {
    "model": "tiny",
    "stream": "toy",
    "edits": 24,
    "panels.at": [8, 24],
    "fit.edits": 8,
    "panels.latency_routes": 4,
}
RUN |= {"arrivals.rate": 1.0, "panels.latency_answers": 1, "stream.order": "reedits"}
QUIET = {"clock.edit_s": 0.7}
GRACE = {"name": "grace", "steps": 10}
TRAFFIC = QUIET | {"queries.rate": 4.0, "queries.recent": 3.0, "queries.recency": 0.6}


def run(folder, **changes) -> RunLog:
    return RunLog.open(lifelong.run(None, quiet=True, out=str(folder), **{**RUN, **changes}))


def rows(log: RunLog, fact: type, *without: str) -> list[dict]:
    return [{k: v for k, v in row.items() if k not in without} for row in log.table(fact).to_pylist()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("serving")


@pytest.fixture(scope="module")
def served(folder) -> list[dict]:
    return rows(run(folder, editor="oracle", **TRAFFIC), Served)


@pytest.fixture(scope="module")
def overtaking(folder) -> RunLog:
    """Queries overtake edits: first in, first out, none would meet an edit that has arrived and is not visible."""
    return run(folder, editor="oracle", policy="queries_first", **TRAFFIC)


def test_every_query_is_served_once_in_order_of_arrival(served) -> None:
    assert sorted(row["query"] for row in served) == list(range(len(served))) and len(served) > 60
    by_query = sorted(served, key=lambda row: row["query"])
    begun = [row["begun_sim_s"] for row in by_query]
    assert begun == sorted(begun)  # first in, first out
    for row in served:
        parts = sum(row[f"{part}_s"] for part in ("encode", "route", "apply", "answer"))
        assert row["arrived_sim_s"] <= row["begun_sim_s"]
        assert row["sim_s"] == pytest.approx(row["begun_sim_s"] + parts, abs=1e-6)


def test_a_query_is_stale_exactly_when_its_edit_is_not_visible_yet(overtaking, served) -> None:
    visible = {row["edit_id"]: row["visible_sim_s"] for row in rows(overtaking, Edited)}
    inside = [row for row in rows(overtaking, Served) if row["scope"] in ("edited", "rephrased", "rendering")]
    assert {row["stale_version"] for row in inside} == {True, False}
    assert not any(row["stale_version"] for row in served)
    for row in inside:
        assert row["stale_version"] == (visible[row["edit_id"]] > row["begun_sim_s"])
        assert not (row["right"] and row["stale_answer"])


def test_answers_that_are_stale_come_before_the_edit_is_visible(overtaking) -> None:
    """The oracle answers by an edit as soon as that is visible; before, by what was true before."""
    inside = [row for row in rows(overtaking, Served) if row["scope"] in ("edited", "rephrased", "rendering")]
    assert all(row["right"] != row["stale_version"] and row["stale_answer"] == row["stale_version"] for row in inside)


@pytest.mark.parametrize("policy", ["fifo", pytest.param("queries_first", marks=pytest.mark.soak), "preempt"])
@pytest.mark.parametrize("editor", [GRACE, pytest.param("rag", marks=pytest.mark.soak)], ids=["grace", "rag"])
def test_law_1_no_quality_depends_on_traffic_or_policy(folder, editor: Any, policy: str) -> None:
    """Exactly, but for the rounding of a route's score: which keys share a batch depends on who asks first."""
    busy, quiet = run(folder, editor=editor, policy=policy, **TRAFFIC), run(folder, editor=editor, **QUIET)
    rounded = ("route_score", "best_score")
    assert rows(busy, Probed, "sim_s", *rounded) == rows(quiet, Probed, "sim_s", *rounded)
    for name in rounded:
        scores = [[row[name] or 0.0 for row in rows(log, Probed)] for log in (busy, quiet)]
        assert scores[0] == pytest.approx(scores[1], abs=1e-5)


def test_queries_first_waits_less_and_lets_edits_lag(folder) -> None:
    waits, lags = {}, {}
    for policy in ("fifo", "queries_first", "preempt"):
        log = run(folder, editor="rag", policy=policy, **TRAFFIC)
        waits[policy] = sum(row["begun_sim_s"] - row["arrived_sim_s"] for row in rows(log, Served))
        lags[policy] = sum(row["visible_sim_s"] - row["arrived_sim_s"] for row in rows(log, Edited))
    assert waits["preempt"] < waits["queries_first"] < waits["fifo"]
    assert lags["preempt"] >= lags["queries_first"] > lags["fifo"]


def test_a_measured_clock_measures_every_part_of_a_query(folder) -> None:
    few = {"editor": GRACE, "edits": 8, "queries.rate": 1.0}
    log = run(folder, clock="measured", **few)
    for row in rows(log, Served):
        assert row["encode_s"] > 0 and row["route_s"] > 0 and row["answer_s"] > 0
    again = run(folder, clock="replayed", **few, **{"clock.run": str(log.folder)})
    assert rows(again, Served) == rows(log, Served)
    fitted = run(folder, clock="fitted", **few, **{"clock.run": str(log.folder)})
    seen, drawn = ([row["answer_s"] for row in rows(one, Served)] for one in (log, fitted))
    assert min(seen) / 2 < sum(drawn) / len(drawn) < 2 * max(seen)


def test_withdrawn_edits_are_asked_about_as_the_frozen_model_knows_them(folder) -> None:
    log = run(folder, editor="oracle", **TRAFFIC, **{"withdrawals.rate": 0.3, "queries.edited": 5.0})
    gone = {f["name"]: f["sim_s"] for f in rows(log, Gauged) if f["kind"] == "withdrawn" and f["value"]}
    assert gone
    after = [
        r for r in rows(log, Served) if r["scope"] == "edited" and r["begun_sim_s"] > gone.get(r["edit_id"], 1e9)
    ]
    assert after and all(row["right"] and not row["stale_version"] for row in after if row["arrived_sim_s"] > 0)
    assert any(row["variant"] == "withdrawn" for row in rows(log, Probed))


def test_littles_law_holds_for_queries_too(folder, served) -> None:
    log = run(folder, editor="oracle", **TRAFFIC)
    gauges = {f["name"]: f["value"] for f in rows(log, Gauged) if f["kind"] == "traffic" and f["step"] == 24}
    mean_s = sum(row["sim_s"] - row["arrived_sim_s"] for row in served) / len(served)
    assert gauges["in_system_mean"] == pytest.approx(gauges["served_per_s"] * mean_s, rel=1e-6)


@pytest.mark.parametrize("policy", [pytest.param("fifo", marks=pytest.mark.soak), "preempt"])
def test_law_11_with_traffic_interrupted_and_resumed_equals_uninterrupted(
    folder, tmp_path, policy, monkeypatch
) -> None:
    """Killed at the second panel's commit, gone on with: all facts but measured seconds and bytes are equal."""
    words = {"editor": GRACE, "workers": 2, "policy": policy, "panels.at": [4, 8, 12], **TRAFFIC}
    whole = run(folder, **words)
    commit = RunLog.commit

    def killed(self, panel_index, *others):
        if panel_index == 2:
            raise KeyboardInterrupt
        commit(self, panel_index, *others)

    monkeypatch.setattr(RunLog, "commit", killed)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, **words)
    monkeypatch.setattr(RunLog, "commit", commit)
    again = run(tmp_path, resume=True, **words)
    assert rows(again, Served) == rows(whole, Served) and rows(again, Probed) == rows(whole, Probed)
    assert rows(again, Edited, "edit_wall_s") == rows(whole, Edited, "edit_wall_s")
