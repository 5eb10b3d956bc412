"""Paths of a run: absolute from what says them, and without part in its name where their content counts."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from runs_alike import SMALL, out_of

import lifelong
from lifelong.running.config import load_config
from lifelong.running.prepare import prepare, resolve
from lifelong.running.words import parse_words, to_toml

RECORD = json.dumps({"prompt": "What is this?", "target": "a heron"})
TINY = {**{k: v for k, v in SMALL.items() if k != "stream"}, "editor": "none", "edits": 1}


def folder_of(folder: Path, *words: str, **changes: object) -> Path:
    """The folder of a run over the records in `folder`, said from there."""
    given = {**TINY, "stream": "jsonl", "out": str(folder / "runs"), **changes, **parse_words(words)}
    return prepare(resolve(None, given)).folder


@pytest.fixture
def records(tmp_path: Path) -> Path:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "birds,fish.jsonl").write_text(RECORD)
    (tmp_path / "one" / "trace.txt").write_text("0\n1\n")
    return tmp_path / "one"


def test_the_same_data_in_two_places_is_one_run(records: Path, tmp_path: Path) -> None:
    shutil.copytree(records, tmp_path / "two")
    names = set()
    for folder in (records, tmp_path / "two"):
        words = [f"stream.path={folder}/birds,fish.jsonl", "arrivals=trace", f"arrivals.file={folder}/trace.txt"]
        names.add(folder_of(folder, *words).name)
    assert len(names) == 1
    (records / "trace.txt").write_text("0\n2\n")
    assert folder_of(records, *words[:2], f"arrivals.file={records}/trace.txt").name not in names


def test_the_same_editor_file_in_two_places_is_one_run_and_a_changed_one_another(tmp_path: Path) -> None:
    text = "from lifelong import Editor\nclass Mine(Editor):\n    def edit(self, edits):\n        pass\n"
    names = []
    for place, code in (("a", text), ("b", text), ("a", text + "# changed\n")):
        (tmp_path / place).mkdir(exist_ok=True)
        (tmp_path / place / "mine.py").write_text(code)
        given = {**SMALL, "editor": str(tmp_path / place / "mine.py"), "edits": 1, "out": str(tmp_path)}
        names.append(lifelong.dry_run(**given).name)
    assert names[0] == names[1] != names[2]


def test_a_files_relative_paths_begin_at_its_folder(records: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (records / "mine.py").write_text("")
    table = {"stream": {"name": "jsonl", "path": "birds,fish.jsonl"}, "editor": "mine.py", "out": "runs"}
    (records / "run.toml").write_text(to_toml(table))
    monkeypatch.chdir(records.parent)
    config = load_config("one/run.toml", {"cache": "here"})
    assert config.stream.options == {"path": str(records / "birds,fish.jsonl")}
    assert config.editor.name == str(records / "mine.py") and config.out == str(records / "runs")
    assert config.cache == str(records.parent / "here"), "a word is said in the current folder"


def test_what_ships_begins_at_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_config("curves", {"editor": "ft"}).out == str(tmp_path / "runs" / "curves")


def test_home_is_meant_in_every_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    words = ["editor=~/mine.py", "model=~/model", "stream=jsonl", "stream.path=~/a.jsonl", "stream.root=~/b",
             "out=~/o", "cache=~/c", "arrivals=trace", "arrivals.file=~/t", "clock=fitted",
             "clock.run=~/r"]  # fmt: skip
    text = to_toml(load_config(None, parse_words(words)).table())
    assert text.count("/home/me/") == len([word for word in words if "~" in word]) and "~" not in text


def test_a_run_can_be_asked_from_anywhere(records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(records)
    given = {**TINY, "editor": "grace", "stream": "jsonl", "stream.path": "birds,fish.jsonl", "out": "runs"}
    folder = lifelong.run(**given, quiet=True)
    assert folder.is_absolute() and out_of(folder) == records / "runs"
    monkeypatch.chdir("/")
    assert lifelong.ask(folder, "What is this?").step == 1
    assert os.path.relpath(folder, records).startswith("runs/")


@pytest.mark.parametrize("name", ["2024-05-01", "1.10", "7", "true", "a,b"])
def test_a_name_is_a_text(name: str) -> None:
    assert load_config(None, parse_words([f"name={name}"])).name == name
