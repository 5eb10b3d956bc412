"""How a report is written: files whole or not at all, an older report's leftovers removed, words never as commands.

Knows files and CSV; nothing of what is in them. A report is made in a folder of its own inside its target and
moved into place when all of it is there. `report.files` in the target lists what the report wrote: of what is there
from before, only what an earlier such list names is ever replaced by nothing.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from lifelong.log.files import LogError, held, write_atomic
from streams.text import printable

LISTED = "report.files"
_MAKING = ".making"
_OURS = re.compile(r"(?:(?:figures|tables|paper)/)?[A-Za-z0-9_-]+\.(?:html|json|png|svg|pdf|csv|tex)")
_COMMANDS = ("=", "+", "-", "@", "\t", "\r")


def csv_bytes(table: pl.DataFrame) -> bytes:
    """Return a table as CSV that a spreadsheet shows and never runs.

    Texts that begin with = + - @, a tab or a carriage return get a quote (') before them, names of columns too; what
    is a number stays one.
    """
    if not table.width:
        return b"\n"
    texts = [name for name, kind in table.schema.items() if kind == pl.String]
    safe = table.with_columns(pl.col(name).map_elements(_no_command, return_dtype=pl.String) for name in texts)
    return safe.rename({name: _no_command(name) for name in safe.columns}).write_csv().encode()


def _no_command(text: str) -> str:
    """Return a text as a cell that is no formula.

    >>> _no_command("=1+1"), _no_command("grace")
    ("'=1+1", 'grace')
    """
    return ("'" if text.startswith(_COMMANDS) else "") + printable(text)


def write_whole(path: Path, data: bytes) -> Path:
    """Write one file of results, whole or not at all, and return its path; folders above it are made.

    A link is followed. Raises `LogError` with the file's name, also where a device, a pipe or a folder has it.
    """
    target = path.resolve()
    if target.exists() and not target.is_file():
        raise LogError(f"{path}: no file is there but a folder, a pipe or a device. Give another -o.")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LogError(f"{path}: its folder could not be made ({error.strerror}). Give another -o.") from error
    write_atomic(target, lambda file: file.write(data))
    return path


@contextmanager
def report_folder(out: Path) -> Iterator[Path]:
    """Give an empty folder to write a report into, and put all of it into `out` when the body is done.

    Where the body or the disk fails, `out` keeps what it had. Files that an earlier report wrote there and this one
    did not are removed; other files stay. Raises `LogError` naming the folder, or the file without room.
    """
    if out.exists() and not out.is_dir():
        raise LogError(f"{out}: a file is there, and a report is a folder. Give another -o.")
    if (out / "manifest.json").exists():
        raise LogError(f"{out}: a run is there, and a report is never written into one. Give another -o.")
    making, fresh = out / _MAKING, not out.exists()
    try:
        out.mkdir(parents=True, exist_ok=True)
        with held(out / ".lock") as ours:
            if not ours:
                raise LogError(f"{out}: another process is writing a report there now.")
            shutil.rmtree(making, ignore_errors=True)  # of a process that was killed
            try:
                for name in ("figures", "tables", "paper"):
                    (making / name).mkdir(parents=True)
                yield making
                _put_in_place(making, out)
            finally:
                shutil.rmtree(making, ignore_errors=True)
    except OSError as error:
        raise LogError(
            f"{error.filename or out}: the report could not be written ({error.strerror or error}). An earlier one "
            "is as it was."
        ) from error
    finally:
        if fresh and out.is_dir() and not any(out.iterdir()):
            out.rmdir()


def put(making: Path, name: str, data: bytes) -> None:
    """Write one file of a report that is being made; raises `LogError` with the name that it was to have."""
    try:
        with open(making / name, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        place = making.parent / name if making.name == _MAKING else making / name
        raise LogError(
            f"{place}: could not be written ({error.strerror or error}). An earlier report there is as it was; make "
            "room, or give another -o."
        ) from error


def _put_in_place(making: Path, out: Path) -> None:
    """Move a whole report into place: the page last, and the list of files twice, so that a kill forgets none."""
    made = sorted(p.relative_to(making).as_posix() for p in making.rglob("*") if p.is_file())
    before = _listed(out)
    _list(out, sorted({*made, *before}))
    for name in sorted(made, key=lambda n: (n == "index.html", n)):
        (out / name).parent.mkdir(exist_ok=True)
        os.replace(making / name, out / name)
    for name in set(before) - set(made):
        (out / name).unlink(missing_ok=True)
    _list(out, made)


def _list(out: Path, names: list[str]) -> None:
    text = "\n".join(names) + "\n"
    write_atomic(out / LISTED, lambda file: file.write(text.encode()))


def _listed(out: Path) -> list[str]:
    """Return what an earlier report says that it wrote; names that no report gives are not its own."""
    path = out / LISTED
    if not path.is_file():
        return []
    return [name for name in path.read_text(encoding="utf-8", errors="replace").split("\n") if _OURS.fullmatch(name)]


def json_bytes(value: object) -> bytes:
    """Return plain data as the bytes of a JSON file."""
    return (json.dumps(value, indent=1) + "\n").encode()
