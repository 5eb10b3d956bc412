"""What a run shows of a panel, on its live line and in trackers, is what a report says of it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from panels_expected import means_by_panel, numbers_by_panel
from runs_alike import SMALL

import lifelong
from lifelong.log import RunLog
from lifelong.running.panel_numbers import numbers_of

QUICK = {**SMALL, "editor.steps": 1, "panels.latency_routes": 0, "panels.latency_answers": 0}
RUNS = {
    "all edits": {},
    "a sample of them": {"editor": "ft", "edits": 14, "panels": [9, 12], "panels.sample": 4},
    "edits that were replaced": {"edits": 8, "stream.order": "reedits"},
    "edits that were taken back": {"edits": 8, "withdrawals": "poisson", "withdrawals.rate": 0.5},
    "edits asked again later": {"editor": "ft", "edits": 8, "panels.gaps": [2, 3], "panels": [4]},
    "a part of what can be asked at once": {"edits": 5, "panels.instant_axes": ["reliability"]},
    "chunks": {"edits": 6, "restore_every": 3},
}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("cache"))


@pytest.mark.parametrize("what", RUNS)
def test_the_numbers_of_a_panel_are_those_of_a_report(what: str, cache: str, tmp_path: Path, capsys) -> None:
    folder = lifelong.run(**{**QUICK, **RUNS[what], "out": str(tmp_path), "cache": cache})
    log = RunLog.open(folder)
    found = dict(numbers_of(log, panel) for panel in range(log.last_panel() + 1))
    expected = numbers_by_panel(log)
    assert list(found) == sorted(expected) and len(found) >= 2
    for step, numbers in found.items():
        assert numbers == pytest.approx(expected[step]), step
    shown = re.findall(r"(\d+)/\d+ edits .*?retention ([\d.]+)  locality ([\d.]+)", capsys.readouterr().err)
    means = means_by_panel(log)
    last = {int(step): (float(retention), float(locality)) for step, retention, locality in shown}
    for step, numbers in means.items():
        told = (numbers["retention/generated"], numbers["locality/generated"])
        assert last[step] == pytest.approx(told, abs=5e-4), step


def test_a_sample_is_not_a_plain_mean(tmp_path: Path, cache: str) -> None:
    """What the test above holds for a sample would hold for a plain mean too, if all weights were one."""
    run = {**QUICK, **RUNS["a sample of them"], "panels.sample": 3, "out": str(tmp_path), "cache": cache}
    log = RunLog.open(lifelong.run(quiet=True, **run))
    step, numbers = numbers_of(log, 1)
    rows = [row for row in log.panel(lifelong.Probed, 1).to_pylist() if row["step"] == step]
    scores = [r["score"] for r in rows if r["axis"] == "reliability" and r["scorer"] == "teacher_forced"]
    assert len(scores) < step
    assert abs(numbers["retention/teacher_forced"] - sum(scores) / len(scores)) > 1e-4
