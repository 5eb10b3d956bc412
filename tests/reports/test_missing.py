"""A report is written whatever was not asked: where a figure has nothing to show, the page says so."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest
from runs_made_up import PROBES, fake_run

from reports.numbers.compared import compared
from reports.numbers.evidence import evidence, flat
from reports.numbers.expected import expected
from reports.numbers.floors import gains, last_rows
from reports.numbers.summary import summary
from reports.page import DRAW, write_report
from reports.table import load_runs

AXES = ("reliability", "generality", "locality", "portability", "specificity")


@pytest.mark.parametrize("axes", [c for n in (0, 1, 4) for c in itertools.combinations(AXES, n)], ids="-".join)
def test_every_table_and_figure_is_made_whichever_axes_were_asked(tmp_path: Path, axes: tuple[str, ...]) -> None:
    asked = [p for p in PROBES if p[0] in axes]
    runs = [fake_run(tmp_path, editor, 0.9, steps=(1, 4), probes=asked, samples=9) for editor in ("none", "grace")]
    facts, infos = load_runs(runs)
    drawn = {one.name: one for one in (draw(facts) for draw in DRAW)}
    assert drawn["memory"].figure is not None
    assert (drawn["degradation"].figure is None) == (not axes)
    assert (drawn["age_heatmap"].figure is None) == ("reliability" not in axes)
    assert (drawn["locality_conventions"].figure is None) == ("locality" not in axes)
    assert summary(facts).height == 2 and flat(evidence(facts, infos)).height > 0
    expected(facts, infos)
    last = last_rows(facts)
    assert gains(facts, infos, last).height <= 2 * 2 * 6 and compared(facts, infos, last).height <= 6


@pytest.mark.parametrize("routed", [True, False])
@pytest.mark.parametrize("steps", [(1,), (1, 2)])
@pytest.mark.parametrize("samples", [0, 1])
def test_one_edit_one_panel_no_routes_and_no_samples_are_reported(tmp_path, samples, steps, routed) -> None:
    run = fake_run(tmp_path, "grace", 0.9, steps=steps, samples=samples, routed=routed)
    facts, _ = load_runs([run])
    drawn = {one.name: one for one in (draw(facts) for draw in DRAW)}
    assert (drawn["routing"].figure is None) == (not routed)
    assert drawn["latency_split"].figure is None and "Not asked" in drawn["latency_split"].caption


def test_a_page_of_nothing_says_what_was_not_asked(tmp_path: Path) -> None:
    page = write_report([fake_run(tmp_path, "grace", 0.9, steps=(1,), probes=(), samples=0)], tmp_path / "out")
    text = page.read_text()
    assert text.count("Not asked") == 21 and '<div class="plots"' in text
    for name in re.findall(r'href="([\w/.-]+)"', text):
        assert (tmp_path / "out" / name).is_file(), name


def test_untouched_questions_have_a_place_in_every_table_and_in_the_curves(tmp_path: Path) -> None:
    run = fake_run(tmp_path, "grace", 0.5, steps=(1, 9), probes=[*PROBES, ("general", "text", "text")])
    facts, infos = load_runs([run])
    (record,) = evidence(facts, infos)
    title = "general: untouched questions, accuracy"
    assert record["general"]["n"] == 9 and summary(facts)[title].item() == record["general"]["mean"] < 1
    assert title in DRAW[0](facts).table["measure"].to_list()


def test_each_caption_counts_its_own_n(tmp_path: Path) -> None:
    facts, _ = load_runs([fake_run(tmp_path, "grace", 0.9, steps=(1, 2))])
    said = {one.name: one.counted for one in (draw(facts) for draw in DRAW)}
    assert said["degradation"] == "each point is of 1 to 2 edits, those of all seeds together"
    assert said["latency"] == "n = 480 latency samples" and said["memory"] == "n = 2 panels"
    assert said["edit_time"] == "n = 2 edits" and said["age_heatmap"].startswith("each cell is of 1 edit,")
