"""When latency is sampled: as the bank grows, at the last panel, and after a resume as it would have been."""

from __future__ import annotations

import pytest
from runs_alike import SMALL

import lifelong
from lifelong.editing.contract import Route
from lifelong.editors.none import Unedited
from lifelong.log import RunLog, Timed
from lifelong.probing import latency

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


@pytest.mark.parametrize(
    "reading_s, answer_s, routes, answers, expected",
    [
        (0.05, 0.3, None, None, (40, 10)),  # a small model, on a busy machine too
        (5.0, 15.0, None, None, (8, 2)),  # forty seconds hold eight readings, and two answers at least are timed
        (90.0, 300.0, None, None, (4, 2)),
        (90.0, 300.0, 12, 3, (12, 3)),  # numbers that somebody set stay
        (90.0, 300.0, 0, None, (0, 0)),
        (90.0, 300.0, None, 0, (4, 0)),
    ],
)
def test_a_slow_model_is_sampled_a_few_times_unless_told_otherwise(
    reading_s, answer_s, routes, answers, expected, tiny_vlm, tiny_queries, monkeypatch
) -> None:
    def served(vlm, editor, query, max_tokens):
        wall_s = {"encode": reading_s, "route": 0.0} | ({"apply": 0.0, "answer": answer_s} if max_tokens else {})
        return latency.Once(wall_s, Route())

    monkeypatch.setattr(latency, "serve_once", served)
    queries = (tiny_queries * 6)[: latency.ROUTES if routes is None else routes]
    facts = latency.samples(
        tiny_vlm, Unedited(tiny_vlm), queries, routes=routes, answers=answers, max_tokens=16, step=1
    )
    assert tuple(sum(fact.operation == name for fact in facts) for name in ("route", "answer")) == expected
