"""A run is called by its editor and the options that are not the defaults: in folders, sweeps and manifests alike."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from runs_alike import SMALL

import lifelong
from lifelong.running.labels import LONGEST, label_of_words
from lifelong.running.prepare import resolve
from lifelong.studies.sweep import cells


def test_only_options_that_are_not_the_defaults_are_named() -> None:
    words = {"editor": "liveedit", "editor.rank": 2, "editor.soft_routing": False, "editor.prompt_guided": True}
    assert resolve(None, {"editor": "liveedit"}).label == "liveedit"
    assert set(resolve(None, words).label.split()) == {"liveedit", "rank=2", "soft_routing=false"}
    assert resolve(resolve(None, words).config).label == resolve(None, words).label  # all options spelt out or not


def test_a_folder_is_named_by_the_label_without_a_key_value_word() -> None:
    words = {"editor": "unike", "editor.external": "in-context", "stream": "toy"}
    assert resolve(None, words).title == "unike-external-in-context-toy"
    assert resolve(None, words | {"name": "mine"}).title == "mine"


def test_a_long_label_is_cut_and_stays_one_of_a_kind() -> None:
    many = [{f"option_{i}": i for i in range(9)} | {"last": last} for last in (1, 2)]
    first, second = (label_of_words("editor", options) for options in many)
    assert first != second and max(len(first), len(second)) <= LONGEST and first.startswith("editor option_0=0 ")


def test_the_manifest_says_the_label(tmp_path: Path) -> None:
    folder = lifelong.run(quiet=True, **{**SMALL, "edits": 1, "editor.radius": 3.0, "out": str(tmp_path)})
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["label"] == "grace radius=3.0" and manifest["name"] == folder.name.rsplit("-", 1)[0]


@pytest.mark.parametrize("recipe", ["liveedit-ablation", "mscke-ablation", "mmedit-regions", "unike-ablation"])
def test_cells_of_an_ablation_have_short_labels_of_their_own(recipe: str) -> None:
    found = cells(recipe)
    labels = [cell.label for cell in found]
    assert len(set(labels)) == len({str(cell.config.editor) for cell in found}) and all("{" not in x for x in labels)
    assert max(map(len, labels)) <= LONGEST


def test_a_cell_is_named_by_what_else_the_grid_varies(tmp_path: Path) -> None:
    file = tmp_path / "s.toml"
    file.write_text('[grid]\neditor = ["none", "ft"]\nseed = [0, 1]\nstream = [{name = "toy", order = "grouped"}]\n')
    names = [cell.label.split(" stream=")[0] for cell in cells(str(file))]
    assert names == ["none seed=0", "none seed=1", "ft seed=0", "ft seed=1"]
    assert cells(str(file))[0].label.endswith("stream=toy stream.order=grouped")
