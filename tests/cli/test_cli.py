"""The command line: results on standard output, one clear line and exit code 2 for a mistake."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from runs_alike import SMALL

from lifelong.cli import main as cli
from lifelong.editing.find import editor_class, editor_names
from lifelong.running.catalog import listing


def call(monkeypatch, capsys, *words: str) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["lifelong", *words])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    out, err = capsys.readouterr()
    code = ended.value.code
    return (code if isinstance(code, int) else 0), out, err


@pytest.mark.parametrize(
    "words, hint",
    [
        (["run", "editr=ft"], "editor"),
        (["run", "editor=grase"], "grace"),
        (["run", "editor=grace", "editor.radus=1"], "radius"),
        (["run", "stream=toi", "model=tiny"], "toy"),
        (["run", "stream=toy", "stream.ordr=x", "model=tiny"], "order"),
        (["run", "clock=modeled"], "modelled"),
        (["run", "clock.edit=1"], "edit_s"),
        (["run", "arrivals=poison"], "poisson"),
        (["run", "arrivals.rat=1"], "rate"),
        (["run", "model=tiny", "model.sed=1", "stream=toy"], "seed"),
        (["run", "curves"], "sweep"),
        (["run", "editor=missing.py"], "missing.py"),
        (["sweep", "first-look"], "run first-look"),
        (["sweep"], "editor=none,grace seed=0,1"),
        (["list", "editor"], "editors"),
        (["report", "nowhere", "-o", "x"], "nowhere"),
        (["ask", "nowhere", "Who?"], "nowhere"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(words: list[str], hint: str, monkeypatch, capsys) -> None:
    code, out, err = call(monkeypatch, capsys, *words)
    assert code == 2 and out == ""
    assert len(err.splitlines()) == 1 and hint in err, err


@pytest.mark.parametrize("kind, name", [("editors", "grace"), ("streams", "toy"), ("models", "atlas")])
def test_listings_are_lists_of_named_objects(kind: str, name: str, monkeypatch, capsys) -> None:
    code, out, _ = call(monkeypatch, capsys, "list", kind, "--json")
    things = json.loads(out)
    assert code == 0 and name in [t["name"] for t in things] and all("about" in t for t in things)


def test_editors_are_listed_from_their_source_as_they_describe_themselves() -> None:
    """And without torch: a list is not worth the seconds that importing them takes."""
    told = {one["name"]: one["about"] for one in listing("editors")}
    assert told == {name: (editor_class(name).__doc__ or "").partition("\n")[0] for name in editor_names()}
    code = "import sys, lifelong; lifelong.listing('editors'); sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_recipes_say_whether_they_are_sweeps(monkeypatch, capsys) -> None:
    _, out, _ = call(monkeypatch, capsys, "list", "recipes", "--json")
    assert {t["name"]: t["kind"] for t in json.loads(out)}["curves"] == "sweep"


def test_a_run_prints_its_folder_last(monkeypatch, capsys, tmp_path: Path) -> None:
    words = [f"{k}={v}" for k, v in {**SMALL, "editor": "none", "edits": 2}.items()]
    code, out, _ = call(monkeypatch, capsys, "run", *words, f"out={tmp_path}")
    folder = Path(out.splitlines()[-1])
    assert code == 0 and (folder / "DONE").exists() and folder.parent == tmp_path


def test_the_module_is_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "lifelong.cli", "--help"], capture_output=True, text=True, check=True
    )
    assert "sweep" in done.stdout and "report" in done.stdout
