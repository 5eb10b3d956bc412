"""Routing alone: the routes are those of a whole run, panels draw fairly, and thresholds are kept."""

from __future__ import annotations

from collections import Counter

import polars as pl
import pytest
from runs_alike import SMALL

from lifelong.running.words import ConfigError
from lifelong.studies.route import _drawn, route_settings
from reports.analyses.routes import asked_kinds, held_thresholds
from reports.figures.routes import routes_kept
from reports.route_page import route_lines, route_rows, write_routes
from streams.types import Edit, Query


def edits(n: int, replaced: int = 0) -> list[Edit]:
    """So many edits; the last ones replace the first `replaced`."""
    old = {n - 1 - i: f"e{i}" for i in range(replaced)}
    return [Edit(f"e{i}", Query(f"q{i}"), "t", "s", supersedes=old.get(i)) for i in range(n)]


def test_each_standing_edit_is_drawn_as_often_as_any_other() -> None:
    counts = Counter(e.id for seed in range(400) for e, _ in _drawn(edits(20), 5, seed))
    assert set(counts) == {f"e{i}" for i in range(20)} and all(60 <= n <= 140 for n in counts.values())


def test_what_is_drawn_of_many_was_mostly_drawn_of_fewer() -> None:
    few, many = ({e.id for e, _ in _drawn(edits(n), 20, 0)} for n in (40, 50))
    assert len(few) == len(many) == 20 and len(few & many) >= 12
    assert [age for _, age in _drawn(edits(3), 9, 0)] == [2, 1, 0]


def test_a_replaced_edit_is_not_asked_about() -> None:
    assert [e.id for e, _ in _drawn(edits(6, replaced=2), 9, 0)] == ["e2", "e3", "e4", "e5"]


def test_an_editor_without_routes_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="editor=ft does not route"):
        route_settings(**{**SMALL, "editor": "ft"})
    with pytest.raises(ConfigError, match="asked=0"):
        route_settings(asked=0, **SMALL)


def test_the_routes_are_those_of_a_whole_run(tmp_path) -> None:
    from lifelong.log import Probed, RunLog
    from lifelong.running.run import run

    folder = run(quiet=True, **{**SMALL, "out": str(tmp_path)})
    wanted = {
        (row["step"], row["probe_id"]): (row["routed_n"], row["routed_home"], row["best_score"])
        for row in RunLog.open(folder).table(Probed).to_pylist()
    }
    found = route_settings(**{**SMALL, "editor.radius": [1.0, 30.0], "cache": str(tmp_path)})
    assert [one.label for one in found] == ["grace", "grace radius=30.0"] and found[1].keys_shared
    first = {(r["step"], r["probe_id"]): (r["routed_n"], r["routed_home"], r["best_score"]) for r in found[0].probed}
    # Keys read in another batch differ in their last digits: who serves is equal, and how near it is nearly.
    assert first and all(wanted[key][:2] == value[:2] for key, value in first.items() if key in wanted)
    assert all(wanted[key][2] == pytest.approx(v[2], abs=1e-3) for key, v in first.items() if key in wanted)
    assert len(first.keys() & wanted.keys()) >= 0.9 * len(first)
    # Wider radii refuse nothing that narrow ones let in; the page has a line a setting and panel.
    wide = {(r["step"], r["probe_id"]): r["routed_n"] for r in found[1].probed}
    assert all(wide[key] >= 1 for key, (n, _, _) in first.items() if n)
    rows = route_rows(row for one in found for row in one.probed)
    panels = pl.DataFrame([row for one in found for row in one.gauged])
    assert len(route_lines(rows, panels)) == 1 + 2 * 4
    assert write_routes(rows, panels, tmp_path / "page").is_file()


def scored(step: int, inside: list[float], outside: list[float | None]) -> list[dict]:
    base = {"editor": "x", "seed": 0, "step": step, "edit_id": "e", "age": 0, "scorer": "generated", "routed_n": 0,
            "routed_home": False}  # fmt: skip
    said = [("reliability", "edit", s) for s in inside] + [("locality", "far", s) for s in outside]
    return [
        base | {"probe_id": f"p{i}", "axis": a, "variant": v, "best_score": s} for i, (a, v, s) in enumerate(said)
    ]


def test_a_threshold_is_set_at_the_first_panel_with_enough_and_then_kept() -> None:
    few = scored(1, [9.0] * 10, [0.0])
    first = scored(5, [float(i) for i in range(100)], [50.0, 5.0, None, 15.0])
    later = scored(10, [30.0] * 60, [50.0, 25.0, 25.0, 5.0])
    found = held_thresholds(route_rows([*few, *first, *later]), recalls=(0.8,))
    assert found["threshold"].unique().to_list() == [20.0]  # 80 of 100 reach it
    assert found.select("step", "recall", "false fires").rows() == [(1, 0.0, 0.0), (5, 0.8, 0.25), (10, 1.0, 0.75)]


def test_out_of_scope_any_edit_counts_and_in_scope_its_own() -> None:
    rows = route_rows(scored(1, [1.0], [1.0])).with_columns(pl.lit(1).cast(pl.Int64).alias("routed_n"))
    assert asked_kinds(rows)["score"].to_list() == [0.0, 1.0]


def test_settings_with_the_same_scores_are_one_line_of_kept_thresholds() -> None:
    panels = scored(5, [float(i) for i in range(100)], [50.0]) + scored(10, [30.0] * 60, [25.0])
    other = [row | {"editor": "z", "best_score": row["best_score"] + 1} for row in panels[:50]]
    rows = route_rows([*panels, *(row | {"editor": "y"} for row in panels), *other, *(
        row | {"editor": "z"} for row in panels[50:])])  # fmt: skip
    figure = routes_kept(rows).figure
    assert figure is not None
    labels = {line.get_label() for line in figure.axes[0].lines}
    assert labels == {f"{who}: {r}" for who in ("x and 1 more", "z") for r in ("0.8", "0.9", "0.99")}
