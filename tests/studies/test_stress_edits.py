"""Edit capacity: limits are found where they break, the first one binds, and decay is told from catastrophe."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from runs_made_up import CURVES, LIMITS, breaking, flat
from typer.testing import CliRunner

import lifelong
from lifelong.cli.main import app
from lifelong.log import Probed, RunLog
from lifelong.running.prepare import prepare, resolve
from lifelong.running.words import ConfigError
from lifelong.studies.stress import ladder as ladder_module
from lifelong.studies.stress.edits import Bounds, Capacity, Climbed, Search, configs_of, stress_edits
from lifelong.studies.stress.ladder import Ladder
from lifelong.studies.stress.limits import Limit, Measured, climb, rungs, verdict
from reports import stress_page
from reports.analyses.decay import Decay, decay
from reports.numbers.last_panel import bytes_grown_since, last_panel, since_at_once
from streams.stream import load_stream

SMALL: dict[str, Any] = {"model": "tiny", "stream": "toy", "edits": 12, "panels.latency_routes": 600,
                         "panels.latency_answers": 0}  # fmt: skip


@pytest.mark.parametrize("truth", [1, 9, 37, 64, 300, 430])
def test_the_largest_number_of_edits_is_found_to_its_tolerance(truth: int) -> None:
    panels = climb(breaking(retention=truth), LIMITS, 8, 500, tolerance=0.05)
    found = verdict(panels, LIMITS)
    assert found.binding == ("retention",) and found.broken is not None
    assert found.fine <= truth < found.broken <= max(found.fine + 1, 1.05 * found.fine)
    assert len(panels) < 16


def test_the_limit_that_breaks_first_binds_and_others_are_told() -> None:
    panels = climb(breaking(retention=200, locality=50, p99=60), LIMITS, 8, 500)
    found = verdict(panels, LIMITS)
    assert found.binding == ("locality",) and found.fine <= 50 < (found.broken or 0)
    assert found.crossings["route_p99_s"] and found.crossings["route_p99_s"] > (found.broken or 0)
    assert found.crossings["retention"] is None  # the search ended before
    tie = verdict(climb(breaking(retention=50, locality=50), LIMITS, 8, 500), LIMITS)
    assert tie.binding == ("retention", "locality")


def test_one_bad_panel_is_no_break_and_two_in_a_row_are_from_the_first_on() -> None:
    limit = (Limit("retention", 0.8),)
    assert verdict(flat({8: 1, 16: 0.7, 32: 1, 64: 1}), limit).broken is None
    assert verdict(flat({8: 1, 16: 0.7, 32: 1, 64: 0.7, 128: 0.6}), limit).broken == 64
    last = verdict(flat({8: 1, 16: 1, 32: 0.7}), limit)  # at the end nothing confirms it
    assert last.broken is None and last.fine == 16


def test_what_breaks_at_once_bears_nothing_and_what_never_breaks_bears_all() -> None:
    none = verdict(climb(breaking(retention=0), LIMITS, 8, 500), LIMITS)
    assert (none.fine, none.broken) == (0, 1)
    last = verdict(climb(breaking(locality=495), LIMITS, 8, 500), LIMITS)  # broken at the last panel only
    assert last.broken is None and last.binding == () and 450 < last.fine <= 495
    panels = climb(breaking(), LIMITS, 8, 500)
    assert [p.step for p in panels] == list(rungs(8, 500)) and verdict(panels, LIMITS).fine == 500


def test_edits_made_ten_at_a_time_end_the_search_between_two_batches() -> None:
    def at(step: int) -> Measured:
        return breaking(retention=33)(-(-step // 10) * 10)

    found = verdict(climb(at, LIMITS, 8, 500, tolerance=0.01), LIMITS)
    assert (found.fine, found.broken) == (30, 40)


@pytest.mark.parametrize("name", list(CURVES))
def test_gradual_decay_is_told_from_a_catastrophe(name: str) -> None:
    rng, steps = np.random.default_rng(7), np.array(rungs(8, 500, 2))
    kind = {"flat": "none", "straight": "gradual", "logarithm": "gradual", "exponential": "gradual"}.get(
        name, "catastrophic"
    )
    shares = CURVES[name](steps / 500)
    draws = [(rng.binomial(steps, shares) / steps).tolist() for _ in range(40)]
    found = [decay(steps.tolist(), means, steps.tolist()) for means in draws]
    assert sum(one.kind == kind for one in found) >= 38
    if name == "drop":
        places = [one.between for one in found]
        assert places.count((181, 256)) >= 36  # the panels on either side of 250 edits
        assert np.mean([one.drop for one in found]) == pytest.approx(0.82, abs=0.05)


def test_four_panels_do_not_tell_how_retention_decays() -> None:
    assert decay([8, 16, 32, 64], [1, 1, 0.1, 0.1], [8, 16, 32, 64]).kind == "unknown"


@pytest.mark.parametrize("editor", ["grace", "ft"])
def test_panels_of_a_ladder_are_those_of_one_run(editor: str, tmp_path: Path) -> None:
    """Climbed up, gone back and climbed again, a run answers every panel as it does in one go."""
    words = {**SMALL, "panels.latency_routes": 0, "editor": editor, "editor.steps": 2, "out": str(tmp_path)}
    (config,) = configs_of(None, words)
    ladder = Ladder(prepare(resolve(config)), tmp_path / "ladder")
    for step in (2, 6, 4, 12, 3):
        ladder.at(step)
    ladder.close()
    assert ladder.steps() == [2, 3, 4, 6, 12]
    chosen = {"panels.at": [2, 3, 4, 6], "panels.instant": False}
    whole = lifelong.run(quiet=True, **words, **chosen)

    def rows(log: RunLog) -> pl.DataFrame:
        frame = pl.from_arrow(log.table(Probed)).drop("reused", "sim_s", "route_score", "best_score")  # type: ignore[union-attr]
        return frame.sort("step", "probe_id", "scorer")  # pyright: ignore

    climbed = pl.concat([rows(ladder.rung(step)) for step in ladder.steps()])
    assert climbed.equals(rows(RunLog.open(whole)))


def test_a_ladder_of_batches_has_its_rungs_at_their_ends(tmp_path: Path) -> None:
    words = {**SMALL, "panels.latency_routes": 0, "editor": "none", "batch": 5, "out": str(tmp_path)}
    ladder = Ladder(prepare(resolve(configs_of(None, words)[0])), tmp_path / "ladder")
    assert [last_panel(ladder.at(step))[0] for step in (3, 5, 7, 11, 12)] == [5, 5, 10, 12, 12]
    assert ladder.steps() == [5, 10, 12]
    with pytest.raises(ValueError, match="from 1 to the run's 12 edits"):
        ladder.at(13)
    ladder.close()


def test_a_search_asked_again_runs_nothing(tmp_path: Path, monkeypatch) -> None:
    words = {**SMALL, "editor": "grace", "editor.steps": 2, "out": str(tmp_path)}
    free = Bounds(retention=0, generality=0, locality=0.9, route_p99_s=60)
    (first,) = stress_edits(None, words, free, Search(first=1))
    assert first.at_least and first.edits == 12 and first.interval() is None and first.binding() == {}
    monkeypatch.setattr(ladder_module, "run_loop", None)
    (again,) = stress_edits(None, words, free, Search(first=1))
    assert again == first
    (harder,) = stress_edits(
        None, words, Bounds(retention=0, generality=0, locality=0, route_p99_s=1e-9), Search(first=1)
    )
    assert harder.edits == 0 and harder.binding() == {"route_p99_s": 1}


def test_the_command_prints_writes_and_names_what_binds(tmp_path: Path) -> None:
    words = [f"{key}={value}" for key, value in {**SMALL, "out": tmp_path, "editor": "none,ft"}.items()]
    bounds = ["--retention", "0", "--generality", "0", "--locality", "0.9", "--p99", "60", "--first", "2"]
    said = CliRunner().invoke(app, ["stress", "edits", *words, *bounds, "--json", "-o", str(tmp_path / "report")])
    assert said.exit_code == 0, said.output
    found = json.loads(said.stdout)
    none, ft = found["editors"]
    assert none["at_least"] and none["edits"] == 12
    assert not ft["at_least"] and ft["binding"] == {"locality": 1} and ft["edits"] < 12
    for name in ("capacity", "stress_curves", "capacity_pareto"):
        assert (tmp_path / "report" / "figures" / f"{name}.png").stat().st_size > 5000
        assert len(pl.read_csv(tmp_path / "report" / "tables" / f"{name}.csv")) >= 2
    page = (tmp_path / "report" / "index.html").read_text()
    assert "at least 12" in page and "locality (1 of 1)" in page and "clock modelled" in page


def test_seeds_give_an_interval_from_five_on_and_one_that_never_broke_counts_as_at_least_so_many() -> None:
    def capacity(*truths: float) -> Capacity:
        climbs = []
        for seed, truth in enumerate(truths):
            panels = climb(breaking(locality=truth), LIMITS, 8, 500, tolerance=0.01)
            climbs.append(Climbed(seed, panels, verdict(panels, LIMITS), Decay("none")))
        return Capacity("made up", "toy", "modelled", 500, tuple(climbs))

    five = capacity(80, 90, 100, 110, 125)
    low, high = five.interval() or (0.0, 0.0)
    assert five.edits == pytest.approx(100, rel=0.02) and five.binding() == {"locality": 5}
    assert (low, high) == pytest.approx((80.5, 122), rel=0.03)
    assert capacity(80, 90, 100, 110).interval() is None
    never = capacity(80, 90, 100, 110, np.inf)
    ends = never.interval() or (0.0, 0.0)
    assert not never.at_least and never.never_broke == 1 and never.binding() == {"locality": 4}
    assert five.edits < never.edits < 500 and ends[0] < never.edits < ends[1]
    all_of_them = capacity(*[np.inf] * 5)
    assert all_of_them.at_least and all_of_them.edits == pytest.approx(500) and all_of_them.interval() is None
    record = stress_page.record([never.plain()], limits={}, scorer="generated", tolerance=0.1)
    assert "1 never broke" in stress_page.spread_said(record["editors"][0])


def test_relative_limits_are_of_what_was_right_at_once(tmp_path: Path) -> None:
    """By hand from the facts: the probes of the last panel, now and right after their edit."""
    words = {**SMALL, "editor": "ft", "editor.steps": 2, "panels.latency_routes": 0, "out": str(tmp_path)}
    (config,) = configs_of(None, words, relative=True)
    ladder = Ladder(prepare(resolve(config)), tmp_path / "ladder")
    for step in (4, 12, 8):
        ladder.at(step)
    ladder.close()
    found = since_at_once([ladder.rung(step) for step in (4, 8, 12)])
    whole = {**words, "panels.at": [4, 8, 12], "panels.instant_axes": ["reliability", "generality", "locality"]}
    rows = RunLog.open(lifelong.run(quiet=True, **whole)).table(Probed).to_pylist()
    for name, axis in (("retention", "reliability"), ("generality", "generality"), ("locality", "locality")):
        mine = [r for r in rows if r["axis"] == axis and r["scorer"] == "generated"]
        once = {r["probe_id"]: r["score"] for r in reversed(mine) if r["age"] == 0}
        now = {r["probe_id"]: r["score"] for r in mine if r["step"] == 12 and r["probe_id"] in once}
        at_once = sum(once[probe] for probe in now)
        assert found[name] == (pytest.approx(sum(now.values()) / at_once if at_once else 0.0), len(now))


def test_what_was_never_right_at_once_bears_nothing_relative_to_it(tmp_path: Path) -> None:
    words = {**SMALL, "editor": "none", "out": str(tmp_path)}
    bounds = Bounds(retention=0.5, generality=0, locality=0, route_p99_s=60, relative=True)
    (found,) = stress_edits(None, words, bounds, Search(first=1))
    assert found.edits == 0 and found.binding() == {"retention": 1}


@pytest.mark.parametrize(("editor", "grows"), [("ft", False), ("grace", True)])
def test_bytes_an_edit_are_what_one_more_adds_and_not_a_share_of_what_is_fixed(
    editor: str, grows: bool, tmp_path: Path
) -> None:
    words: dict[str, Any] = {**SMALL, "editor": editor, "editor.steps": 1, "out": str(tmp_path)}
    words["panels.latency_routes"] = 0
    log = RunLog.open(lifelong.run(quiet=True, **{**words, "panels.at": [4, 8, 12]}))
    found, n = bytes_grown_since([log])["bytes_per_edit"]
    assert n == 12 and (found > 1 if grows else found == pytest.approx(0, abs=1e-6))
    one = RunLog.open(lifelong.run(quiet=True, **{**words, "panels.at": [12]}))
    assert bytes_grown_since([one]) == {}


def test_bounds_and_panels_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ConfigError, match="retention=1.2"):
        Bounds(retention=1.2).limits()
    with pytest.raises(ConfigError, match="the search says itself"):
        configs_of(None, {"panels.every": 5})
    with pytest.raises(ValueError, match="1 <= first <= most"):
        climb(breaking(), LIMITS, 8, 4)


def test_measures_of_a_panel_leave_out_what_was_replaced(tmp_path: Path) -> None:
    words = {**SMALL, "stream.order": "reversals", "stream.reedits": 0.5, "editor": "oracle"}
    run = RunLog.open(lifelong.run(quiet=True, out=str(tmp_path), **words))
    step, found = last_panel(run)
    edits = load_stream("toy", edits=12, order="reversals", reedits=0.5).edits
    assert (
        step == 12
        and found["retention"] == (1.0, len({e.id for e in edits} - {e.supersedes for e in edits}))
        and found["route_p99_s"][1] == 600
    )
    with pytest.raises(ValueError, match="expected one of generated"):
        last_panel(run, "generate")
