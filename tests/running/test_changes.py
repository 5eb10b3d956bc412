"""Changes as Python gives them: nested dictionaries are words, and a class is an editor like one in a file."""

from __future__ import annotations

import linecache
import sys
import types
from pathlib import Path
from typing import Any

import pytest
from runs_alike import SMALL

import lifelong
from lifelong import Editor
from lifelong.editing.find import editor_class
from lifelong.editors.grace import Grace
from lifelong.log import RunLog
from lifelong.running.changes import editor_file, flat_changes, source_of
from lifelong.running.words import ConfigError

QUICK: dict[str, Any] = {**SMALL, "edits": 2, "panels": {"at": [2], "latency_routes": 0, "latency_answers": 0}}
CELLS = {
    "<ipython-input-1>": "import math\nfrom lifelong import Editor, EditorOptions\nSTEP = {step}\n",
    "<ipython-input-2>": "class Settings(EditorOptions):\n    rate: float = 0.5\n",
    "<ipython-input-3>": "def further(x):\n    return x + int(math.sqrt(STEP))\n",
    "<ipython-input-4>": (
        "class Mine(Editor):\n    '''My own, `reference`.'''\n    Options = Settings\n\n"
        "    def edit(self, edits):\n        self.revision = further(self.revision)\n"
    ),
}


def notebook(monkeypatch: pytest.MonkeyPatch, step: int = 1) -> type[Editor]:
    """The class that a notebook's cells define: in a module without a file, its source known to `linecache` alone."""
    module = types.ModuleType("notebook")
    monkeypatch.setitem(sys.modules, "notebook", module)
    for name, cell in CELLS.items():
        text = cell.format(step=step) if "{" in cell else cell
        monkeypatch.setitem(linecache.cache, name, (len(text), None, text.splitlines(keepends=True), name))
        exec(compile(text, name, "exec"), vars(module))
    return vars(module)["Mine"]


class Own(Editor):
    """An editor of this file, `reference`."""

    def edit(self, edits):
        self.revision += 1


@pytest.mark.parametrize(
    "nested, words",
    [
        ({"editor": {"name": "grace", "radius": 2.0}}, {"editor": "grace", "editor.radius": 2.0}),
        ({"panels": {"every": 2}, "fit": {"edits": 5}}, {"panels.every": 2, "fit.edits": 5}),
        ({"queries": {"rate": 2.0, "recent": 0.5}}, {"queries.rate": 2.0, "queries.recent": 0.5}),
    ],
)
def test_nested_dictionaries_are_dotted_keys(nested: dict[str, Any], words: dict[str, Any]) -> None:
    assert flat_changes(nested) == words


def test_a_class_of_a_notebook_runs_and_is_found_by_a_later_process(tmp_path: Path, monkeypatch) -> None:
    mine = notebook(monkeypatch)
    folder = lifelong.run(quiet=True, **{**QUICK, "editor": mine, "editor.rate": 0.25, "out": str(tmp_path)})
    assert lifelong.single(**{**QUICK, "editor": mine, "out": str(tmp_path)}).editor == "Mine"
    path = RunLog.open(folder).config()["editor"]["name"]
    assert path.endswith("Mine.py") and "Mine-rate-0.25" in folder.name
    monkeypatch.delitem(sys.modules, "notebook")
    assert editor_class(path).Options.model_fields["rate"].default == 0.5
    assert lifelong.ask(folder, "Who?").step == 2


def test_a_class_is_named_by_all_that_it_uses(tmp_path: Path, monkeypatch) -> None:
    first = editor_file(notebook(monkeypatch), tmp_path)
    assert editor_file(notebook(monkeypatch), tmp_path) == first
    assert editor_file(notebook(monkeypatch, step=4), tmp_path) != first


def test_a_class_that_ships_is_its_name_and_one_of_a_file_is_written_down() -> None:
    assert editor_file(Grace, Path("nowhere")) == "grace"
    text = source_of(Own)
    assert "class Own(Editor)" in text and "import Editor" in text and "import pytest" not in text


def test_what_cannot_be_written_down_is_refused_by_name(tmp_path: Path) -> None:
    handle = open(__file__)  # noqa: SIM115

    class Reads(Own):
        def edit(self, edits):
            handle.read()

    with handle, pytest.raises(ConfigError, match="editor=Reads: it uses handle, a TextIOWrapper"):
        editor_file(Reads, tmp_path)
    with pytest.raises(ConfigError, match="editor=int: this class is no lifelong.Editor"):
        editor_file(int, tmp_path)
    made = type("Made", (Own,), {})
    with pytest.raises(ConfigError, match="editor=Made: the source of Made cannot be found"):
        editor_file(made, tmp_path)


def test_a_class_is_checked_as_its_file_is() -> None:
    assert lifelong.check_editor(Own).editor == "Own"
    with pytest.raises(TypeError, match="expected a shipped name"):
        lifelong.check_editor(int)  # type: ignore[arg-type]


@pytest.mark.parametrize("trials, edits", [(0, 1), (1, 0), (-1, 5)])
def test_tuning_needs_a_trial_and_an_edit(trials: int, edits: int) -> None:
    with pytest.raises(ConfigError, match="expected at least 1"):
        lifelong.tune("ft", steps=[1, 2], trials=trials, edits=edits)


def test_results_are_shown_in_one_short_line(tmp_path: Path) -> None:
    single = lifelong.single(**{**QUICK, "editor": "none", "out": str(tmp_path)})
    folder = lifelong.run(quiet=True, **{**QUICK, "editor": "none", "out": str(tmp_path)})
    for found in (single, lifelong.ask(folder, "Who?" * 90), lifelong.check_editor("none"), lifelong.replay(folder)):
        assert len(repr(found)) < 200 and "\n" not in repr(found), type(found)
    page = lifelong.report(str(folder), str(tmp_path / "report"))
    assert page.is_file() and lifelong.report([folder], tmp_path / "again").is_file()
