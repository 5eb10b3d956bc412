"""Files that are whole or absent, locks, and reads that never wait; knows nothing about what is in them."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

_TEMPORARY = re.compile(r"\.(.+)\.\d+\.tmp")


class LogError(RuntimeError):
    """A run folder cannot be read, written or continued; the message says which and what to do."""


@contextmanager
def held(path: Path, *, wait: bool = False) -> Iterator[bool]:
    """Hold the lock file `path` in the body; yields whether it is ours (it always is with `wait`).

    A lock ends with its process, however that ends. The file is removed afterwards; what another program has put in
    its place is not. Only its owner may open it, no link is followed and nothing in it is changed. Raises `OSError`
    when it cannot be made, or when a link, a pipe, a device or a folder has its name.
    """
    import fcntl

    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        handle = _lock_handle(path)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                yield False
                return
            # Its last holder may have removed the file between our opening and locking it.
            if not _is_at(handle, path):
                continue
            try:
                yield True
            finally:
                if _is_at(handle, path):
                    path.unlink(missing_ok=True)
            return
        finally:
            os.close(handle)


def _lock_handle(path: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with suppress(FileNotFoundError):  # before opening: some devices do something when they are opened
        _refuse_special(os.lstat(path), path)
    handle = os.open(path, flags, 0o600)
    try:
        _refuse_special(os.fstat(handle), path)
    except OSError:
        os.close(handle)
        raise
    return handle


def _is_at(handle: int, path: Path) -> bool:
    """Whether an open file is the one that has this name now."""
    ours = os.fstat(handle)
    try:
        there = os.lstat(path)
    except FileNotFoundError:
        return False
    return (ours.st_dev, ours.st_ino) == (there.st_dev, there.st_ino)


def _refuse_special(found: os.stat_result, path: Path) -> None:
    if stat.S_ISREG(found.st_mode):
        return
    kinds = {stat.S_IFDIR: "a folder", stat.S_IFLNK: "a link", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
    kind = kinds.get(stat.S_IFMT(found.st_mode), "a device")
    raise OSError(errno.EINVAL, f"expected a file, this is {kind}", str(path))


def check_regular(path: Path) -> None:
    """Raise `OSError` for what is no regular file (links to one are), before a reader that would wait opens it."""
    _refuse_special(os.stat(path), path)


def read_regular(path: Path) -> bytes:
    """Return a file's bytes; raises `OSError`, at once, also for a pipe, a device or a folder."""
    check_regular(path)
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        _refuse_special(os.fstat(file.fileno()), path)
        return file.read()


def write_atomic(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file so that it is either as before or whole: temporary file, fsync, rename, fsync of the folder.

    Raises `LogError` with the file's name when the disk is full, the write fails, or a device, a pipe or a folder has
    that name; the temporary file is removed. Parents must be there.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with suppress(FileNotFoundError):  # renaming over a device would replace it
            check_regular(path)
        with open(_new_handle(temporary), "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        _remove_quietly(temporary)
        hint = " Free some space." if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
        raise LogError(
            f"{path}: could not be written ({error.strerror or error}). What was there before is as it was.{hint}"
        ) from error
    except (Exception, KeyboardInterrupt):
        _remove_quietly(temporary)
        raise


def _new_handle(temporary: Path) -> int:
    """Return a new file, never one that is there or that a link of this name points to."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with suppress(FileNotFoundError):  # of an earlier process with our number
        os.unlink(temporary)
    return os.open(temporary, flags, 0o666)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _remove_quietly(path: Path) -> None:
    with suppress(OSError):
        path.unlink(missing_ok=True)


def left_of(name: str) -> str:
    """Return which file a temporary file of `write_atomic` was to become, '' for any other name.

    >>> left_of(".DONE.4242.tmp"), left_of("notes.tmp")
    ('DONE', '')
    """
    found = _TEMPORARY.fullmatch(name)
    return found[1] if found else ""


def clear_leftovers(folder: Path, name: str = "") -> None:
    """Remove temporary files that killed processes left in a folder, of one file or (without `name`) of all.

    Only for whoever holds the lock on what is written there: nobody else is writing then.
    """
    for path in folder.iterdir() if folder.is_dir() else ():
        left = left_of(path.name)
        if left and name in ("", left):
            path.unlink(missing_ok=True)


def content_digest(path: Path) -> str:
    """Return 16 hexadecimal digits of a file, of a run's facts, or of all files of another folder; '' for nothing."""
    files = [path]
    if path.is_dir():
        facts = path / "facts"
        files = sorted(p for p in (facts if facts.is_dir() else path).rglob("*") if p.is_file())
    elif not path.is_file():
        return ""
    whole = hashlib.sha256()
    for file in files:
        with file.open("rb") as opened:
            content = hashlib.file_digest(opened, "sha256").hexdigest()
        whole.update(os.fsencode(file.relative_to(path)) + b"\0" + content.encode())
    return whole.hexdigest()[:16]
