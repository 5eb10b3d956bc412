"""Digests of a model's files are kept, and a file that changed is read again."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

import pytest

from lifelong.models.digests import file_digests

OLD = time.time() - 1000


@pytest.fixture
def reads(monkeypatch) -> list[str]:
    """The files that were read since the beginning of the test."""
    seen: list[str] = []
    whole = hashlib.file_digest
    monkeypatch.setattr(hashlib, "file_digest", lambda f, name: (seen.append(Path(f.name).name), whole(f, name))[1])
    return seen


def put(path: Path, content: bytes, at: float = OLD) -> Path:
    path.write_bytes(content)
    os.utime(path, (at, at))
    return path


def sha(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()


def test_a_file_that_did_not_change_is_read_once(tmp_path, reads) -> None:
    files = [put(tmp_path / name, name.encode()) for name in ("a", "b")]
    for _ in range(3):
        assert file_digests(files, tmp_path / "kept") == [sha(b"a"), sha(b"b")]
    assert sorted(reads) == ["a", "b"]


def test_a_file_of_the_same_size_with_another_time_or_inode_is_read_again(tmp_path, reads) -> None:
    file = put(tmp_path / "w", b"old")
    assert file_digests([file], tmp_path / "kept") == [sha(b"old")]
    put(file, b"new", OLD + 5)
    assert file_digests([file], tmp_path / "kept") == [sha(b"new")]
    other = put(tmp_path / "x", b"one", OLD + 5)
    other.replace(file)  # as large and as old, but another file
    assert file_digests([file], tmp_path / "kept") == [sha(b"one")]
    put(file, b"two", OLD + 5)  # written over, its time put back
    assert file_digests([file], tmp_path / "kept") == [sha(b"two")]
    assert len(reads) == 4


def test_a_file_of_this_moment_is_not_kept_for_it_may_change_unseen(tmp_path, reads) -> None:
    file = put(tmp_path / "w", b"now", time.time())
    for _ in range(2):
        file_digests([file], tmp_path / "kept")
    assert len(reads) == 2


def test_a_kept_list_that_is_damaged_or_cannot_be_written_costs_reading_only(tmp_path, reads) -> None:
    file = put(tmp_path / "w", b"old")
    file_digests([file], tmp_path / "kept")
    (list_of,) = (tmp_path / "kept").iterdir()
    list_of.write_text(list_of.read_text().replace(sha(b"old").hex(), sha(b"bad").hex()))
    assert file_digests([file], tmp_path / "kept") == [sha(b"old")]
    assert file_digests([file], file / "kept") == file_digests([file]) == [sha(b"old")]
    assert len(reads) == 4
