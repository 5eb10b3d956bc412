"""What trained editors ship is what a run with default options looks for, so that no user trains first."""

from __future__ import annotations

from pathlib import Path

import pytest

from lifelong.editing.find import editor_class
from lifelong.editing.fits import SHIPPED
from lifelong.running.prepare import prepare, resolve
from lifelong.running.words import ConfigError

SHIPS = sorted(folder.parent.name for folder in SHIPPED.glob("*/weights"))


def test_the_main_jobs_trained_editors_ship_their_fits() -> None:
    assert {"liveedit", "rag"} <= set(SHIPS)


@pytest.mark.parametrize("name", SHIPS)
def test_a_shipped_fit_is_the_one_that_a_run_looks_for(name: str) -> None:
    ready = prepare(resolve(None, {"editor": name, "edits": 1}))
    assert editor_class(name).trains and ready.fit is not None
    wanted = ready.fit.places(Path("nowhere"))["shipped"]
    assert [p.name for p in wanted.parent.iterdir()] == [wanted.name], "a stale fit, or none for this model and pool"
    editor = ready.editor()
    editor.close()


@pytest.fixture
def own_file(tmp_path: Path) -> dict[str, object]:
    """The words of a run on a file of two edits without a record to fit an editor on."""
    path = tmp_path / "facts.jsonl"
    path.write_text('{"prompt": "Where is it?", "target": "Lima"}\n{"prompt": "Who is it?", "target": "Ann"}\n')
    return {"stream": "jsonl", "stream.path": str(path), "edits": 2, "cache": str(tmp_path / "cache")}


def test_a_stream_without_a_pool_takes_the_fit_that_ships(own_file: dict[str, object]) -> None:
    for name in ("liveedit", "rag"):
        ready = prepare(resolve(None, {"editor": name, **own_file}))
        assert ready.fit is not None and ready.fit.places(Path("nowhere"))["shipped"].is_file()
    ready.editor().close()


@pytest.mark.parametrize(
    "words",
    [
        {"editor": "rag", "editor.threshold": 0.9, "editor.image_weight": 0.5},
        {"editor": "rag", "editor.threshold": 0.9, "editor.keys": "text"},
        {"editor": "wise", "editor.outside": 0},
        {"editor": "t_patcher", "editor.memory": 0},
    ],
    ids=str,
)
def test_an_editor_with_nothing_left_to_learn_needs_no_pool(words: dict, own_file: dict[str, object]) -> None:
    ready = prepare(resolve(None, {"model": "tiny", **words, **own_file}))
    editor = ready.editor()
    assert ready.fit is None and ready.learnt() is None
    editor.edit(ready.stream.edits[:1])
    assert editor.route(editor.encode([ready.stream.edits[0].query]))
    editor.close()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ({"editor": "rag", "editor.threshold": 0.9}, r"rag calibrates editor.image_weight \(or give it\)"),
        ({"editor": "liveedit"}, r"is trained .* fit\.stream=NAME .*atlas\. What ships is for model=atlas"),
        ({"editor": "lemoe"}, r"Mark some so .*lemoe is trained .* Say fit\.stream=NAME .* fit\.stream=atlas\.$"),
    ],
    ids=lambda one: one if isinstance(one, str) else one["editor"],
)
def test_who_has_neither_pool_nor_fit_is_told_how(words: dict, told: str, own_file: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=told) as caught:
        prepare(resolve(None, {"model": "tiny", **words, **own_file}))
    assert "\n" not in str(caught.value)
