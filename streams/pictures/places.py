"""Where the path of a picture leads below its root, and the bytes that lie there. Knows no picture format.

The rule. A path is judged as it is written: it is relative, `/` stands between its folders, and `..` takes away the
name before it and never more than there are, so that it stays below the root. What then lies there is the user's: a
link is followed wherever it leads (a hub's cache and `ln -s val2014 images` are such links), but only to a regular
file, and never into /proc, /sys or /dev (/dev/shm is memory for files). Whether a link came out of an archive cannot
be told; what it leads to is only ever decoded as a picture, and no error repeats any of it. Nothing is opened that
could block.
"""

from __future__ import annotations

import os
import posixpath
import stat
from pathlib import Path

from streams.text import printable
from streams.types import ImageError

MAX_BYTES = 1 << 29  # 512 MiB, more than any picture within the limit of pixels has
_SYSTEM = (Path("/proc"), Path("/sys"), Path("/dev"))
_SHARED = Path("/dev/shm")  # ordinary files in memory
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def file_path(root: str, relative: str) -> Path:
    """Return where a `file:` picture lies, links followed; raises `ImageError` if it may not be read or is not there.

    >>> file_path("/data", "../etc/passwd")
    Traceback (most recent call last):
    ...
    streams.types.ImageError: Image file:../etc/passwd: the path leaves its root /data. Give a path below the root.
    """
    name = f"Image file:{printable(relative)}"
    below = _as_written(root, relative, name)
    try:
        base = Path(root).resolve()
        path = base / below
        real = path.resolve(strict=True)
        kind = stat.S_IFMT(real.stat().st_mode)
    except (OSError, RuntimeError, ValueError) as error:
        raise ImageError(f"{name}: cannot read {printable(f'{root}/{below}')} ({_why(error)}).") from error
    led = printable(str(real))
    if any(real.is_relative_to(s) for s in _SYSTEM) and not real.is_relative_to(_SHARED):
        raise ImageError(f"{name}: it leads to {led}, which belongs to the system. Give a picture elsewhere.")
    if kind != stat.S_IFREG:
        raise ImageError(f"{name}: {led} is {_KINDS.get(kind, 'no file')}; expected a regular file.")
    return real


def written_place(root: str, relative: str) -> str:
    """Return a path below the root as it is written, without detours; nothing is looked for. Raises `ImageError`.

    >>> written_place("/data", "a/./b/../c.png")
    'a/c.png'
    """
    return _as_written(root, relative, f"Image file:{printable(relative)}")


def is_missing(root: str, relative: str) -> bool:
    """Return whether nothing at all lies at a path below the root; raises `ImageError` for one that may not be."""
    return not os.path.lexists(os.path.join(root, written_place(root, relative)))


def read_file(root: str, relative: str) -> tuple[bytes, Path]:
    """Return the bytes of a `file:` picture and where they lie; raises `ImageError`."""
    path = file_path(root, relative)
    name = f"Image file:{printable(relative)}"
    # Between the look above and here the file may have become another: what cannot be waited for is refused again.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    try:
        with open(path, "rb", opener=lambda p, _: os.open(p, flags)) as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise ImageError(f"{name}: {printable(str(path))} is no regular file any more.")
            if found.st_size > MAX_BYTES:
                raise ImageError(
                    f"{name}: {found.st_size:,} bytes, more than the limit of {MAX_BYTES:,}. Scale it down."
                )
            return file.read(MAX_BYTES), path
    except OSError as error:
        raise ImageError(f"{name}: cannot read {printable(str(path))} ({_why(error)}).") from error


def _as_written(root: str, relative: str, name: str) -> str:
    """The path below the root that a text means; raises `ImageError` for one that means another place."""
    if not relative.strip() or "\0" in relative:
        raise ImageError(f"{name}: expected a relative path below the root {root}, got {relative!r}.")
    if "://" in relative or relative.startswith(("file:", "data:")):
        raise ImageError(f"{name}: an address; expected a path below the root {root}. Copy the picture there.")
    if "\\" in relative:
        raise ImageError(f"{name}: expected / between folders below the root {root}, not a backslash.")
    below = posixpath.normpath(relative)
    if below.startswith("/") or below.split("/")[0] == "..":
        raise ImageError(f"{name}: the path leaves its root {root}. Give a path below the root.")
    if below == ".":
        raise ImageError(f"{name}: that is the root {root} itself. Give the path of a picture below it.")
    return below


def _why(error: Exception) -> str:
    """The reason in an error of the system, without the path that the message has named already."""
    return getattr(error, "strerror", None) or printable(str(error)) or type(error).__name__
