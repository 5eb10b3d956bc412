"""Runs are averaged only where everything but the seed is equal; labels say what sets the others apart."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from runs_made_up import fake_run

from lifelong.running.config import NOT_HASHED, RunConfig
from reports.alike import NOT_COMPARED, made_of, told_apart
from reports.numbers.summary import summary
from reports.table import load_runs

CONFIG: dict[str, Any] = RunConfig().table() | {
    "editor": {"name": "liveedit", "rank": 4},
    "queries": {"name": "poisson", "rate": 1.0},
    "withdrawals": {"name": "poisson", "rate": 0.1},
}
MANIFEST: dict[str, Any] = {
    "digests": {"model": "m", "stream": "s", "fit": "f", "editor": "e"},
    "sources": {"stream.path": "p"},
    "versions": {"torch": "2"},
    "threads": 1,
    "device": "cpu",
    "products": "oneDNN",
    "routing": {"index": "flat"},
    "hardware": {"cpu": "one", "cores": 2},
}


def places(table: dict[str, Any], before: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    out = []
    for key, value in table.items():
        out += places(value, (*before, key)) if isinstance(value, dict) else [(*before, key)]
    return out


def changed(table: dict[str, Any], place: tuple[str, ...]) -> dict[str, Any]:
    """The table with another value at one place."""
    out = copy.deepcopy(table)
    *path, last = place
    inner = out
    for key in path:
        inner = inner[key]
    old = inner[last]
    inner[last] = (not old) if isinstance(old, bool) else old + 1 if isinstance(old, int | float) else f"{old}x"
    return out


def labels(*made: tuple[dict[str, Any], dict[str, Any]]) -> list[str]:
    return told_apart(["liveedit"] * len(made), [made_of(*one) for one in made])


@pytest.mark.parametrize("place", places(CONFIG), ids=".".join)
def test_every_key_of_a_configuration_but_the_seed_sets_runs_apart(place: tuple[str, ...]) -> None:
    found = labels((CONFIG, {}), (changed(CONFIG, place), {}), (CONFIG | {"seed": 7}, {}))
    assert found[0] == found[2]
    if place[0] in NOT_COMPARED:
        assert set(found) == {"liveedit"}
    else:
        assert found[0] != found[1] and place[-1] in f"{found[1]} name", "its label says what differs"


def test_what_is_not_compared_is_the_seed_and_what_changes_no_fact() -> None:
    assert set(NOT_COMPARED) == {"seed", "name", *NOT_HASHED}


@pytest.mark.parametrize("place", places(MANIFEST), ids=".".join)
def test_models_files_fits_versions_threads_and_machines_set_runs_apart(place: tuple[str, ...]) -> None:
    config = CONFIG | {"stream": {"name": "jsonl", "path": "/a/facts.jsonl"}}
    found = labels((config, MANIFEST), (config, changed(MANIFEST, place)))
    alike = place in (("digests", "stream"), ("hardware", "cores"))  # each seed has a stream of its own
    assert (found[0] == found[1]) == alike, found


def test_the_same_files_in_two_places_are_seeds_and_other_contents_of_one_name_are_not() -> None:
    def run(path: str, digest: str) -> tuple[dict[str, Any], dict[str, Any]]:
        config = CONFIG | {"stream": {"name": "jsonl", "path": path}, "editor": {"name": f"{path}.py"}}
        config["model"] = {"name": "atlas", "folder": path}
        return config, {"sources": {"stream.path": digest}, "digests": {"editor": digest, "model.folder": digest}}

    assert len(set(labels(run("/a/facts.jsonl", "1"), run("facts.jsonl", "1")))) == 1
    assert len(set(labels(run("/a/facts.jsonl", "1"), run("/a/facts.jsonl", "2")))) == 2


def test_long_values_that_begin_alike_keep_runs_apart() -> None:
    found = labels(*((CONFIG | {"model": {"name": "a" * 60 + end}}, {}) for end in "xyz"))
    assert len(set(found)) == 3 and max(map(len, found)) < 60


def test_names_that_look_alike_when_printed_keep_runs_apart() -> None:
    raw, typed = (CONFIG | {"model": {"name": name}} for name in ("a\x1b", "a\\x1b"))
    assert len(set(labels((raw, {}), (typed, {})))) == 2


def test_runs_on_two_models_are_two_rows_and_forgetting_is_of_each_seed(tmp_path: Path) -> None:
    first = fake_run(tmp_path / "0", "grace", 1.0, 0, on=("atlas", "atlas"))
    other = fake_run(tmp_path / "1", "grace", 0.5, 1, on=("tiny", "atlas"))
    again = fake_run(tmp_path / "2", "grace", 0.3, 2, on=("atlas", "atlas"))
    table = summary(load_runs([first, other, again])[0])
    assert table["editor"].to_list() == ["grace model=atlas", "grace model=tiny"]
    apart = [summary(load_runs([run])[0])["forgetting (first)"].item() for run in (first, again)]
    assert table["forgetting (first)"].to_list()[0] == pytest.approx(sum(apart) / 2)
    assert apart[0] == 0 and apart[1] > 0


def test_a_run_that_is_not_finished_is_marked_wherever_its_name_stands(tmp_path: Path) -> None:
    whole, begun = fake_run(tmp_path / "0", "grace", 1.0, 0), fake_run(tmp_path / "1", "grace", 1.0, 1, steps=(1, 2))
    (begun / "DONE").unlink()
    facts, runs = load_runs([whole, begun])
    assert facts.editors == ["grace", "grace (unfinished)"] == [r.editor for r in runs]
    assert facts.probed.filter(pl.col("editor") == "grace")["step"].max() == 60
