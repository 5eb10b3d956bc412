"""Writing files so that a reader never sees half of one, and lock files; knows nothing about what is in them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


class LogError(RuntimeError):
    """A run folder cannot be read, written or continued; the message says which and what to do."""


@contextmanager
def held(path: Path, *, wait: bool = False) -> Iterator[bool]:
    """Hold the lock file `path` in the body; yields whether it is ours (it always is with `wait`).

    A lock ends with its process, however that ends. The file is removed afterwards. Raises `OSError` when it cannot
    be made.
    """
    import fcntl

    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with open(path, "w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                yield False
                return
            # Its last holder may have removed the file between our opening and locking it.
            if not path.exists() or os.fstat(file.fileno()).st_ino != path.stat().st_ino:
                continue
            try:
                yield True
            finally:
                path.unlink(missing_ok=True)
            return


def write_atomic(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file so that it is either absent or whole: temporary file, fsync, rename, fsync of the folder.

    Raises `LogError` with the file's name when the disk is full or the write fails; the temporary file is removed.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise LogError(
            f"{path}: could not be written ({error.strerror or error}). Everything committed before it is kept and "
            "readable; free some space and go on with --resume."
        ) from error
