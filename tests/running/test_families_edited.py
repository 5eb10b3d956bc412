"""Editors on models of other families: whole runs over a few edits, from a folder, on layers of another make."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from runs_alike import facts_of

import lifelong
from lifelong.editing.find import editor_names
from lifelong.models.families.building import build_family, family_names

REFUSED = {"blip2_t5", "florence2", "mllama", "mistral3", "molmo2", "pixtral"}
FEW: dict[str, dict[str, Any]] = {
    "none": {},
    "ft": {},
    "grace": {"steps": 3},
    "rag": {},
    "wise": {},
    "lora": {},
    "mend": {"steps": 3, "pool": 8, "batch": 2},
    "liveedit": {"steps": 3, "pool": 8, "batch": 2},
}
"""Those that are run on every family."""
MORE: dict[str, dict[str, Any]] = {
    "ke": {"steps": 2, "pool": 8, "batch": 2},
    "lemoe": {"steps": 3},
    "lte": {"steps": 2, "pool": 8, "batch": 2},
    "melo": {"steps": 3},
    "mscke": {"steps": 2, "pool": 20},
    "recipe": {"steps": 1, "pool": 20, "routing_steps": 2, "batch": 2},
    "serac": {"pool": 20},
    "t_patcher": {"steps": 3, "memory": 20},
    "unike": {"fit_steps": 2, "memory": 10, "silent": 20, "steps": 3},
}
SEED_PAPERS = ("llava", "blip2_opt", "qwen2_vl")


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a family's tiny model, written once."""
    place = tmp_path_factory.mktemp("families")

    def of(name: str) -> Path:
        return place / name if (place / name).exists() else build_family(name, place / name)

    return of


def edited(model: Path, editor: str, out: Path, edits: int) -> Path:
    """Run an editor, and hold its facts to being there and being numbers."""
    few: dict[str, Any] = {"panels.latency_answers": 1, "panels.latency_routes": 1}
    chosen = {"name": editor, **{**MORE, **FEW}.get(editor, {})}
    few |= {"fit.edits": 20}
    run = lifelong.run(editor=chosen, stream="toy", edits=edits, model=str(model), out=str(out), quiet=True, **few)
    probed = facts_of(run)["Probed"]
    assert len(probed) >= edits
    assert all(math.isfinite(v) for fact in probed for v in fact.values() if isinstance(v, float))
    return run


@pytest.mark.parametrize("editor", ["ft", "grace"])
def test_an_editor_changes_a_layer_of_another_make(
    editor: str, folder_of: Callable[[str], Path], tmp_path: Path
) -> None:
    """OPT has neither `mlp.down_proj` nor rows inside of a layer; the manifest says how its answers are written."""
    run = edited(folder_of("blip2_opt"), editor, tmp_path, 2)
    answers = json.loads((run / "manifest.json").read_text())["answers"]
    assert (answers["prefix"], answers["written"]) == (" ", False)


@pytest.mark.parametrize(
    ("name", "editor"),
    [("blip2_opt", "mend"), ("blip2_opt", "recipe"), ("blip2_opt", "t_patcher"), ("qwen2_vl", "liveedit")],
)
def test_an_editor_of_each_kind_runs_on_a_family_of_the_papers(
    name: str, editor: str, folder_of: Callable[[str], Path], tmp_path: Path
) -> None:
    """A hypernetwork, continuous prompts, experts and neurons."""
    edited(folder_of(name), editor, tmp_path, 2)


@pytest.mark.soak
@pytest.mark.parametrize("editor", [name for name in editor_names() if name not in FEW])
@pytest.mark.parametrize("name", SEED_PAPERS)
def test_every_editor_runs_on_the_families_of_the_papers(
    name: str, editor: str, folder_of: Callable[[str], Path], tmp_path: Path
) -> None:
    edited(folder_of(name), editor, tmp_path, 2)


@pytest.mark.soak
@pytest.mark.parametrize("editor", FEW)
@pytest.mark.parametrize("name", [name for name in family_names() if name not in REFUSED])
def test_editors_run_on_every_family(
    name: str, editor: str, folder_of: Callable[[str], Path], tmp_path: Path
) -> None:
    edited(folder_of(name), editor, tmp_path, 6)
