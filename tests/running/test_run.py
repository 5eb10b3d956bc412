"""A whole run: what it writes, that it is never done twice, and that it comes out the same in another process."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from runs_alike import SMALL, facts_of, out_of

import lifelong
from lifelong.log import LogError, Probed, RunLog
from lifelong.running.config import from_table
from lifelong.running.run import locked
from lifelong.running.words import ConfigError


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs")
    return lifelong.run(quiet=True, out=str(out), **SMALL)


def test_a_run_folder_holds_what_the_schema_says(finished: Path) -> None:
    names = {p.name for p in finished.iterdir()}
    assert {"config.toml", "manifest.json", "facts", "checkpoint", "DONE"} <= names
    manifest = json.loads((finished / "manifest.json").read_text())
    assert {"versions", "hardware", "threads", "seeds", "git", "load_average", "digests"} <= set(manifest)
    steps = set(RunLog.open(finished).table(Probed)["step"].to_pylist())
    assert {1, 3, 6} <= steps


def test_the_resolved_configuration_spells_out_every_option(finished: Path) -> None:
    table = tomllib.loads((finished / "config.toml").read_text())
    assert table["editor"]["name"] == "grace" and len(table["editor"]) > 1
    assert lifelong.dry_run(from_table(table, {})) == finished


def test_a_finished_run_is_returned_as_it_is(finished: Path) -> None:
    before = (finished / "DONE").stat().st_mtime_ns
    assert lifelong.run(quiet=True, out=str(out_of(finished)), **SMALL) == finished
    assert (finished / "DONE").stat().st_mtime_ns == before


def test_a_replay_in_another_process_gives_identical_facts(finished: Path, tmp_path: Path) -> None:
    """Law 2: same configuration and seed, other process: identical facts, wall times and bytes aside."""
    words = [f"{key}={value}" if not isinstance(value, list) else f"{key}={value}" for key, value in SMALL.items()]
    command = [sys.executable, "-m", "lifelong.cli", "run", *words, f"out={tmp_path}"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    folder = Path(done.stdout.splitlines()[-1])
    assert folder.name == finished.name and (folder / "DONE").exists()
    assert facts_of(folder) == facts_of(finished)


def test_a_partial_run_needs_resume_or_fresh(finished: Path, tmp_path: Path) -> None:
    folder = tmp_path / finished.relative_to(out_of(finished))
    folder.mkdir(parents=True)
    for name in ("manifest.json", "config.toml", "edits.parquet", "probes.parquet"):
        shutil.copy(finished / name, folder / name)
    with pytest.raises(LogError, match=f"{finished.name}.*--resume.*--fresh"):
        lifelong.run(quiet=True, out=str(tmp_path), **SMALL)


def test_one_run_folder_is_run_by_one_process(tmp_path: Path) -> None:
    with locked(tmp_path / "run"), pytest.raises(LogError, match="another process"):
        with locked(tmp_path / "run"):
            pass


def test_resume_and_fresh_exclude_each_other() -> None:
    with pytest.raises(ConfigError, match="one of them"):
        lifelong.run(resume=True, fresh=True, quiet=True, **SMALL)


def test_the_edited_model_can_be_asked_afterwards(finished: Path) -> None:
    from streams.stream import load_stream

    edit = load_stream("toy", edits=6, seed=0).edits[-1]
    image = edit.query.image.uri if edit.query.image else None
    found = lifelong.ask(finished, edit.query.prompt, image=image)
    assert found.step == 6 and found.answer != "" and len(found.route) <= 6
    with pytest.raises(ConfigError, match="3 and 6"):
        lifelong.ask(finished, edit.query.prompt, step=4)


def test_a_changed_editor_file_is_another_run(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    body = "from lifelong import Editor\n\n\nclass Mine(Editor):\n    def edit(self, edits):\n        {}\n"
    folders = []
    for line in ("pass", "self.revision += 1"):
        file.write_text(body.format(line))
        folders.append(lifelong.dry_run(**{**SMALL, "editor": str(file)}))
    assert folders[0] != folders[1]


def test_an_editor_file_may_postpone_annotations_and_learn(tmp_path: Path) -> None:
    file = tmp_path / "learns.py"
    file.write_text(
        "from __future__ import annotations\nfrom typing import Literal\n"
        "from lifelong import Editor, EditorOptions\n\n"
        'class Mine(EditorOptions):\n    kind: Literal["a", "b"] = "a"\n\n'
        "class Learns(Editor):\n    Options = Mine\n    trains = True\n\n    def edit(self, edits):\n        pass\n"
    )
    assert lifelong.dry_run(**{**SMALL, "editor": str(file), "editor.kind": "b", "fit.edits": 2}).name
    with pytest.raises(ConfigError, match="kind"):
        lifelong.dry_run(**{**SMALL, "editor": str(file), "editor.kind": "c"})
