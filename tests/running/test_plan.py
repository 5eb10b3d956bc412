"""A dry run tells what a run will take from its configuration, without the weights of its model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from runs_alike import SMALL

import lifelong
from lifelong.editing.find import editor_class
from lifelong.log import Gauged, RunLog
from lifelong.models.tiny import tiny_model, tiny_processor
from lifelong.running.plan import plan_run
from streams.stream import load_stream


@pytest.fixture(scope="module")
def words(tmp_path_factory) -> dict[str, Any]:
    folder: Path = tmp_path_factory.mktemp("tiny")
    processor = tiny_processor()
    tiny_model(processor).save_pretrained(folder)
    processor.save_pretrained(folder)
    return {**SMALL, "model": str(folder), "edits": 3, "out": str(tmp_path_factory.mktemp("out"))}


def test_the_plan_needs_no_weight_and_names_the_folder_of_the_run(words) -> None:
    planned = plan_run(**words)
    assert planned.ready.vlm.empty and all(p.is_meta for p in planned.ready.vlm.model.parameters())
    told = "\n".join(planned.lines())
    assert "llava (LlavaForConditionalGeneration), 4 layers of width 32, float32 on cpu" in told
    assert "edits act on: model.language_model.layers.1.mlp.down_proj" in told and "64 rows of" in told
    assert planned.weights_bytes == sum(4 * p.numel() for p in tiny_model(tiny_processor()).parameters())
    folder = lifelong.run(**words, quiet=True)
    assert folder == planned.folder == lifelong.dry_run(**words)
    asked = [r["value"] for r in RunLog.open(folder).table(Gauged).to_pylist() if r["name"] == "probes_asked"]
    assert 0 < sum(asked) <= planned.asked


def test_without_a_number_of_threads_the_folder_is_named_when_the_run_begins(words, monkeypatch) -> None:
    monkeypatch.setattr("torch.get_num_threads", lambda: 2)
    said: list[str] = []
    free = {key: value for key, value in words.items() if key != "threads"}
    assert plan_run(**free, say=said.append).folder.name.endswith("not-named-yet") and "threads" in said[0]
    assert plan_run(**{**free, "threads": 2}).folder.name.count("not-named") == 0


def test_a_trial_makes_an_edit_and_tells_seconds_and_bytes(words) -> None:
    planned = plan_run(**{**words, "editor": "keyword"}, trial=True)
    assert planned.trial is not None and planned.trial.edit_wall_s > 0 and planned.trial.stored_bytes > 0
    told = "\n".join(planned.lines())
    assert "by the trial edit" in told and "s an edit" in told
    assert planned.ready.vlm.unchanged and not planned.folder.exists()


@pytest.mark.parametrize("name", ["grace", "melo", "lemoe", "liveedit", "wise", "ft", "lora", "rag"])
def test_bytes_that_are_told_before_are_those_of_the_edits(name, tiny_vlm) -> None:
    kind = editor_class(name)
    few = {"grace": {"steps": 1}, "wise": {"steps": 1, "outside": 0}, "lora": {"steps": 1}, "ft": {"steps": 1}}
    few |= {"melo": {"steps": 1}, "lemoe": {"steps": 1}}
    editor = kind(tiny_vlm, kind.Options(**few.get(name, {})))
    told, edits = editor.bytes_for(4), load_stream("toy", edits=4, seed=0).edits
    for at in range(0, 4, editor.turn):
        editor.edit(edits[at : at + editor.turn])
    words = sum(len(e.query.prompt) + len(e.target) for e in edits)
    assert told is not None and abs(editor.nbytes() - told) <= 0.25 * told + words
    assert all(part in dict(tiny_vlm.model.named_modules()) for part in editor.acts_on())
