"""SHA-256 of a model's files, kept by what the file system says of them: a sweep does not read 14 GB for each cell.

Knows files and a folder to keep digests in; nothing of models. A digest is kept for one path, device, inode, size and
times of change: a file of which any of these is another is read again.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterable
from pathlib import Path

from lifelong.log.files import LogError
from lifelong.log.sealed import digest_of_bytes, read_sealed, write_sealed

SETTLED_S = 2.0
"""Seconds that a file must have been left alone before its digest is kept: some file systems tell no finer time."""


def file_digests(paths: Iterable[Path], keep_in: Path | None = None) -> list[bytes]:
    """Return the SHA-256 of each file; called for a model's folder whenever its identity is asked for.

    With `keep_in` what was read is kept there, and a file that is the same by path, size, inode and times is not read
    again. A kept list that is damaged, or cannot be written, is no mistake: the files are read. Raises `OSError` for
    a file that cannot be read.
    """
    paths = [path.resolve() for path in paths]
    place = None if keep_in is None or not paths else keep_in / f"{_name_of(paths[0].parent)}.json"
    known = _kept(place)
    found = {str(path): _digest_of(path, known.get(str(path))) for path in paths}
    settled = {path: [*mark, sha] for path, (mark, sha, settled) in found.items() if settled}
    if place is not None and any(known.get(path) != entry for path, entry in settled.items()):
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            write_sealed(place, {"files": {**known, **settled}})
        except (LogError, OSError):
            pass  # a folder that cannot be written: the next one reads again
    return [bytes.fromhex(found[str(path)][1]) for path in paths]


def _name_of(folder: Path) -> str:
    return digest_of_bytes(os.fsencode(folder))


def _digest_of(path: Path, known: object) -> tuple[list[int], str, bool]:
    """Return what tells a file apart, its SHA-256 in hexadecimal digits, and whether that may be kept."""
    mark = _mark(path)
    if isinstance(known, list) and known[:-1] == mark and _is_sha256(known[-1]):
        return mark, str(known[-1]), True
    with path.open("rb") as file:
        sha = hashlib.file_digest(file, "sha256").hexdigest()
    # A file that changed meanwhile, or a moment ago, may change once more and look the same.
    return mark, sha, _mark(path) == mark and time.time() - path.stat().st_mtime > SETTLED_S


def _mark(path: Path) -> list[int]:
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino, stat.st_dev]


def _is_sha256(text: object) -> bool:
    return isinstance(text, str) and len(text) == 64 and set(text) <= set("0123456789abcdef")


def _kept(place: Path | None) -> dict[str, object]:
    if place is None:
        return {}
    try:
        files = read_sealed(place).get("files")
    except (LogError, OSError):
        return {}
    return files if isinstance(files, dict) else {}
