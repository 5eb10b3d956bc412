"""Where the files of a benchmark lie below one folder, and from where the paths of its pictures count.

Knows names that projects publish, and looks for them in the folder and two levels below; reads nothing.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from streams.stream import StreamError
from streams.text import printable

_DEPTH = 2  # levels below the root: `LiveEdit/data` has easy-edit-mm/vqa/vqa_eval.json


@dataclass(frozen=True)
class FilePart:
    """One file of a benchmark: what it is called here, and the names, with folders or without, it is published as."""

    name: str
    files: tuple[str, ...]


@dataclass(frozen=True)
class PartFile:
    """A part that was found."""

    part: str
    path: Path


def find_parts(root: str, parts: Sequence[FilePart]) -> list[PartFile]:
    """Return the files of the parts that lie below a root, in the order of the parts.

    Raises `StreamError` where one name leads to two files.
    """
    folders = _folders(Path(root))
    found = []
    for part in parts:
        for name in part.files:
            places = [folder / name for folder in folders if (folder / name).is_file()]
            near = [p for p in places if len(p.parts) == len(places[0].parts)]
            if len(near) > 1:
                shown = ", ".join(printable(str(p)) for p in near)
                raise StreamError(
                    f"stream.root={root}: {name} is there more than once ({shown}). Say stream.path=FILE."
                )
            if near:
                found.append(PartFile(part.name, near[0]))
                break
    return found


def picture_root(root: str, file: Path, folders: Sequence[str], examples: Sequence[str]) -> str:
    """Return the folder that the paths of a file's pictures begin at: the first below which one of some lies.

    Tried are the root, the folders that the benchmark's publishers use, and the same below the file's own folder and
    those between; where none has any of the pictures it is the root.
    """
    top = Path(root or file.parent)
    bases = [top, *(one for one in file.parents if one.is_relative_to(top)), file.parent]
    tried = [base / folder for base in bases for folder in ("", *folders)]
    for place in tried:
        if any(os.path.isfile(place / example) for example in examples if "\0" not in example):
            return str(place)
    return str(tried[0])


def _folders(root: Path) -> list[Path]:
    """Return a folder and those below it, the upper ones first; links are followed, what cannot be read is not."""
    level, found = [root], [root]
    for _ in range(_DEPTH):
        below: list[Path] = []
        for folder in level:
            try:
                with os.scandir(folder) as entries:
                    below += sorted(Path(one.path) for one in entries if one.is_dir())
            except OSError:
                continue
        found += below
        level = below
    return found
