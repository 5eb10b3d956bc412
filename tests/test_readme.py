"""What the pages show is true: they are short, their links lead somewhere, their commands exist, their code runs.

The pages are the README.md of every folder; the model's card is longer and says what was measured.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import typer
import typer.main
from PIL import Image
from runs_alike import SMALL
from test_architecture import ORDER

import lifelong
from lifelong.cli.main import app
from lifelong.cli.words import split_words
from lifelong.log import FACTS
from lifelong.running.config import recipe_names
from lifelong.running.prepare import resolve
from lifelong.studies.sweep import cells, is_sweep
from streams.atlas.world import load_world
from streams.orders.order import ORDERS
from streams.times.arrivals import arrival_names

ROOT = Path(__file__).parents[1]
FOLDERS = ("lifelong", "streams", "reports", "tests")
CARD = "lifelong/models/atlas/weights/README.md"
PAGES = {
    str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
    for path in [ROOT / "README.md", *(p for folder in FOLDERS for p in sorted((ROOT / folder).rglob("README.md")))]
}
SHORT = [name for name in PAGES if name != CARD]
LOG = "reports/LOG.md"
LONGEST = {"README.md": 150, "lifelong/cli/README.md": 100}  # lines; of the others 80
SMALL_WORDS = {k: v for k, v in SMALL.items() if k != "editor"}
FENCED = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
CONFIGURED = {"run", "sweep", "single", "spaces", "bench probing", "stress edits"}
"""Commands whose words are those of a run or of several."""


def blocks(page: str, language: str) -> list[str]:
    return [text for found, text in FENCED.findall(PAGES[page]) if found == language]


def lines(page: str, program: str) -> list[str]:
    """The commands of a page's shell blocks, without what is said about them."""
    return [x for block in blocks(page, "sh") for x in block.splitlines() if x.startswith(program + " ")]


def leaves(command: Any, path: tuple[str, ...] = ()) -> Iterator[str]:
    below = getattr(command, "commands", None)
    if below is None:
        yield " ".join(path)
    for name, one in (below or {}).items():
        yield from leaves(one, (*path, name))


def parsed(line: str) -> tuple[str, dict[str, Any]]:
    """The command of a line and its arguments, read as the program would; raises where it would refuse them.

    Of a command that is only named, and of one that is asked for its help, there are none.
    """
    words, command, path = shlex.split(line, comments=True)[1:], typer.main.get_command(app), []
    while words and words[0] in getattr(command, "commands", {}):
        path.append(words[0])
        command = command.commands[words.pop(0)]  # type: ignore[attr-defined]
    assert path, line
    try:
        return " ".join(path), command.make_context(path[-1], words).params if words else {}
    except typer.Exit:
        return " ".join(path), {}


def slug(heading: str) -> str:
    """What a heading is called in a link."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.fixture(scope="module")
def notebook(tmp_path_factory: pytest.TempPathFactory) -> Path:
    (code,) = blocks("README.md", "python")
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
    (calls,), (reading,) = blocks("lifelong/cli/README.md", "python"), blocks("lifelong/log/README.md", "python")
    small = f"**{ {**SMALL_WORDS, 'editor': str(notebook)}!r}"
    exec(calls.replace('editor="grace", edits=100', f"quiet=True, {small}"), names)
    exec(reading, names)
    said = capsys.readouterr().out
    assert names["page"].is_file() and "liveedit" in said and "shape: (6, 5)" in said  # one row per edit


def test_the_example_of_the_models_page_ends_at_the_frozen_base(capsys) -> None:
    (code,) = blocks("lifelong/models/README.md", "python")
    exec(code, {})
    assert capsys.readouterr().out.splitlines()[-1] == "['Nairobi']"


@pytest.mark.parametrize("page", SHORT)
def test_a_page_is_short(page: str) -> None:
    assert len(PAGES[page].splitlines()) <= LONGEST.get(page, 80)


@pytest.mark.parametrize("page", [*PAGES, LOG])
def test_links_lead_somewhere(page: str) -> None:
    for target in re.findall(r"\]\((?!http)([^)\s]+)\)", (ROOT / page).read_text(encoding="utf-8")):
        file, _, anchor = target.partition("#")
        path = (ROOT / page).parent / file if file else ROOT / page
        assert path.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in map(slug, headings), target


def test_every_entry_of_the_log_is_in_its_index() -> None:
    text = (ROOT / LOG).read_text(encoding="utf-8")
    dated = re.findall(r"^## (\d{4}-.+)$", text, re.MULTILINE)
    assert {slug(heading) for heading in dated} == set(re.findall(r"\]\(#([^)]+)\)", text))


@pytest.mark.parametrize("page", PAGES)
def test_every_command_and_option_exists(page: str) -> None:
    inline = re.findall(r"`(lifelong [^`\n]+)`", FENCED.sub("", PAGES[page]))
    for line in [*lines(page, "lifelong"), *inline]:
        parsed(line)
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for line in [*lines(page, "make"), *re.findall(r"`(make \w[^`\n]*)`", PAGES[page])]:
        assert line.split()[1] in targets, line
    for line in lines(page, "python"):
        assert (ROOT / line.split()[1]).is_file(), line


def test_the_pages_show_commands_at_all() -> None:
    assert len(lines("README.md", "lifelong")) >= 5 and len(lines("README.md", "make")) == 2


@pytest.mark.parametrize("page", PAGES)
def test_the_keys_of_every_run_that_is_shown_exist(page: str) -> None:
    """Reading a run's words raises for a key, a name or an option that there is not."""
    for line in lines(page, "lifelong"):
        command, given = parsed(line)
        if command not in CONFIGURED:
            continue
        source, changes = split_words(given["words"])
        if command == "sweep" or (command != "run" and source and is_sweep(source)):
            for cell in cells(source, changes):
                resolve(cell.config)
            continue
        editors = changes.get("editor", "none")
        for editor in editors if isinstance(editors, list) else [editors]:
            resolve(source, {**changes, "editor": editor})


def test_the_page_of_the_command_line_shows_every_command_once() -> None:
    shown = [parsed(line)[0] for line in lines("lifelong/cli/README.md", "lifelong")]
    assert set(shown) == set(leaves(typer.main.get_command(app)))
    assert all(
        shown.count(command) == 1 for command in set(shown) - {"run", "list", "ask"}
    )  # those have several uses


def test_the_page_of_the_command_line_has_every_key() -> None:
    named = set(re.findall(r"`(\w+)[`=.]", PAGES["lifelong/cli/README.md"]))
    assert set(lifelong.RunConfig.model_fields) <= named


def test_the_columns_are_those_of_the_facts() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \|[^|]*\| ([^|]*) \|$", PAGES["lifelong/log/README.md"], re.MULTILINE))
    assert rows == {f.__name__.lower(): ", ".join(c.name for c in fields(f)) for f in FACTS}


def test_the_packages_stand_in_their_order_with_their_own_sentences() -> None:
    rows = re.findall(r"^\| \[(\w+)\]\([^)]+\) \| (.+) \|$", PAGES["lifelong/README.md"], re.MULTILINE)
    assert tuple(name for name, _ in rows) == ORDER
    for name, said in rows:
        sentence = (ROOT / "lifelong" / name / "__init__.py").read_text().split('"""')[1].rstrip(".\n")
        assert said.lower().startswith(sentence.lower()), name


def test_the_page_of_streams_has_every_order_process_and_hard_recipe() -> None:
    text = PAGES["streams/README.md"]
    named = set(re.findall(r"`([\w-]+)`", text))
    assert {*ORDERS, *arrival_names()} <= named
    assert {r for r in recipe_names() if r.startswith("hard-")} == {r for r in named if r.startswith("hard-")}


def test_the_record_is_a_stream(tmp_path: Path) -> None:
    (line,) = blocks("streams/README.md", "json")
    Image.new("RGB", (8, 8)).save(tmp_path / json.loads(line)["image"])
    (tmp_path / "birds.jsonl").write_text(line)
    stream = lifelong.load_stream("jsonl", edits=1, path=str(tmp_path / "birds.jsonl"))
    axes = [p.axis for p in stream.probes(stream.edits[0].id)]
    assert sorted(axes) == ["generality", "locality", "reliability"]


@pytest.mark.parametrize("page", PAGES)
def test_named_pictures_and_python_names_exist(page: str) -> None:
    for entity, rendering in re.findall(r"atlas:(e-[^\s/]+)/(\w[\w-]*)", PAGES[page]):
        assert load_world().image(entity, rendering)
    for name in re.findall(r"lifelong\.([A-Za-z_]+)\(", PAGES[page]):
        assert name in lifelong.__all__, name
