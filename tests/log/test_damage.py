"""A run folder that was damaged, robbed or added to: it is named, or it gives the facts that were written."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from lifelong.log import FACTS, Edited, Gauged, LogError, Probed, RunLog, Timed
from lifelong.log.checkpoint import State, load_state, save_state
from lifelong.log.files import held, read_regular, write_atomic
from lifelong.log.folder import remove_run, strangers

FLIPS = 40  # of every file


def write_run(folder: Path, done: bool) -> Path:
    """Three committed panels, with some state and a file beside the configuration."""
    log = RunLog.create(folder, 'editor = "none"\nseed = 7\n', {"seeds": {"run": 7}}, {"editor.py": b"x = 1\n"})
    for panel in range(3):
        step = panel + 1
        words = (f"p{step}", f"e{step}", 0, "reliability", "", "image", "partial", "generated")
        facts = [
            Edited(step, 0.5, f"e{step}", 0.0, 0.5, 0.01),
            Probed(step, 1.5, *words, score=1.0, answer="Lisbon", routed_ids=("e1",), routed_n=1),
            Timed(step, 1, "route", 0.002),
            Gauged(step, 1.5, "bank", "bank_len", float(step)),
        ]
        state = State({"sealed": torch.arange(4.0), "open": torch.full((3,), float(step))}, {"history": [f"e{step}"]})
        log.commit(panel, facts, state)
    if done:
        log.finish({"wall_s": {"load": 0.5}})
    return folder


def everything(log: RunLog) -> object:
    """All that a command reads of a run."""
    return (
        log.config(),
        log.beside("editor.py"),
        log.manifest,
        log.notes,
        [log.table(fact).to_pylist() for fact in FACTS],
    )


def files_of(folder: Path) -> list[Path]:
    return sorted(p.relative_to(folder) for p in folder.rglob("*") if p.is_file())


@pytest.mark.parametrize("done", [True, False])
def test_a_flipped_bit_anywhere_is_named_or_changes_nothing(done: bool, tmp_path: Path) -> None:
    whole = write_run(tmp_path / "whole", done)
    told, random_bit = everything(RunLog.open(whole)), random.Random(21)
    noticed = dict.fromkeys(map(str, files_of(whole)), 0)
    for file in files_of(whole):
        data = (whole / file).read_bytes()
        for _ in range(FLIPS):
            flipped = bytearray(data)
            flipped[random_bit.randrange(len(data))] ^= 1 << random_bit.randrange(8)
            (whole / file).write_bytes(flipped)
            try:
                assert everything(RunLog.open(whole)) == told, file
            except LogError as error:
                assert file.name in str(error) and "\n" not in str(error)
                noticed[str(file)] += 1
        (whole / file).write_bytes(data)
    assert all(noticed[str(f)] == FLIPS for f in files_of(whole) if f.suffix in (".parquet", ".toml", ".py"))
    assert noticed["manifest.json"] > FLIPS // 2


def test_a_run_gone_on_with_over_a_flipped_bit_has_the_state_that_was_written(tmp_path: Path) -> None:
    whole, random_bit = write_run(tmp_path / "whole", done=False), random.Random(22)
    taken_back = 0
    for file in files_of(whole):
        for _ in range(FLIPS // 4):
            copy = tmp_path / "copy"
            shutil.copytree(whole, copy)
            flipped = bytearray((copy / file).read_bytes())
            flipped[random_bit.randrange(len(flipped))] ^= 1 << random_bit.randrange(8)
            (copy / file).write_bytes(flipped)
            said: list[str] = []
            before = files_of(copy)
            try:
                log = RunLog.go_on(copy, said.append)
                saved = log.checkpoint()
                assert saved is not None and saved.meta == {"history": [f"e{log.last_panel() + 1}"]}
                assert torch.equal(saved.tensors["open"], torch.full((3,), float(log.last_panel() + 1)))
                rows = log.table(Probed)["step"].to_pylist()
                assert rows == list(range(1, log.last_panel() + 2))
                assert (log.last_panel() == 2) == (not said)
                taken_back += bool(said)
            except LogError:
                assert files_of(copy) == before, "what is refused is left as it is"
            shutil.rmtree(copy)
    assert taken_back


BREAKS: dict[str, Callable[[Path], object]] = {
    "missing": lambda path: path.unlink(),
    "torn": lambda path: path.write_bytes(path.read_bytes()[:-5]),
    "empty": lambda path: path.write_bytes(b""),
    "folder": lambda path: (path.unlink(), path.mkdir()),
    "pipe": lambda path: (path.unlink(), os.mkfifo(path)),
    "device": lambda path: (path.unlink(), path.symlink_to("/dev/zero")),
}


@pytest.mark.parametrize("how", BREAKS)
@pytest.mark.parametrize("file", ["facts/probed-000001.parquet", "config.toml", "editor.py", "manifest.json", "DONE"])
def test_what_a_finished_run_lacks_is_named_at_its_opening(how: str, file: str, tmp_path: Path) -> None:
    folder = write_run(tmp_path / "r", done=True)
    BREAKS[how](folder / file)
    if (how, file) == ("missing", "DONE"):
        assert not RunLog.open(folder).done()
        return
    with pytest.raises(LogError, match=Path(file).name):
        RunLog.open(folder)


@pytest.mark.parametrize(
    "text", ["[]", "{}", "null", '"x"', "{", "[" * 100_000, '{"a": ' * 5_000, "1" * 5_000, "\udcff"]
)
@pytest.mark.parametrize(
    "file", ["manifest.json", "DONE", "checkpoint/panel-000002.json", "committed.json", "config.toml"]
)
def test_other_json_than_was_written_is_one_line_or_harmless(file: str, text: str, tmp_path: Path) -> None:
    folder = write_run(tmp_path / "r", done=file == "DONE")
    told = everything(RunLog.open(folder))
    (folder / file).write_bytes(text.encode("utf-8", "surrogateescape"))
    try:
        assert everything(RunLog.open(folder)) == told and file not in ("manifest.json", "DONE", "config.toml")
    except LogError as error:
        assert Path(file).name in str(error) and "\n" not in str(error) and len(str(error)) < 1000


def test_a_part_of_another_run_is_named(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "r", done=True)
    other = RunLog.create(tmp_path / "o", "", {})
    other.commit(0, [Timed(1, 1, "route", 0.003)], State({}, {}))
    shutil.copy(other.parts(Timed)[0], RunLog.open(folder).parts(Timed)[0])
    with pytest.raises(LogError, match="timed-000000.parquet"):
        RunLog.open(folder).table(Timed)


@pytest.mark.parametrize("file", ["DONE", "committed.json", "checkpoint/panel-000002.json"])
def test_what_vouches_for_another_run_is_refused(file: str, tmp_path: Path) -> None:
    folder = write_run(tmp_path / "r", done=True)
    other = RunLog.create(tmp_path / "o", 'editor = "ft"\n', {})
    for panel in range(3):
        other.commit(panel, [], State({}, {}))
    other.finish()
    if file != "DONE":
        (folder / "DONE").unlink()
        shutil.rmtree(folder / "checkpoint") if file == "committed.json" else (folder / "committed.json").unlink()
    shutil.copy(other.folder / file, folder / file)
    with pytest.raises(LogError, match="another run"):
        RunLog.open(folder)


def test_lost_checkpoints_leave_facts_readable_and_are_never_gone_on_without(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "r", done=False)
    told = everything(RunLog.open(folder))
    shutil.rmtree(folder / "checkpoint")
    assert everything(RunLog.open(folder)) == told
    before = files_of(folder)
    with pytest.raises(LogError, match="3 panels are committed.*Nothing was changed.*--fresh deletes"):
        RunLog.go_on(folder)
    assert files_of(folder) == before
    (folder / "committed.json").unlink()
    for act in (RunLog.open, RunLog.go_on):
        with pytest.raises(LogError, match="2 panels"):
            act(folder)
    assert len(list((folder / "facts").iterdir())) == 12


def test_a_lost_last_checkpoint_is_said_and_the_one_before_is_gone_on_from(tmp_path: Path) -> None:
    folder, said = write_run(tmp_path / "r", done=False), []
    (folder / "checkpoint" / "panel-000002.json").unlink()
    log = RunLog.go_on(folder, said.append)
    assert log.last_panel() == 1 and "1 of 3 committed panels are taken back" in said[0]
    assert RunLog.open(folder).table(Timed).num_rows == 2


def test_facts_without_a_manifest_are_not_written_over(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "r", done=True)
    (folder / "manifest.json").unlink()
    for act in (lambda: RunLog.create(folder, "", {}), lambda: RunLog.open(folder)):
        with pytest.raises(LogError, match="manifest.json: missing.*--fresh"):
            act()
    assert len(list((folder / "facts").iterdir())) == 12


def test_files_of_others_are_ignored_and_outlive_a_run_that_is_removed(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "r", done=False)
    mine = ["facts/probed-000001 (copy).parquet", "facts/my analysis.csv", "notes.md", "checkpoint/panel-x.json"]
    for name in mine:
        (folder / name).write_text("mine")
    link = folder / "facts" / "gauged-000077.parquet"
    link.symlink_to(folder / "notes.md")
    told = everything(RunLog.open(folder))
    log = RunLog.go_on(folder)
    assert everything(log) == told and not link.is_symlink()
    assert {str(p.relative_to(folder)) for p in strangers(folder)} == set(mine)
    assert {str(p.relative_to(folder)) for p in remove_run(folder)} == set(mine)
    assert {str(p) for p in files_of(folder)} == set(mine)
    again = write_run(folder, done=True)
    assert not remove_run(write_run(tmp_path / "alone", done=True)) and not (tmp_path / "alone").exists()
    assert RunLog.open(again).done()


def test_a_damaged_tensor_is_written_again_before_a_checkpoint_relies_on_it(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "r", done=False)
    objects = folder / "checkpoint" / "objects"
    for path in objects.iterdir():
        path.write_bytes(b"torn")
    log = RunLog.create(tmp_path / "again", "", {})
    shutil.rmtree(log.folder / "checkpoint" / "objects")
    shutil.copytree(objects, log.folder / "checkpoint" / "objects")
    log.commit(0, [], State({"sealed": torch.arange(4.0)}, {}))
    saved = log.checkpoint()
    assert saved is not None and torch.equal(saved.tensors["sealed"], torch.arange(4.0))


def test_a_flipped_bit_of_a_fit_is_named_or_harmless(tmp_path: Path) -> None:
    path, random_bit = tmp_path / "fit.safetensors", random.Random(23)
    state = State({"a": torch.randn(8, 8), "n": torch.zeros(0)}, {"threshold": 0.25, "words": ["é", None]})
    save_state(path, state)
    data, noticed = path.read_bytes(), 0
    for _ in range(300):
        flipped = bytearray(data)
        flipped[random_bit.randrange(len(data))] ^= 1 << random_bit.randrange(8)
        path.write_bytes(flipped)
        try:
            found = load_state(path)
            assert found.meta == state.meta and torch.equal(found.tensors["a"], state.tensors["a"])
        except LogError as error:
            assert "fit.safetensors: damaged" in str(error)
            noticed += 1
    assert noticed > 200


# Locks and atomic writes


def test_a_lock_follows_no_link_and_changes_nothing(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("precious")
    link, hard = tmp_path / "link.lock", tmp_path / "hard.lock"
    link.symlink_to(precious)
    os.link(precious, hard)
    with pytest.raises(OSError, match="link.lock"), held(link):
        pass
    with held(hard) as ours:
        assert ours
    assert precious.read_text() == "precious" and link.is_symlink()


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: os.symlink("/dev/null", path)])
def test_what_is_no_file_is_refused_without_waiting(make: Callable[[Path], None], tmp_path: Path) -> None:
    path = tmp_path / "thing"
    make(path)
    for act in (
        lambda: read_regular(path),
        lambda: write_atomic(path, lambda f: f.write(b"x")),
        lambda: locked(path),
    ):
        with pytest.raises((OSError, LogError), match="thing"):
            act()
    assert not path.is_file() and os.path.lexists(path)


def locked(path: Path) -> None:
    with held(path):
        pass


def test_a_lock_is_its_owners_and_another_file_in_its_place_stays(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    with held(path):
        assert path.stat().st_mode & 0o077 == 0
        path.unlink()
        path.write_text("mine")
    assert path.read_text() == "mine"


def test_a_full_disk_keeps_the_file_from_before_and_leaves_nothing_torn(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text("good")

    def full(file) -> None:
        file.write(b"half")
        with open("/dev/full", "wb", buffering=0) as disk:
            disk.write(b"x")

    with pytest.raises(LogError, match="page.html: could not be written .No space left on device"):
        write_atomic(path, full)
    assert [p.name for p in tmp_path.iterdir()] == ["page.html"] and path.read_text() == "good"


def test_a_manifest_can_be_read_by_anything_that_reads_json(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "r", done=True)
    assert json.loads((folder / "manifest.json").read_text())["seeds"] == {"run": 7}
    assert json.loads((folder / "DONE").read_text())["wall_s"] == {"load": 0.5}
