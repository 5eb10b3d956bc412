"""When latency is sampled: as the bank grows, at the last panel, and after a resume as it would have been."""

from __future__ import annotations

import pytest
from runs_alike import SMALL

import lifelong
from lifelong.log import RunLog, Timed

WORDS = {**SMALL, "edits": 12, "panels": [1, 2, 3, 4, 6, 8, 12], "panels.latency_routes": 3}


def sampled(folder) -> list[tuple[int, int]]:
    """The steps at which routing was sampled, and how often."""
    rows = [row for row in RunLog.open(folder).table(Timed).to_pylist() if row["operation"] == "route"]
    return sorted((step, sum(row["step"] == step for row in rows)) for step in {row["step"] for row in rows})


@pytest.mark.parametrize("growth, steps", [(1.0, [1, 2, 3, 4, 6, 8, 12]), (1.5, [1, 2, 3, 6, 12]), (9.0, [1, 12])])
def test_latency_is_sampled_when_the_bank_has_grown_and_at_the_end(growth, steps, tmp_path) -> None:
    folder = lifelong.run(quiet=True, out=str(tmp_path), **{**WORDS, "panels.latency_growth": growth})
    assert sampled(folder) == [(step, 3) for step in steps]


def test_an_editor_without_a_bank_is_sampled_at_the_first_and_the_last_panel(tmp_path) -> None:
    assert sampled(lifelong.run(quiet=True, out=str(tmp_path), **{**WORDS, "editor": "none"})) == [(1, 3), (12, 3)]


def test_a_resumed_run_samples_at_the_steps_of_one_that_was_not_interrupted(tmp_path, monkeypatch) -> None:
    whole = lifelong.run(quiet=True, out=str(tmp_path / "a"), **WORDS)
    commit = RunLog.commit

    def killed(self, panel_index, *others):
        if panel_index == 3:
            raise KeyboardInterrupt
        commit(self, panel_index, *others)

    monkeypatch.setattr(RunLog, "commit", killed)
    with pytest.raises(KeyboardInterrupt):
        lifelong.run(quiet=True, out=str(tmp_path / "b"), **WORDS)
    monkeypatch.setattr(RunLog, "commit", commit)
    assert sampled(lifelong.run(quiet=True, resume=True, out=str(tmp_path / "b"), **WORDS)) == sampled(whole)
