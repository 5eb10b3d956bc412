"""What the README shows is true: its code runs, its commands exist, its columns are those of the facts."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from pathlib import Path

import pytest
import typer.main
from PIL import Image
from runs_alike import SMALL

import lifelong
from lifelong.cli.main import app
from lifelong.log import FACTS
from streams.atlas.world import load_world

README = (Path(__file__).parents[1] / "README.md").read_text()
SMALL_WORDS = {k: v for k, v in SMALL.items() if k != "editor"}


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def notebook(tmp_path_factory: pytest.TempPathFactory) -> Path:
    (code,) = [b for b in blocks("python") if "(Editor)" in b]
    path = tmp_path_factory.mktemp("mine") / "notebook.py"
    path.write_text(code)
    return path


def test_the_worked_editor_is_short_and_keeps_the_contract(notebook: Path) -> None:
    assert len([line for line in notebook.read_text().splitlines() if line.strip()]) <= 35
    report = lifelong.check_editor(str(notebook))
    assert report.ok, report.text()


def test_the_python_calls_run_with_the_worked_editor(notebook: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict = {"lifelong": lifelong}
    calls, reading = [b for b in blocks("python") if "(Editor)" not in b]
    small = f"**{ {**SMALL_WORDS, 'editor': str(notebook)}!r}"
    exec(calls.replace('editor="grace", edits=100', f"quiet=True, {small}"), names)
    exec(reading, names)
    said = capsys.readouterr().out
    assert names["page"].is_file() and "liveedit" in said and "shape: (6, 4)" in said  # one row per edit


def test_every_command_and_option_exists() -> None:
    root = typer.main.get_command(app)
    lines = [x for block in blocks("sh") for x in block.splitlines() if x.startswith("lifelong ")]
    assert len(lines) > 8
    for line in lines:
        words, command = line.split("#")[0].split()[1:], root
        while words and words[0] in getattr(command, "commands", {}):
            command = command.commands[words.pop(0)]  # type: ignore[attr-defined]
        assert not getattr(command, "commands", None), line
        options = {o for p in command.params for o in p.opts}
        assert {w for w in words if w.startswith("-")} <= options, line


def test_the_columns_are_those_of_the_facts() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \|[^|]*\| ([^|]*) \|$", README, re.MULTILINE))
    assert rows == {f.__name__.lower(): ", ".join(c.name for c in fields(f)) for f in FACTS}


def test_the_record_is_a_stream(tmp_path: Path) -> None:
    (line,) = blocks("json")
    Image.new("RGB", (8, 8)).save(tmp_path / json.loads(line)["image"])
    (tmp_path / "birds.jsonl").write_text(line)
    stream = lifelong.load_stream("jsonl", edits=1, path=str(tmp_path / "birds.jsonl"))
    axes = [p.axis for p in stream.probes(stream.edits[0].id)]
    assert sorted(axes) == ["generality", "locality", "reliability"]


def test_named_pictures_files_and_python_names_exist() -> None:
    for entity, rendering in re.findall(r"atlas:(\S+)/(\w[\w-]*)", README):
        assert load_world().image(entity, rendering)
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert target.endswith(".png") or (Path(__file__).parents[1] / target).exists(), target
    for name in re.findall(r"lifelong\.([a-z_]+)\(", README):
        assert name in lifelong.__all__, name
