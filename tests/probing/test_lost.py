"""Lost edits are attributed: not found, gone, or found and answered wrongly; a run logs why, and index recall."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from runs_alike import SMALL, facts_of

import lifelong
from lifelong.bank.search.approximate import Indexed
from lifelong.editing.contract import Route
from lifelong.log import Probed
from lifelong.probing.lost import Lost, lost, note, recall
from reports.numbers.summary import LOST, WRONG_THOUGH_FOUND, WRONG_UNROUTED, summary
from reports.table import load_runs


def probed(edit_id: str, step: int, score: float, home: bool, variant: str = "") -> Probed:
    name = f"{edit_id}-probe"
    return Probed(
        step, 0.0, name, edit_id, 0, "reliability", variant, "image", "", "generated", score, routed_home=home
    )


def test_each_lost_edit_has_one_reason() -> None:
    edits = ["kept", "unfound", "unindexed", "evicted", "misread", "never_right", "replaced"]
    first = note([probed(e, 1, float(e != "never_right"), True) for e in edits], {})
    now = [
        probed("kept", 9, 1.0, True),
        probed("unfound", 9, 0.0, False),
        probed("unindexed", 9, 0.0, False),
        probed("evicted", 9, 0.0, False),
        probed("misread", 9, 0.0, True),
        probed("never_right", 9, 0.0, False),
        probed("replaced", 9, 0.0, False, variant="superseded"),
    ]
    standing = note(now, {}, lambda row: row.edit_id == "unindexed")
    found = lost(first, standing, lambda e: e != "evicted", routed=True)
    assert found == Lost(asked=5, router_miss=2, index_miss=1, overwritten=1, wrong_answer=1)
    unrouted = lost(first, standing, lambda e: True, routed=False)
    assert unrouted == Lost(asked=5, wrong_answer=4)


def test_the_first_step_counts_and_every_probe_of_it() -> None:
    first = note([probed("a", 1, 1.0, True), probed("a", 1, 0.0, True), probed("b", 1, 1.0, True)], {})
    note([probed("a", 2, 1.0, True), probed("b", 2, 0.0, True)], first)
    assert (first["a"].right, first["b"].right) == (False, True)


def test_recall_counts_routed_edits_and_not_queries_out_of_scope() -> None:
    true = {"x": Route(("a", "b")), "y": Route(("c",)), "z": Route()}
    assert recall({"x": Route(("a", "d")), "y": Route(("c",)), "z": Route()}, true) == (pytest.approx(2 / 3), 3)
    assert recall({"z": Route()}, {"z": Route()}) == (1.0, 0)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    out = tmp_path_factory.mktemp("runs")
    changes: dict[str, Any] = {**SMALL, "editor": "rag", "edits": 12, "panels": [4], "fit.edits": 4}
    changes |= {"editor.keys": "text", "editor.threshold": -1.0, "out": str(out), "cache": str(out / ".cache")}
    words = {"flat": "flat", "all": "ivf:probes=99:least=4", "faulty": "flat16:least=4"}

    def made(name: str) -> Path:
        settings: dict[str, Any] = {**changes, "editor.index": words[name]}
        return lifelong.run(quiet=True, **settings)

    folders = {name: made(name) for name in ("flat", "all")}
    with pytest.MonkeyPatch.context() as patch:  # an index that never proposes every other entry
        whole = Indexed.propose
        patch.setattr(Indexed, "propose", lambda *a: np.where(whole(*a) % 2, -1, whole(*a)))
        return folders | {"faulty": made("faulty")}


def gauges(folder: Path) -> dict[tuple[int, str], float]:
    return {(row["step"], row["name"]): row["value"] for row in facts_of(folder)["Gauged"]}


def test_a_run_with_another_index_gives_the_same_facts_where_nothing_is_missed(runs: dict[str, Path]) -> None:
    def told(
        name: str,
    ) -> list[dict]:  # a second run finds the frozen model's answers made, and rounds keys otherwise
        return [
            {k: v for k, v in row.items() if k not in ("route_score", "best_score")}
            for row in facts_of(runs[name])["Probed"]
        ]

    assert told("flat") == told("all")
    for name in ("flat", "all"):
        assert gauges(runs[name])[12, "index_recall"] == 1 and gauges(runs[name])[12, "lost_index_miss"] == 0


def test_a_faulty_index_is_told_from_a_poor_editor(runs: dict[str, Path]) -> None:
    poor, flat = facts_of(runs["faulty"])["Probed"], facts_of(runs["flat"])["Probed"]
    last = [(a, b) for a, b in zip(poor, flat, strict=True) if a["step"] == 12 and a["edit_id"]]
    assert any(a["routed_ids"] != b["routed_ids"] for a, b in last)
    assert 0.2 < gauges(runs["faulty"])[12, "index_recall"] < 1


def test_a_run_says_how_it_searched(runs: dict[str, Path]) -> None:
    said = json.loads((runs["all"] / "manifest.json").read_text())["routing"]
    assert said["index"]["family"] == "ivf" and said["index"]["probes"] == 99
    assert said["query_threads"] == 1 and said["blas_from_queries"] == 4


def test_a_report_says_why_edits_are_lost(runs: dict[str, Path]) -> None:
    facts, _ = load_runs([runs["flat"], runs["faulty"]])
    table = summary(facts)
    by_editor = dict(zip(table["editor"], table["index recall"], strict=True))
    assert sorted(v == 1 for v in by_editor.values()) == [False, True]
    assert {title for title in LOST if title in table.columns} == set(LOST)
    assert table[WRONG_UNROUTED].is_nan().all() and not table[WRONG_THOUGH_FOUND].is_nan().any()


def test_an_editor_that_routes_nothing_has_found_nothing(tmp_path: Path) -> None:
    words: dict[str, Any] = {**SMALL, "editor": "ft", "edits": 2, "out": str(tmp_path)}
    table = summary(load_runs([lifelong.run(quiet=True, **words)])[0])
    assert table[WRONG_THOUGH_FOUND].is_nan().all() and table["lost: not found"].is_nan().all()
    assert table[WRONG_UNROUTED].item() >= 0 and table["lost: no longer stored"].item() == 0


def test_an_edit_found_in_the_place_of_one_that_is_equally_far_counts_as_found() -> None:
    true = {"q": Route(("a", "b"), (0.5, 0.25)), "r": Route(("a",), (1.0,))}
    assert recall({"q": Route(("a", "c"), (0.5, 0.25)), "r": Route(("b",), (1.0,))}, true) == (1.0, 3)
    assert recall({"q": Route(("a", "c"), (0.5, 0.1)), "r": Route()}, true) == (pytest.approx(1 / 3), 3)
