"""Editors on models of other families: whole runs over a few edits, from a folder, on layers of another make."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import lifelong
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


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a family's tiny model, written once."""
    place = tmp_path_factory.mktemp("families")

    def of(name: str) -> Path:
        return place / name if (place / name).exists() else build_family(name, place / name)

    return of


def edited(model: Path, editor: str, out: Path, edits: int) -> None:
    """Run an editor and hold its facts to being there and being numbers."""
    few = {"panels.latency_answers": 1, "panels.latency_routes": 1}
    run = lifelong.run(
        editor={"name": editor, **FEW[editor]}, stream="toy", edits=edits, model=str(model), out=str(out), **few
    )
    facts = pl.read_parquet(run / "facts" / "*.parquet")
    assert len(facts) > 0
    assert facts["nll"].is_finite().all() if "nll" in facts.columns else True


@pytest.mark.parametrize("editor", ["ft", "grace"])
def test_an_editor_changes_a_layer_of_another_make(
    editor: str, folder_of: Callable[[str], Path], tmp_path: Path
) -> None:
    """OPT has neither `mlp.down_proj` nor rows inside of a layer; its prompts have no chat template."""
    edited(folder_of("blip2_opt"), editor, tmp_path, 2)


@pytest.mark.soak
@pytest.mark.parametrize("editor", FEW)
@pytest.mark.parametrize("name", [name for name in family_names() if name not in REFUSED])
def test_editors_run_on_every_family(
    name: str, editor: str, folder_of: Callable[[str], Path], tmp_path: Path
) -> None:
    edited(folder_of(name), editor, tmp_path, 6)
