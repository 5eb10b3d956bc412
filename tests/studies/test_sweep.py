"""Sweeps: which cells there are, that all are checked before the first starts, and what a second call does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from runs_alike import SMALL

import lifelong
from lifelong import Editor
from lifelong.models.loading import load_parts
from lifelong.models.tiny import tiny_model, tiny_processor
from lifelong.models.weights import WeightReading
from lifelong.probing.limits import UnaskableError
from lifelong.running.prepare import Loaded, prepare, resolve
from lifelong.running.words import ConfigError, parse_words
from lifelong.studies.grid import cells
from lifelong.studies.planned import checked, plan

QUICK: dict[str, Any] = {
    **{k: v for k, v in SMALL.items() if k != "editor"},
    "edits": 2,
    "panels": {"at": [2], "latency_routes": 0, "latency_answers": 0},
}


class AddsNothing(Editor):
    """An editor of this test's own, `reference`."""

    def edit(self, edits):
        self.revision += 1


class Fails(Editor):
    """An editor that fails, `reference`."""

    def edit(self, edits):
        raise RuntimeError("it fails on purpose")


def labels(source: str | None, *words: str) -> list[str]:
    return [cell.label for cell in cells(source, parse_words(words))]


def test_a_file_names_a_grid_and_words_replace_its_keys_one_by_one(tmp_path: Path) -> None:
    file = tmp_path / "s.toml"
    file.write_text('[run]\nstream = "toy"\nedits = 3\n[grid]\neditor = ["none", "ft"]\nseed = [0, 1]\n')
    assert labels(str(file)) == ["none seed=0", "none seed=1", "ft seed=0", "ft seed=1"]
    assert labels(str(file), "editor=grace", "seed=4") == ["grace seed=4"]
    assert labels(str(file), "seed=7,8", "edits=5") == ["none seed=7", "none seed=8", "ft seed=7", "ft seed=8"]


def test_an_option_in_words_counts_also_where_the_grid_has_another_value_for_it(tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text(
        '[run]\nedits = 3\n[grid]\neditor = [{ name = "grace", steps = 7, radius = 2.0 }, "rag"]\n'
        'stream = [{ name = "toy", order = "file" }]\n'
    )
    found = cells(str(tmp_path / "s.toml"), {"editor.steps": 5, "stream.order": "shuffled", "editor": ["grace"]})
    assert [cell.config.editor.options["steps"] for cell in found] == [5]
    both = cells(str(tmp_path / "s.toml"), {"stream.order": "shuffled", "edits": 2})
    assert {cell.config.stream.options["order"] for cell in both} == {"shuffled"}
    assert [both[0].config.editor.options[name] for name in ("steps", "radius")] == [7, 2.0]


def test_words_alone_make_a_sweep() -> None:
    assert labels(None, "editor=none,grace", "edits=5", "seed=0,1") == [
        "none seed=0", "none seed=1", "grace seed=0", "grace seed=1",
    ]  # fmt: skip
    assert [label.split()[-1] for label in labels("first-look", "seed=0,1")] == ["seed=0", "seed=1"]


def test_a_list_is_one_value_of_a_key_that_is_a_list_and_a_list_of_lists_varies_it() -> None:
    (one, other) = cells(None, {"seed": [0, 1], "panels": [1, 2]})
    assert one.config.panels.at == other.config.panels.at == (1, 2)
    for changes in ({"panels": [[1, 2], [2]]}, parse_words(["panels=[[1,2],[2]]"])):
        assert [cell.config.panels.at for cell in cells(None, changes)] == [(1, 2), (2,)]
    assert [c.config.panels.gaps for c in cells(None, parse_words(["panels.gaps=1,2", "seed=0,1"]))] == [(1, 2)] * 2
    assert [c.config.panels.every for c in cells(None, parse_words(["panels.every=10,20"]))] == [10, 20]
    both = cells(None, {"editor": {"name": "grace", "radius": [0.5, 2.0]}})
    assert [cell.config.editor.options["radius"] for cell in both] == [0.5, 2.0]


@pytest.mark.parametrize(
    "words, hint",
    [
        (["edits=5"], "nothing varies"),
        (["seed=0,1", "edits=0"], "edits"),
        (["editor=none,grase"], "editor=grase: .*grace"),
        (["sead=0,1"], "seed"),
    ],
)
def test_a_mistake_names_its_cell_before_anything_is_loaded(words: list[str], hint: str) -> None:
    with pytest.raises(ConfigError, match=hint):
        labels(None, *words)


def test_a_misspelt_option_in_the_last_cell_stops_a_sweep_before_its_first(tmp_path: Path) -> None:
    last = {"name": "grace", "radus": 2.0}
    with pytest.raises(ConfigError, match=r"editor=grace editor.radus=2.0: .*radius"):
        lifelong.sweep(editor=["none", last], out=str(tmp_path), **QUICK)
    with pytest.raises(ConfigError, match="none seed=1 stream=jsonl: .*missing.jsonl"):
        data = {"stream": ["jsonl"], "stream.path": str(tmp_path / "missing.jsonl")}
        lifelong.sweep(seed=[1, 2], out=str(tmp_path), **{**QUICK, **data})
    with pytest.raises(ConfigError, match="are one run"):
        lifelong.sweep(seed=[1, 1], out=str(tmp_path), **QUICK)
    assert not list(tmp_path.rglob("manifest.json"))


def test_a_sweep_runs_classes_reports_failures_and_finishes_only_once(tmp_path: Path) -> None:
    wanted = {**QUICK, "editor": [AddsNothing, Fails], "out": str(tmp_path)}
    own, failed = lifelong.sweep(**wanted)
    assert own.state == "done" and own.folder == lifelong.dry_run(**{**wanted, "editor": AddsNothing})
    assert failed.state == "failed" and "on purpose" in failed.error and failed.folder is None
    # The same again: what is finished is said to be, and what is begun needs a word.
    with pytest.raises(ConfigError, match=r"1 of 2 runs are begun .*--resume.*--fresh"):
        lifelong.sweep(**wanted)
    said: list[str] = []
    again = lifelong.sweep(resume=True, say=said.append, **wanted)
    assert [one.state for one in again] == ["finished already", "failed"]
    assert f"AddsNothing: finished already ({own.folder})" in said and "AddsNothing: started" not in said
    assert len(repr(again)) < 200 and "\n" not in repr(again)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a model that does not ship."""
    folder, processor = tmp_path_factory.mktemp("tiny"), tiny_processor()
    tiny_model(processor).save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def test_the_check_of_a_sweep_over_two_editors_reads_no_weights(model: Path, tmp_path: Path, monkeypatch) -> None:
    """Loading is forbidden but for shapes; both cells share them."""
    read: list[bool] = []

    def parts(*args: Any, how: WeightReading, **kwargs: Any) -> Any:
        read.append(how.empty)
        assert how.empty, "weights were read"
        return load_parts(*args, how=how, **kwargs)

    monkeypatch.setattr("lifelong.models.vlm.load_parts", parts)
    changes = {**QUICK, "editor": ["none", "ft"], "model": str(model), "out": str(tmp_path)}
    told = [one for one in checked([cell.config for cell in cells(None, changes)]) if "folder" in one]
    assert read == [True] and [one["state"] for one in told] == ["new"] * 2


def test_cells_that_share_model_and_stream_are_asked_once_whether_all_can_be_asked(
    tmp_path: Path, monkeypatch
) -> None:
    """Two streams by three editors: each stream's questions are counted once; an error is raised each time."""
    asked: list[int] = []
    monkeypatch.setattr("lifelong.running.prepare.check_askable", lambda vlm, probes, **_: asked.append(len(probes)))
    changes = {**QUICK, "editor": ["none", "ft", "grace"], "seed": [0, 1], "out": str(tmp_path)}
    configs = [cell.config for cell in cells(None, changes)]
    assert len([one for one in checked(configs) if "folder" in one]) == 6 and len(asked) == 2

    def refused(*_: Any, **__: Any) -> None:
        raise UnaskableError("too long")

    monkeypatch.setattr("lifelong.running.prepare.check_askable", refused)
    loaded = Loaded()
    for _ in range(2):
        with pytest.raises(UnaskableError, match="too long"):
            prepare(resolve(configs[0]), loaded=loaded)


def test_what_a_sweep_would_do_is_told_with_the_time_that_other_seeds_took(tmp_path: Path) -> None:
    folder = lifelong.run(editor="none", quiet=True, out=str(tmp_path), **QUICK)
    first, second, third, last = plan(None, {**QUICK, "seed": [0, 1, 2], "out": str(tmp_path)}).lines()
    assert first == f"finished  none seed=0  {folder}"
    assert second.startswith("new       none seed=1  ") and "  about 0:" in second and "seed=2" in third
    assert "3 runs, 1 finished" in last and "about 0:" in last
    assert "unknown" in plan(None, {**QUICK, "editor": ["oracle"], "out": str(tmp_path)}).lines()[-1]


def test_what_a_sweep_would_take_is_told_and_a_trial_edit_stands_for_all_seeds(tmp_path: Path) -> None:
    planned = plan(None, {**QUICK, "editor": ["grace"], "seed": [0, 1], "out": str(tmp_path)}, trial=True)
    one, other = (cell.needed for cell in planned.cells)
    alone = lifelong.plan_run(editor="grace", out=str(tmp_path), **QUICK)
    assert one is not None and other is not None and one.trial_wall_s == other.trial_wall_s > 0
    assert (one.weights_bytes, one.bank_bytes, one.asked) == (alone.weights_bytes, alone.bank_bytes, alone.asked)
    lines = planned.lines()
    assert "weights" in lines[1] and "disk" in lines[1] and "memory about" in lines[-1] and "about 0:" in lines[-1]
