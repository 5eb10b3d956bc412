"""Choosing options: how settings are scored and what a budget buys, and what is kept of it."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from published_records import TRAIN, write_benchmark, write_records, zsre

from lifelong.editing.find import editor_class, editor_names
from lifelong.log import Probed
from lifelong.log.hive import runs_below
from lifelong.running.config import NamedPart
from lifelong.running.prepare import Loaded, prepare, resolve
from lifelong.running.settings import tuned_options
from lifelong.running.words import ConfigError
from lifelong.studies.trials import SPLITS, Trial, Yardstick
from lifelong.studies.tune import Budget, Tuning, recipe_of, tune
from streams.atlas.world import load_world
from streams.stream import load_stream
from streams.types import Edit, Probe

NOTHING = {"Rel": 0.3, "T-Gen": 0.3, "M-Gen": 0.3, "T-Loc": 1.0, "M-Loc": 1.0}
CEILING = dict.fromkeys(NOTHING, 1.0)


class MadeUp(Yardstick):
    """Trials whose scores are known: `score` of the options and the length; `spent` is what was tried, in order."""

    def __init__(self, score: Any, wall_s: float = 10.0) -> None:
        super().__init__(0, "")
        self.score, self.wall_s, self.spent = score, wall_s, []

    def ends(self, edits: int) -> Any:
        return NOTHING, CEILING

    def idle(self, edits: int) -> frozenset[str]:
        return frozenset()

    def trial(self, editor: str, options: Any, edits: int) -> Trial:
        self.spent.append((edits, dict(options)))
        value = self.score(options, edits)
        if isinstance(value, str):
            return Trial(options, edits, error=value, wall_s=self.wall_s)
        return Trial(options, edits, NOTHING, value, self.wall_s)


def tuned(monkeypatch: pytest.MonkeyPatch, vlm: Any, score: Any, editor: str = "ft", **said: Any) -> Any:
    yardstick = MadeUp(score, said.pop("wall_s", 10.0))
    monkeypatch.setattr(yardstick, "vlm", lambda: vlm)
    monkeypatch.setattr("lifelong.studies.tune.Yardstick", lambda seed, out, on: yardstick)
    return tune(editor, **said), yardstick.spent


def test_the_stream_of_trials_edits_only_entities_that_are_kept_for_choosing() -> None:
    world = load_world()
    edits = load_stream("atlas", edits=40, seed=0, split=SPLITS[0]).edits
    assert {world.by_id[e.subject].split for e in edits} == {"tune"}
    assert not {e.id for e in edits} & {e.id for e in load_stream("atlas", edits=40, seed=0).edits}


def things_of(edits: Iterable[Edit], probes: Iterable[Probe]) -> set[str]:
    """All that is edited or shown."""
    images = (q.image for q in (*(e.query for e in edits), *(p.query for p in probes)) if q.image is not None)
    shown = {d.partition("/")[0] for image in images for d in image.uri.removeprefix("atlas:").split("+")}
    return shown | {e.subject for e in edits}


def test_no_trial_sees_a_subject_that_an_editor_was_trained_on(tmp_path: Path) -> None:
    """Every editor that trains, with the pool of its own trial."""
    yardstick, loaded, pools, tried = Yardstick(0, str(tmp_path)), Loaded(), {}, {}
    for name in (n for n in editor_names() if editor_class(n).trains):
        ready = prepare(resolve(yardstick.config(name, {}, 60)), loaded=loaded)
        assert ready.fit is not None, name
        pools[ready.fit.pool.digest], tried[ready.stream.digest] = ready.fit.pool, ready.stream
    items = [item for pool in pools.values() for item in pool.items]
    learnt = things_of([i.edit for i in items], [p for i in items for p in i.probes])
    (stream,) = tried.values()
    assert len(items) > 5000 and not learnt & things_of(stream.edits, stream.every_probe())
    assert {load_world().by_id[thing].split for thing in learnt} == {"train"}


def test_what_happens_to_an_older_edit_is_no_setting_where_no_question_is_edited_twice() -> None:
    """The trials' own edits have none; a stream of re-edits has."""
    assert Yardstick(0, "").idle(500) == {"supersede"}
    assert Yardstick(0, "", {"stream": "atlas", "stream.order": "reedits", "stream.reedits": 0.5}).idle(20) == set()


def test_doing_nothing_scores_0_and_the_ceiling_1(tmp_path: Path) -> None:
    """Real runs of the two ends, each looked at as if it were a trial."""
    yardstick = Yardstick(0, str(tmp_path))
    assert yardstick.trial("none", {}, 3).objective == 0.0
    assert yardstick.trial("oracle", {}, 3).objective == 1.0
    assert len(runs_below(tmp_path)) == 2  # the ends themselves: nothing ran twice


def test_the_best_real_trial_becomes_a_recipe_with_the_log_of_all(tmp_path: Path) -> None:
    told = tune("ft", {"steps": (1, 25)}, trials=2, edits=3, out=str(tmp_path))
    assert [t.options for t in told.trials] == [{}, {"steps": 1}]  # one step teaches nothing
    assert told.best.objective > 0.5 and told.trials[1].objective < 0.1
    text = recipe_of(told)
    assert tomllib.loads(text)["editor"] == {"name": "ft"} and "steps=1\n" in text
    assert "2 of 3 edits" in text and "(budget: 2 distinct settings)" in text and "`lifelong tune ft`" in text
    elsewhere = {"model": NamedPart(name="smol"), "dtype": "bfloat16"}
    other = recipe_of(replace(told, base=told.base.model_copy(update=elsewhere)))
    assert "`lifelong tune ft --on model=smol --on dtype=bfloat16`" in other
    assert (tomllib.loads(other)["model"], tomllib.loads(other)["dtype"]) == ("smol", "bfloat16")
    runs = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("DONE")}
    assert tune("ft", {"steps": (1, 25)}, trials=2, edits=3, out=str(tmp_path)).trials == told.trials
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("DONE")} == runs  # read, not run again


def test_a_third_goes_on_to_the_second_length_and_its_best_is_chosen(monkeypatch, tiny_vlm) -> None:
    """The best of the short trials is not the best of the long ones: the long ones decide."""

    def score(options: Any, edits: int) -> float:
        rate = options.get("learning_rate", 1e-3)
        return rate if edits == 100 else 1 - rate

    rates = [1e-3, 2e-3, 3e-3, 4e-3, 5e-3, 6e-3, 7e-3]
    told, spent = tuned(monkeypatch, tiny_vlm, score, learning_rate=rates, trials=7, edits=(100, 500))
    assert [edits for edits, _ in spent] == [100] * 7 + [500] * 3
    assert sorted(o["learning_rate"] for edits, o in spent if edits == 500) == [5e-3, 6e-3, 7e-3]
    assert told.best.options == {"learning_rate": 5e-3} and told.best.edits == 500
    text = recipe_of(told)
    assert text.index("# 500 edits, best first:") < text.index("# 100 edits, best first:")


def test_the_setting_that_ships_is_among_the_trials_of_an_editors_own_values(monkeypatch, tiny_vlm) -> None:
    ships = tuned_options("ft")
    assert ships
    _, spent = tuned(monkeypatch, tiny_vlm, lambda *_: 0.5, trials=4, edits=(5,))
    assert (5, ships) in spent
    _, spent = tuned(monkeypatch, tiny_vlm, lambda *_: 0.5, steps=[7, 11, 13], trials=4, edits=(5,))
    assert (5, ships) not in spent


@pytest.mark.parametrize("failing", [100, 500])
def test_a_failed_trial_comes_last_and_is_never_chosen(monkeypatch, tiny_vlm, failing: int) -> None:
    def score(options: Any, edits: int) -> Any:
        return "it broke" if edits == failing and options else 0.5

    told, _ = tuned(monkeypatch, tiny_vlm, score, steps=[25, 10, 50], trials=3)
    assert told.best.options == {} and told.trials[-1].error == "it broke" and "failed  steps=" in recipe_of(told)


def test_where_all_fail_at_the_second_length_the_first_one_decides(monkeypatch, tiny_vlm) -> None:
    told, _ = tuned(monkeypatch, tiny_vlm, lambda o, edits: 0.5 if edits == 100 else "no memory", steps=[25, 10])
    assert told.best.edits == 100


def test_where_every_trial_failed_there_is_no_recipe(monkeypatch, tiny_vlm) -> None:
    told, _ = tuned(monkeypatch, tiny_vlm, lambda *_: "no", steps=[25, 10])
    with pytest.raises(RuntimeError, match="all 2 trials failed"):
        recipe_of(told)


def test_seconds_end_the_trials_before_their_number_does(monkeypatch, tiny_vlm) -> None:
    """Of 100 seconds the first length has 50, so five trials of 10; the second has the rest, five of at least two."""
    rates = [i / 1000 for i in range(1, 21)]
    told, spent = tuned(monkeypatch, tiny_vlm, lambda *_: 0.5, learning_rate=rates, trials=20, seconds=100.0)
    assert [edits for edits, _ in spent] == [100] * 5 + [
        500
    ] * 2 and "(budget: 20 distinct settings, 100 s)" in told.spent()
    _, spent = tuned(monkeypatch, tiny_vlm, lambda *_: 0.5, learning_rate=rates, trials=20, seconds=1.0)
    assert [edits for edits, _ in spent] == [100] * 2 + [500] * 2  # never fewer


def test_the_best_at_an_edge_of_its_grid_is_told_with_what_to_add(monkeypatch, tiny_vlm) -> None:
    def at(best: float) -> Any:
        return lambda options, edits: -abs(options.get("radius", 1.0) - best)

    radii = [1.0, 10.0, 100.0]
    told, _ = tuned(monkeypatch, tiny_vlm, at(100.0), "grace", radius=radii, trials=4)
    assert [w for w in told.warnings if "radius=100.0 is the largest" in w and "add 1000" in w]
    assert "# Warning: radius=100.0" in recipe_of(told)
    told, _ = tuned(monkeypatch, tiny_vlm, at(10.0), "grace", radius=radii, trials=4)
    assert told.warnings == ()


def test_budgets_of_nothing_are_refused() -> None:
    wrong: list[tuple[str, Any]] = [("trials", 0), ("edits", ()), ("edits", (0,)), ("edits", (500, 100))]
    for name, value in [*wrong, ("edits", (5, 5)), ("seconds", -1.0)]:
        with pytest.raises(ConfigError, match=name):
            Budget(**{name: value})
    with pytest.raises(ConfigError, match="seconds"):
        Budget(seconds=float("nan"))


def test_an_editor_that_cannot_be_made_here_says_so() -> None:
    told = Tuning("lora", Budget(), 0, (), {}, left_out=("the defaults: works through peft",))
    with pytest.raises(RuntimeError, match="works through peft"):
        recipe_of(told)


def test_edits_without_probes_to_score_are_a_failed_trial(monkeypatch, tmp_path: Path) -> None:
    yardstick = MadeUp(lambda *_: 0.0)
    monkeypatch.setattr(yardstick, "_run", lambda *_: tmp_path)
    monkeypatch.setattr("lifelong.studies.trials.last_probes", lambda folder: list[Probed]())
    monkeypatch.setattr("lifelong.studies.trials.spent_wall_s", lambda folder: 1.0)
    trial = Yardstick.trial(yardstick, "none", {}, 3)
    assert "no probes" in trial.error and trial.objective == float("-inf")


def test_trials_may_be_on_a_benchmarks_training_split(tmp_path: Path) -> None:
    write_benchmark(tmp_path / "data", "zsre", 2)
    write_records(tmp_path / "data" / TRAIN["zsre"], [zsre(i) for i in range(10, 14)])
    on = {"stream": "zsre", "stream.root": str(tmp_path / "data"), "model": "tiny"}
    yardstick = Yardstick(0, str(tmp_path / "runs"), on)
    stream = yardstick.loaded.stream(resolve(yardstick.config("none", {}, 9)).config)
    assert {edit.subject for edit in stream.edits} == {"s10", "s11", "s12", "s13"}
    told = Tuning("ft", Budget(1, edits=(3,)), 0, (Trial({"steps": 1}, 3, {}, 0.5),), {}, base=yardstick.base)
    text = recipe_of(told)
    assert "ft on zsre" in text and "split train" in text
    table = tomllib.loads(text)
    assert table["stream"] == {"name": "zsre", "root": str(tmp_path / "data")} and table["model"] == "tiny"
    with pytest.raises(ConfigError, match="on edits: that is not said here"):
        Yardstick(0, "", {"edits": 5})
