"""Claims about `lifelong protocol` and the recipes of published protocols: they run, and say what they print."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from published_records import EVAL, write_benchmark, write_pictures

import lifelong
from lifelong.models.families.building import build_family
from lifelong.running.config import RECIPES
from lifelong.studies.sweep import cells

REAL = Path(__file__).parents[3] / "shared" / "data"
RECIPE_OF = {
    "mmedit-one-step": "end-of-chunk",
    "unike-sequential": "end-of-chunk",
    "unike-cross-task": "cross-task",
    "liveedit-lifelong": "end-of-chunk",
    "fgvedit-specificity": "end-of-chunk",
    "vlkeb-gap": "gap",
    "memeic-gap": "compositional",
}
FILES: dict[str, dict[str, Any]] = {
    "mmedit-one-step": {"stream": "evqa", "edits": 2},
    "unike-sequential": {"stream": "eic", "edits": 2, "restore_every": 2},
    "unike-cross-task": {"stream.parts": ["evqa", "eic"], "stream.pattern": [1, 1], "edits": 2, "restore_every": 2},
    "liveedit-lifelong": {"stream": "evqa", "stream.template": "liveedit", "edits": 3, "restore_every": 2},
    "fgvedit-specificity": {"stream": "fgvedit", "edits": 2},
    "vlkeb-gap": {"stream": "vlkeb", "edits": 3, "panels.gaps": [1]},
    "memeic-gap": {"stream": "cckeb", "edits": 4, "panels.gaps": [1, 2, 3]},
}
"""What each recipe is told to run on the published files, in small."""
AT = {"liveedit-lifelong": [2], "vlkeb-gap": [1], "memeic-gap": [0, 1], "unike-cross-task": [2]}


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    place = tmp_path_factory.mktemp("families")

    def of(name: str) -> Path:
        return place / name if (place / name).exists() else build_family(name, place / name)

    return of


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("data")
    for name in ("evqa", "eic", "vlkeb", "cckeb", "fgvedit"):
        write_benchmark(place, name, 4)
    return place


@pytest.mark.parametrize("recipe", RECIPE_OF)
def test_a_recipe_says_what_it_reproduces_what_it_cannot_and_how_it_is_read(recipe: str) -> None:
    about = (RECIPES / f"{recipe}.toml").read_text(encoding="utf-8").splitlines()[:4]
    assert all(line.startswith("# ") for line in about)
    assert about[3] == f"# lifelong protocol {RECIPE_OF[recipe]} runs/{recipe}"
    assert "stream.root=FOLDER" in about[2] and "model=FOLDER" in about[2]
    configs = [cell.config for cell in cells(recipe)]
    assert all(config.model.name == "atlas" and config.stream.name in ("atlas", "mixed") for config in configs)
    assert {Path(config.out).name for config in configs} == {recipe}


def ran(recipe: str, model: str, out: Path, **words: Any) -> Any:
    changes = {
        **FILES[recipe],
        **words,
        "editor": "ft",
        "editor.steps": 1,
        "model": model,
        "out": str(out),
        "threads": 1,
    }
    folder = lifelong.run(recipe, quiet=True, cache=str(out / "cache"), **changes)
    return lifelong.protocol_view(RECIPE_OF[recipe], folder, AT.get(recipe, []))


QUICK = [(recipe, "llava") for recipe in RECIPE_OF] + [("mmedit-one-step", "blip2_opt")]
SLOW = [
    pytest.param(recipe, "blip2_opt", marks=pytest.mark.soak) for recipe in RECIPE_OF if recipe != "mmedit-one-step"
]


@pytest.mark.parametrize(("recipe", "family"), [*QUICK, *SLOW])
def test_a_recipe_runs_on_unchanged_files(
    recipe: str, family: str, folder_of: Callable[[str], Path], root: Path, tmp_path: Path
) -> None:
    found = ran(recipe, str(folder_of(family)), tmp_path, **{"stream.root": str(root)})
    measures = set(found.view.table["measure"])
    extra = {"fgvedit-specificity": {"Spec"}, "vlkeb-gap": {"Port"}, "memeic-gap": {"Comp"}}
    five = {"Rel", "T-Gen", "T-Loc"} | (set() if "fgvedit" in recipe else {"M-Gen", "M-Loc"})
    assert measures >= five | extra.get(recipe, set())
    assert not found.view.table["mean"].is_nan().any() and found.view.table["n"].min() > 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ({"name": "compositonal"}, "no such protocol. Did you mean 'compositional'"),
        ({"name": "gap", "at": [-1]}, "at=-1: expected 0 or more"),
        ({"name": "gap"}, "neither a run folder nor a folder of run folders"),
    ],
)
def test_a_mistake_is_one_line(words: dict[str, Any], told: str, tmp_path: Path) -> None:
    with pytest.raises(lifelong.ConfigError, match=told) as error:
        lifelong.protocol_view(runs=tmp_path, **words)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("recipe", "folder"), [("mmedit-one-step", "mmedit"), ("vlkeb-gap", "vlkeb")])
def test_a_recipe_runs_on_the_real_records(
    recipe: str, folder: str, folder_of: Callable[[str], Path], tmp_path: Path
) -> None:
    """The file is the real one; pictures that do not lie beside it are drawn."""
    if not (REAL / folder).is_dir():
        pytest.skip(f"no real records beside the repository (../shared/data/{folder})")
    file = REAL / folder / EVAL[str(FILES[recipe]["stream"])][0]
    records = json.loads(file.read_text(encoding="utf-8"))[: FILES[recipe]["edits"]]
    write_pictures(tmp_path / "images", [r[key] for r in records for key in ("image", "image_rephrase", "m_loc")])
    real = {"stream.root": str(REAL / folder), "stream.images": str(tmp_path / "images")}
    found = ran(recipe, str(folder_of("llava")), tmp_path, **real)
    assert {"Rel", "T-Gen", "T-Loc"} <= set(found.view.table["measure"])
