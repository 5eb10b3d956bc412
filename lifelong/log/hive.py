"""Where run folders lie below a folder, and which are there: in hive folders, whose names tools read as columns.

    OUT/editor=grace/stream=atlas/model=atlas/seed=0/grace-atlas-1f0c2d3e/

Knows names of folders and the names of a configuration's parts; nothing of what is in a run.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

HIVE = ("editor", "stream", "model", "seed")
"""The keys of the folders above a run, outermost first."""
_LONGEST = 200  # bytes of a folder's value, as it is written: file systems take 255 for the whole name


def short_names(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a configuration's plain table says of the keys of `HIVE`: short names of its parts, and its seed.

    Called for the place of a run, and for the columns of its rows. What is a folder, a file or a hub id gives its
    last name.

    >>> short_names({"editor": {"name": "/me/mine.py"}, "stream": "toy", "model": "Qwen/Qwen3-VL", "seed": 1})
    {'editor': 'mine', 'stream': 'toy', 'model': 'Qwen3-VL', 'seed': 1}
    """
    found: dict[str, Any] = {key: _last_name(config.get(key, "")) for key in HIVE if key != "seed"}
    return {**found, "seed": int(config.get("seed", 0))}


def _last_name(part: Any) -> str:
    name = str(part.get("name", "")) if isinstance(part, Mapping) else str(part)
    return Path(name).name.removesuffix(".py") or name


def run_place(out: Path, config: Mapping[str, Any], name: str) -> Path:
    """Return the folder of a run called `name` below `out`, by the plain table of its configuration.

    Values are percent-encoded but for letters and digits of ASCII and `_.-~`; one that would be too long is cut and
    ends in a digest.

    >>> run_place(Path("runs"), {"editor": "my ed=", "stream": "toy", "model": "tiny", "seed": 3}, "a-1f").as_posix()
    'runs/editor=my%20ed%3D/stream=toy/model=tiny/seed=3/a-1f'
    """
    values = short_names(config)
    return Path(out, *(f"{key}={_written(str(values[key]))}" for key in HIVE), name)


def _written(value: str) -> str:
    whole = quote(value, safe="", errors="replace")
    if len(whole) <= _LONGEST:
        return whole
    digest = hashlib.sha256(whole.encode()).hexdigest()[:8]
    while len(quote(value, safe="", errors="replace")) > _LONGEST - len(digest) - 1:
        value = value[:-1]
    return f"{quote(value, safe='', errors='replace')}~{digest}"


def is_run(folder: Path) -> bool:
    """Return whether a run was begun in a folder; what is in it may be damaged."""
    return os.path.isfile(folder / "manifest.json")


def runs_below(folder: Path) -> list[Path]:
    """Return the run folders in a folder and in the hive folders below it, sorted; all that looks for runs asks here.

    A folder that is a run holds none. Other folders are not entered: the rungs of a stress test are no runs.
    """
    return [] if is_run(folder) else sorted(_below(folder, HIVE))


def _below(folder: Path, keys: tuple[str, ...]) -> Iterator[Path]:
    for path in folder.iterdir() if folder.is_dir() else ():
        if is_run(path):
            yield path
        key = path.name.partition("=")[0]
        if "=" in path.name and key in keys:  # each key once, so that a link in a circle ends
            yield from _below(path, keys[keys.index(key) + 1 :])
