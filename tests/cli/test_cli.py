"""The command line: results on standard output, one clear line and exit code 2 for a mistake."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from zipfile import BadZipFile

import polars
import pyarrow
import pytest
from jinja2.exceptions import TemplateError
from runs_alike import SMALL, out_of
from safetensors import SafetensorError

import lifelong
from lifelong.cli import main as cli
from lifelong.editing.find import editor_class, editor_names
from lifelong.running.catalog import listing
from lifelong.running.words import ConfigError


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
        (["run", "grace"], "editor=grace"),
        (["run", "grce"], "editor=grace"),
        (["run", "toy"], "stream=toy"),
        (["run", "first_look"], "'first-look'"),
        (["run", "hard-conflicts"], "hard-reedits"),
        (["run", "editor=grace", "editor=ft"], "given twice, as grace and as ft"),
        (["check", "grace", "radius=-1"], "editor.radius=-1: expected a number above 0 (default 1.0)"),
        (["tune", "grace", "radius=-1,2"], "editor.radius=-1: expected"),
        (["single", "editor=grace", "editor.radius=-1"], "editor.radius=-1: expected"),
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
    assert code == 0 and (folder / "DONE").exists() and out_of(folder) == tmp_path


def test_run_without_words_says_what_it_would_need(monkeypatch, capsys) -> None:
    for words in (["run"], ["run", "--dry-run"]):
        code, out, err = call(monkeypatch, capsys, *words)
        assert code == 2 and out == "" and err.count("  lifelong run ") == 3


def test_the_version_is_the_packages(monkeypatch, capsys) -> None:
    code, out, _ = call(monkeypatch, capsys, "--version")
    assert code == 0 and out.strip() == lifelong.__version__ == version("lifelong-edit")


@pytest.mark.parametrize(
    "words", [["editors"], ["keys"], ["recipes"], ["streams", "--options"], ["models", "--options"]]
)
def test_a_listing_fits_a_terminal_and_ends_its_sentences(words: list[str], monkeypatch, capsys) -> None:
    code, out, _ = call(monkeypatch, capsys, "list", *words)
    assert code == 0 and max(map(len, out.splitlines())) <= 100
    if words == ["recipes"]:
        assert all(one["about"].endswith(".") for one in listing("recipes"))


def test_ctrl_c_is_a_line_and_code_130(monkeypatch, capsys) -> None:
    def stop(*_: object, **__: object) -> None:
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr("lifelong.running.run.run", stop)
    code, _, err = call(monkeypatch, capsys, "run", "editor=none")
    assert code == 130 and err == "lifelong: stopped.\n"


class PanicError(BaseException):
    """What a library in Rust raises is no `Exception`."""


@pytest.mark.parametrize(
    "error, hint",
    [
        (TypeError("no\nway"), "unexpected TypeError in lifelong/cli/main.py, line "),
        (OverflowError("too large"), "unexpected OverflowError"),
        (ZeroDivisionError("division"), "unexpected ZeroDivisionError"),
        (PanicError("a panic"), "unexpected PanicError"),
        (BadZipFile("no zip"), "unexpected BadZipFile"),
        (ValueError("a library's \x1b[31m"), "unexpected ValueError"),
        (polars.exceptions.ComputeError("columns"), "unexpected ComputeError"),
        (pyarrow.ArrowInvalid("bytes"), "unexpected ArrowInvalid"),
        (SafetensorError("header"), "unexpected SafetensorError"),
        (TemplateError("loop"), "unexpected TemplateError"),
        (MemoryError(), "not enough memory"),
        (RecursionError("maximum depth"), "nested too deeply"),
        (OSError(28, "No space left on device", "file"), "No space left on device: 'file'"),
        (ModuleNotFoundError("No module named 'faiss'"), "pip install"),
        (ConfigError("edits: wrong."), "lifelong: edits: wrong."),
    ],
)
def test_every_exception_is_one_line_and_code_2(error: BaseException, hint: str, monkeypatch, capsys) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("lifelong.running.run.run", fail)
    code, out, err = call(monkeypatch, capsys, "run", "editor=none")
    assert (code, out, len(err.splitlines())) == (2, "", 1) and err.startswith("lifelong: ")
    assert hint in err and "\x1b" not in err and ("report it" in err) == ("unexpected" in hint)


def test_the_traceback_is_there_for_whoever_asks(monkeypatch, capsys) -> None:
    def fail(*_: object, **__: object) -> None:
        raise TypeError("no way")

    monkeypatch.setattr("lifelong.running.run.run", fail)
    monkeypatch.setenv("LIFELONG_TRACEBACK", "1")
    monkeypatch.setattr(sys, "argv", ["lifelong", "run", "editor=none"])
    with pytest.raises(TypeError, match="no way"):
        cli.main()


def test_usage_errors_are_typers_own(monkeypatch, capsys) -> None:
    code, _, err = call(monkeypatch, capsys, "run", "--nope")
    assert code == 2 and "Usage:" in err and "No such option" in err


def test_a_reader_that_has_enough_ends_a_command_quietly() -> None:
    command = f"{sys.executable} -m lifelong.cli list keys | head -1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("name") and done.stderr == ""


def test_the_module_is_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "lifelong.cli", "--help"], capture_output=True, text=True, check=True
    )
    assert "sweep" in done.stdout and "report" in done.stdout
