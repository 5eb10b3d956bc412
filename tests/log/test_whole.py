"""A folder that is whole or absent, whatever fails meanwhile, and never takes the place of other people's files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lifelong.log import LogError
from lifelong.log.whole import whole_folder

LISTED = "our.files"


def make(out: Path, text: str = "new") -> None:
    with whole_folder(out, LISTED) as making:
        (making / "a").mkdir()
        (making / "a" / "one.txt").write_text(text)


def names(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*"))


def test_it_comes_whole_and_replaces_an_earlier_one_and_an_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for out in (tmp_path / "new", tmp_path / "empty"):
        make(out, "old")
        make(out)
        assert names(out) == ["a", "a/one.txt", LISTED] and (out / "a" / "one.txt").read_text() == "new"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["empty", "new"], "nothing stays beside them"


@pytest.mark.parametrize("there", [False, True])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt(), ValueError("x")])
def test_where_the_body_fails_the_place_is_as_it_was(there: bool, error: BaseException, tmp_path: Path) -> None:
    out = tmp_path / "out"
    if there:
        make(out, "old")
    with pytest.raises(LogError if isinstance(error, OSError) else type(error)), whole_folder(out, LISTED) as making:
        (making / "half.txt").write_text("half")
        raise error
    assert names(tmp_path) == (["out", "out/a", "out/a/one.txt", f"out/{LISTED}"] if there else [])


@pytest.mark.parametrize("other", ["notes.txt", "a/two.txt", "b/", "a/link"])
def test_a_folder_with_other_things_is_refused_and_left_alone(other: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    make(out, "old")
    if other.endswith("/"):
        (out / other).mkdir()
    elif other.endswith("link"):
        (out / other).symlink_to(tmp_path)
    else:
        (out / other).write_text("mine")
    before = names(out)
    with pytest.raises(LogError, match=rf"other things are there \({other.rstrip('/')}\)"):
        make(out)
    assert names(out) == before and (out / "a" / "one.txt").read_text() == "old"


@pytest.mark.parametrize("what", ["file", "pipe", "link"])
def test_what_is_no_folder_is_refused(what: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    {"file": lambda: out.write_text("x"), "pipe": lambda: os.mkfifo(out), "link": lambda: out.symlink_to("out")}[
        what
    ]()
    with pytest.raises(LogError, match="out"):
        make(out)
    assert os.path.lexists(out)


def test_a_kill_between_the_two_renames_loses_nothing(tmp_path: Path, monkeypatch) -> None:
    out, rename = tmp_path / "out", os.rename
    make(out, "old")

    class Killed(BaseException):
        pass

    def killing(source: Path, target: Path) -> None:
        if target == out:
            raise Killed
        rename(source, target)

    monkeypatch.setattr(os, "rename", killing)
    with pytest.raises(Killed):
        make(out)
    monkeypatch.undo()
    assert not out.exists()
    with pytest.raises(ValueError), whole_folder(out, LISTED):
        raise ValueError
    assert (out / "a" / "one.txt").read_text() == "old"
    make(out)
    assert (out / "a" / "one.txt").read_text() == "new" and [p.name for p in tmp_path.iterdir()] == ["out"]
