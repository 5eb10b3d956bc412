"""Choosing options: which settings are tried, on which entities, and what is kept of it."""

from __future__ import annotations

import tomllib

import pytest

from lifelong.editing.find import editor_class, editor_names
from lifelong.running.config import find_table, recipe_names
from lifelong.running.words import ConfigError
from lifelong.studies.tune import Trial, drawn, recipe_of, space_of, tune
from streams.atlas.world import load_world
from streams.stream import load_stream


def test_the_stream_of_trials_edits_only_entities_of_the_fit_split():
    world = load_world()
    edits = load_stream("atlas", edits=40, seed=0, split="fit").edits
    assert {world.by_id[e.subject].split for e in edits} == {"fit"}
    assert not {e.id for e in edits} & {e.id for e in load_stream("atlas", edits=40, seed=0).edits}


def test_trials_begin_with_the_defaults_and_never_repeat_a_setting():
    found = drawn({"a": (1, 2, 3), "b": (1, 2)}, {"a": 1, "b": 1}, 12, 7)
    assert found[0] == {} and len(found) == 6
    assert len({tuple(sorted(f.items())) for f in found}) == 6


@pytest.mark.parametrize("name", [n for n in editor_names() if editor_class(n).searched])
def test_every_editors_space_holds_valid_values(name):
    fields = editor_class(name).Options.model_fields
    assert all(len(values) > 1 and key in fields for key, values in space_of(name).items())


def test_an_unknown_option_and_a_bad_value_are_refused_by_name():
    with pytest.raises(ConfigError, match="learning_rate"):
        space_of("ft", {"learningrate": (1.0,)})
    with pytest.raises(ConfigError, match="steps"):
        space_of("ft", {"steps": (0,)})
    with pytest.raises(ConfigError, match="names no options"):
        space_of("none")


def test_the_best_trial_becomes_a_recipe_with_the_log_of_all(tmp_path):
    found = tune("ft", {"steps": (1, 25)}, trials=2, edits=3, out=str(tmp_path))
    assert len(found) == 2 and found[0].objective >= found[1].objective
    assert found[0].options == {} and found[0].metrics["Rel"] > found[1].metrics["Rel"]  # one step teaches nothing
    text = recipe_of("ft", found, edits=3, seed=0)
    assert tomllib.loads(text)["editor"] == {"name": "ft"} and "steps=1" in text


def test_a_failed_trial_comes_last():
    assert Trial({"a": 1}, error="no").objective < Trial({}, {"Rel": 0.0}).objective


@pytest.mark.parametrize("name", [n.removeprefix("tuned/") for n in recipe_names() if n.startswith("tuned/")])
def test_the_sweep_of_all_editors_takes_the_options_that_the_trials_chose(name):
    chosen = find_table(f"tuned/{name}")["editor"]
    swept = [*find_table("editors")["grid"]["editor"], *find_table("editors-slow")["grid"]["editor"]]
    assert chosen["name"] == name and chosen in swept
