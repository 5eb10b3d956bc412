"""A folder that is whole or absent: made beside its place, then renamed. Knows files; nothing of what is in them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lifelong.log.files import LogError, held


@contextmanager
def whole_folder(out: Path, listed: str) -> Iterator[Path]:
    """Give an empty folder to write into; when the body is done, all of it becomes `out`.

    `out` is absent, empty, or what an earlier call made: it is replaced only if its file `listed` names every file in
    it. Where the body, the disk or the process fails, `out` stays as it was. Raises `LogError` naming a folder that
    holds other things, or what could not be written.
    """
    place = Path(os.path.realpath(out))
    making, before = (place.with_name(f".{place.name}.{word}") for word in ("making", "before"))
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with held(place.with_name(f".{place.name}.lock")) as ours:
            if not ours:
                raise LogError(f"{out}: another process is writing there now.")
            _settle(place, before, listed)
            others = _others(place, listed)
            if others:
                raise LogError(
                    f"{out}: other things are there ({', '.join(others[:3])}). Expected a new or an empty folder, or "
                    "one of an earlier export: give another -o."
                )
            shutil.rmtree(making, ignore_errors=True)  # of a process that was killed
            try:
                making.mkdir()
                yield making
                _list(making, listed)
                if place.exists():
                    os.rename(place, before)
                os.rename(making, place)
                _settle(place, before, listed)
            finally:
                shutil.rmtree(making, ignore_errors=True)
    except OSError as error:
        raise LogError(
            f"{error.filename or out}: could not be written ({error.strerror or error}). What was in {out} before is "
            "as it was."
        ) from error


def _settle(place: Path, before: Path, listed: str) -> None:
    """Put an earlier folder back where a kill came between two renames, and remove it where the new one is there."""
    if before.is_dir() and not _others(before, listed):
        if place.exists():
            shutil.rmtree(before)
        else:
            os.rename(before, place)


def _others(folder: Path, listed: str) -> list[str]:
    """Return what lies in a folder, or at its place, that its own list does not name."""
    if not folder.is_dir():
        return [folder.name] if os.path.lexists(folder) else []
    names: set[str] = set()
    if not (folder / listed).is_symlink():
        with suppress(FileNotFoundError):
            names = {listed, *(folder / listed).read_text(encoding="utf-8", errors="surrogateescape").split("\n")}
    return sorted({path.relative_to(folder).as_posix() for path in _files(folder)} - names)


def _files(folder: Path) -> Iterator[Path]:
    """Yield all below a folder that is no folder itself, and folders that are links or empty."""
    for path in folder.iterdir():
        if path.is_symlink() or not path.is_dir():
            yield path
        elif any(path.iterdir()):
            yield from _files(path)
        else:
            yield path


def _list(making: Path, listed: str) -> None:
    """Write the list of a folder's files, and see that all of it is on the disk."""
    names = sorted(path.relative_to(making).as_posix() for path in _files(making))
    (making / listed).write_text("\n".join(names) + "\n", encoding="utf-8", errors="surrogateescape")
    for path in (*making.rglob("*"), making):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
