"""Every editor tuned by one command: what is asked of the processes, and what is kept of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lifelong.running.words import ConfigError
from lifelong.studies import tune_all as module
from lifelong.studies.engines.engine import Ended, Hearer
from lifelong.studies.trials import Trial
from lifelong.studies.tune import Budget, Tuning, recipe_of
from lifelong.studies.tune_all import tunable, tune_all, tuned_as_told

ENDS = {100: ({"Rel": 0.3}, {"Rel": 1.0})}


def told(editor: str = "ft", warnings: tuple[str, ...] = ("lr=1 is the largest",)) -> Tuning:
    trial = Trial({"learning_rate": 0.003}, 100, {"Rel": 0.9}, 0.8, 12.0)
    return Tuning(editor, Budget(2, 0.0, (100,)), 0, (trial,), ENDS, warnings)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Processes that are only noted: ft and grace end well, all others with an error."""
    requests: list[dict[str, Any]] = []

    def run(given: list[dict[str, Any]], jobs: int, told_of: Hearer) -> None:
        requests.extend(given)
        monkeypatch.setattr(module, "tune", lambda editor, **said: told(editor))
        for place, request in enumerate(given):
            if request["tune"]["editor"] in ("ft", "grace"):
                lines = [json.dumps(one) for one in tuned_as_told(request["tune"], lambda _: None)]
                told_of.on_end(place, Ended(0, tuple(lines), "", 60.0))
            else:
                told_of.on_end(place, Ended(2, (), "lifelong: out of luck", 5.0))

    class Ends:
        def __init__(self, seed: int, out: str, on: Any) -> None: ...
        def ends(self, edits: int) -> None: ...

    monkeypatch.setattr(module, "run_processes", run)
    monkeypatch.setattr(module, "Yardstick", Ends)
    return requests


def test_each_editor_is_asked_for_with_the_same_budget_and_its_recipe_is_written(asked: Any, tmp_path: Path) -> None:
    budget = Budget(9, 60.0, (100, 300))
    found = tune_all(["ft", "grace"], to=tmp_path / "new", budget=budget, seed=4, out="o", on={"stream": "toy"})
    whole = {"seed": 4, "out": "o", "on": {"stream": "toy"}, "trials": 9, "seconds": 60.0, "edits": (100, 300)}
    assert [request["tune"] for request in asked] == [{"editor": "ft", **whole}, {"editor": "grace", **whole}]
    assert (tmp_path / "new" / "grace.toml").read_text() == recipe_of(told("grace"))
    assert found[0].line().split() == ["12.0", "s", "ft", "0.8000", "at", "100", "edits", "learning_rate=0.003"]
    assert found[0].warnings == ("lr=1 is the largest",)


def test_one_that_fails_keeps_its_old_recipe_and_stops_no_other(asked: Any, tmp_path: Path) -> None:
    (tmp_path / "ke.toml").write_text("old")
    found = tune_all(["ke", "ft"], to=tmp_path)
    assert [one.error for one in found] == ["out of luck", ""] and "FAILED: out of luck" in found[0].line()
    assert (tmp_path / "ke.toml").read_text() == "old" and (tmp_path / "ft.toml").is_file()


def test_all_are_those_that_name_options_to_search(asked: Any, tmp_path: Path) -> None:
    tune_all(to=tmp_path)
    assert [request["tune"]["editor"] for request in asked] == tunable()
    assert {"none", "oracle"}.isdisjoint(tunable()) and {"ft", "unike", "rag"} <= set(tunable())


def test_what_is_wrong_is_said_before_anything_runs(asked: Any, tmp_path: Path) -> None:
    for editors, jobs, said in ((["gracee"], 1, "grace"), (["ft"], 0, "jobs=0")):
        with pytest.raises((ConfigError, ValueError), match=said):
            tune_all(editors, to=tmp_path, jobs=jobs)
    assert asked == []


def test_stopped_it_says_what_is_kept(asked: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "run_processes", stop)
    lines: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        tune_all(["ft"], to=tmp_path, say=lines.append)
    assert (
        lines[-1] == "tune: stopped; finished trials are kept, 0 of 1 recipes are written. The same command goes on."
    )
