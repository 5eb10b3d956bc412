"""Which files of a run folder this package wrote, so that nothing else is ever removed.

Knows names only; nothing about what is in the files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from lifelong.log.checkpoint import is_object, panel_of_checkpoint
from lifelong.log.files import LogError, left_of
from lifelong.log.parts import panel_of_part

AT_THE_TOP = (
    "config.toml",
    "manifest.json",
    "edits.parquet",
    "probes.parquet",
    "editor.py",
    "committed.json",
    "DONE",
)
"""Files of a run folder itself; what `RunLog.create` is given beside the configuration is among them."""
_PLACES: tuple[tuple[str, Callable[[str], bool]], ...] = (
    ("", lambda name: name in AT_THE_TOP),
    ("facts", lambda name: panel_of_part(name) >= 0),
    ("checkpoint", lambda name: panel_of_checkpoint(name) >= 0),
    ("checkpoint/objects", is_object),
)


def entries(folder: Path) -> Iterator[tuple[Path, bool]]:
    """Yield what lies in a run folder, and whether this package writes files of that name there."""
    for place, ours in _PLACES:
        inside = folder / place
        for path in sorted(inside.iterdir()) if inside.is_dir() else ():
            here = str(path.relative_to(folder))
            if path.is_dir() and not path.is_symlink() and here in (name for name, _ in _PLACES):
                continue
            a_file = path.is_symlink() or not path.is_dir()
            yield path, a_file and (ours(path.name) or ours(left_of(path.name)))


def strangers(folder: Path) -> list[Path]:
    """Return what lies in a run folder and is not this package's."""
    return [path for path, ours in entries(folder) if not ours]


def remove_run(folder: Path) -> list[Path]:
    """Remove a run's own files, and its folders where they are empty then; return what stays: it is somebody else's.

    DONE goes first and the facts last, so that what is left of a removal that was interrupted is no finished run.
    Raises `LogError` with the name of a file that cannot be removed.
    """
    found = [path for path, ours in entries(folder) if ours]
    for path in sorted(found, key=lambda p: (p.name != "DONE", p.parent.name == "facts")):
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise LogError(f"{path}: cannot be removed ({error.strerror}).") from error
    left = strangers(folder)
    for place, _ in reversed(_PLACES):
        with suppress(OSError):  # not empty, or never made
            (folder / place).rmdir()
    return left
