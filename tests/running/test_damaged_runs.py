"""Damaged, robbed and foreign run folders: every command names the file, and nothing valid is lost."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from runs_alike import SMALL, facts_of, out_of

import lifelong
from lifelong.log import LogError, RunLog
from lifelong.running.run import locked
from lifelong.running.words import ConfigError


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lifelong.run(quiet=True, out=str(tmp_path_factory.mktemp("runs")), **SMALL)


@pytest.fixture(scope="module")
def stopped(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run, stopped after its third panel of four."""
    commit, out = RunLog.commit, tmp_path_factory.mktemp("stopped")

    def stopping(self, panel_index, *others):
        if panel_index == 3:
            raise KeyboardInterrupt
        commit(self, panel_index, *others)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunLog, "commit", stopping)
        with pytest.raises(KeyboardInterrupt):
            again(out, finished)
    return out / finished.relative_to(out_of(finished))


def again(out: Path, finished: Path, **how) -> Path:
    return lifelong.run(
        quiet=how.pop("quiet", True), out=str(out), cache=str(out_of(finished) / ".cache"), **how, **SMALL
    )


def copied(folder: Path, out: Path) -> Path:
    target = out / folder.relative_to(out_of(folder))
    shutil.copytree(folder, target)
    return target


def question(folder: Path) -> object:
    return lifelong.ask(folder, "What is it?")


COMMANDS: dict[str, Callable[[Path], object]] = {
    "report": lambda folder: lifelong.report([folder], folder.parent / "page"),
    "replay": lambda folder: lifelong.replay(folder, {"queries.rate": 2}),
    "ask": question,
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("file", ["facts/probed-000001.parquet", "config.toml"])
def test_every_command_names_a_missing_and_an_edited_file(command, file, finished: Path, tmp_path: Path) -> None:
    folder = copied(finished, tmp_path)
    text = (folder / file).read_bytes()
    (folder / file).write_bytes(text + b"\n")
    with pytest.raises(LogError, match=Path(file).name):
        COMMANDS[command](folder)
    (folder / file).unlink()
    with pytest.raises(LogError, match=Path(file).name):
        COMMANDS[command](folder)


def test_a_finished_run_that_lacks_a_part_is_not_returned_as_if_whole(finished: Path, tmp_path: Path) -> None:
    (copied(finished, tmp_path) / "facts" / "probed-000001.parquet").unlink()
    for how in ({}, {"resume": True}):
        with pytest.raises(LogError, match="probed-000001.parquet"):
            again(tmp_path, finished, **how)
    assert facts_of(again(tmp_path, finished, fresh=True)) == facts_of(finished)


def test_a_partial_run_that_lacks_a_part_is_not_completed_over_it(finished, stopped, tmp_path: Path) -> None:
    folder = copied(stopped, tmp_path)
    (folder / "facts" / "edited-000000.parquet").unlink()
    before = sorted(p.name for p in folder.rglob("*"))
    with pytest.raises(LogError, match="edited-000000.parquet"):
        again(tmp_path, finished, resume=True)
    assert sorted(p.name for p in folder.rglob("*")) == before


def test_a_run_without_its_checkpoints_keeps_its_facts(finished, stopped, tmp_path: Path) -> None:
    folder = copied(stopped, tmp_path)
    shutil.rmtree(folder / "checkpoint")
    with pytest.raises(LogError, match="3 panels are committed.*--fresh"):
        again(tmp_path, finished, resume=True)
    assert facts_of(folder) == facts_of(stopped)


def test_a_damaged_checkpoint_is_gone_on_from_the_one_before_with_equal_facts(
    finished, stopped, tmp_path: Path, capsys
) -> None:
    folder = copied(stopped, tmp_path)
    path = folder / "checkpoint" / "panel-000002.json"
    edit_id = RunLog.open(folder).table(lifelong.Edited)["edit_id"].to_pylist()[0]
    path.write_text(path.read_text().replace(edit_id, edit_id[:-1] + ("0" if edit_id[-1] != "0" else "1"), 1))
    assert facts_of(again(tmp_path, finished, resume=True, quiet=False)) == facts_of(finished)
    said = capsys.readouterr().err
    assert "panel-000002.json: damaged" in said and "1 of 3 committed panels are taken back" in said


def test_files_of_others_stay_and_are_said(finished, stopped, tmp_path: Path, capsys) -> None:
    folder = copied(stopped, tmp_path)
    mine = ["facts/my analysis.csv", "facts/probed-000001 (copy).parquet"]
    for name in mine:
        (folder / name).write_text("mine")
    again(tmp_path, finished, resume=True, quiet=False)
    again(tmp_path, finished, fresh=True, quiet=False)
    assert facts_of(folder) == facts_of(finished)
    assert capsys.readouterr().err.count(", ".join(mine)) == 2
    said: list[str] = []
    lifelong.report([folder], tmp_path / "page", say=said.append)
    assert all((folder / name).read_text() == "mine" and name in said[0] for name in mine)


def test_an_edited_model_is_not_asked_with_another_editor_than_it_was_edited_with(finished, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "from lifelong import Editor\n\n\nclass Mine(Editor):\n    def edit(self, edits):\n        pass\n"
    )
    folder = lifelong.run(
        quiet=True,
        out=str(tmp_path),
        cache=str(out_of(finished) / ".cache"),
        **{**SMALL, "editor": str(file), "edits": 1},
    )
    question(folder)
    file.write_text(file.read_text() + "\n# changed\n")
    with pytest.raises(LogError, match="the editor's file changed since this run"):
        question(folder)


SPECIAL: dict[str, Callable[[Path], object]] = {
    "file": lambda path: path.write_text("x"),
    "pipe": os.mkfifo,
    "device": lambda path: path.symlink_to("/dev/zero"),
}


@pytest.mark.parametrize("kind", SPECIAL)
def test_what_is_no_folder_is_refused_as_one_without_waiting(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "thing"
    SPECIAL[kind](path)
    with pytest.raises(LogError, match="thing.*no folder"):
        RunLog.open(path)
    with pytest.raises(LogError, match="thing.*expected a folder"), locked(path / "run"):
        pass
    with pytest.raises(ConfigError, match="cache=.*thing.*no folder"):
        lifelong.run(quiet=True, out=str(tmp_path / "out"), cache=str(path), **SMALL)
    with pytest.raises(ConfigError, match="out=.*thing.*no folder"):
        lifelong.run(quiet=True, out=str(path), cache=str(tmp_path / "cache"), **SMALL)


def test_a_name_in_control_characters_never_reaches_the_terminal(tmp_path: Path, capsys) -> None:
    from lifelong.cli.words import say, show
    from lifelong.running.progress import Progress

    for hostile in ("\x1b[31mred", "\x1b]0;x\x07", "a\rb", "\u202e"):
        say(hostile)
        show(hostile)
        Progress(hostile, 1).say(hostile)
    found = capsys.readouterr()
    assert (found.out + found.err).replace("\n", "").isprintable()
