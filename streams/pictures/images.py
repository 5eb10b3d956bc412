"""Opens the picture an `ImageRef` names, when a model needs it. Knows no stream, no model and no dataset.

A URI begins with the name of its source: `file:RELATIVE/PATH` lies below the reference's `root`; `atlas:ENTITY/SET`
is a picture of the atlas pack; `toy:...` is drawn on the spot; `drawn:NAME` stands for one that is not at hand.
Several pictures of the atlas or of `toy`, joined by `+`, are drawn side by side, left to right, all as high as the
first. Where a path may lead is said in `places.py`, what is read in `decoding.py`.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path

from PIL import Image

from streams.near import near
from streams.pictures.decoding import MAX_RATIO, check_size, decode
from streams.pictures.places import read_file, written_place
from streams.text import printable
from streams.types import ImageError, ImageRef, digest_of


def open_image(ref: ImageRef) -> Image.Image:
    """Return the picture of a reference as RGB (transparent parts white); raises `ImageError`."""
    scheme, _, rest = ref.uri.partition(":")
    if scheme not in _SOURCES:
        known = [f"{source}:" for source in _SOURCES]
        raise ImageError(f"Image {ref.uri!r} begins with no known source.{near(f'{scheme}:', known)}")
    source, parts = _SOURCES[scheme], [rest] if scheme in _ONE_NAME else rest.split("+")
    if len(parts) > MAX_RATIO:
        raise ImageError(f"Image {scheme}:...: {len(parts)} pictures side by side; {MAX_RATIO} are the limit.")
    return side_by_side([source(ref, part.removeprefix(f"{scheme}:")) for part in parts])


def side_by_side(images: list[Image.Image]) -> Image.Image:
    """Return pictures in one row, left to right, all brought to the height of the first; `ImageError` if too wide.

    >>> side_by_side([Image.new("RGB", (4, 4)), Image.new("RGB", (8, 8))]).size
    (8, 4)
    """
    if len(images) == 1:
        return images[0]
    height = images[0].height
    widths = [i.width if i.height == height else max(1, i.width * height // i.height) for i in images]
    check_size(sum(widths), height, f"{len(images)} pictures side by side")
    row = Image.new("RGB", (sum(widths), height), "white")
    left = 0
    for image, width in zip(images, widths, strict=True):
        row.paste(image if image.height == height else image.resize((width, height)), (left, 0))
        left += width
    return row


def file_ref(root: str | Path, relative: str, *, check: bool = False) -> ImageRef:
    """Return the reference of a picture file: its digest is that of the file's bytes; raises `ImageError`.

    With `check` the picture is decoded to its end, so that a broken one is found now and not in the middle of a run.
    """
    data, path = read_file(str(root), relative)
    if check:
        decode(data, _named(relative, path), quick=True)
    return ImageRef(f"file:{relative}", _digest(data), str(root))


def named_ref(root: str | Path, relative: str) -> ImageRef:
    """Return a reference that only names a picture file, as records are read; nothing is looked for.

    It cannot be opened: `file_ref` or `unread_ref` makes the one that can. Raises `ImageError` for a path that may
    not be.
    """
    below = written_place(str(root), relative)
    return ImageRef(f"file:{below}", digest_of("named", below), str(root))


def unread_ref(root: str | Path, relative: str) -> ImageRef:
    """Return the reference of a picture file that is read only when a model needs it; raises `ImageError`.

    Its digest is that of the place, the size and the time of the file, so that a changed one is another picture; a
    file that is not there has one, too.
    """
    below = written_place(str(root), relative)
    return ImageRef(f"file:{below}", _unread(str(root), below), str(root))


def _unread(root: str, below: str) -> str:
    try:
        found = os.stat(os.path.join(root, below))
        stamp = (str(found.st_size), str(found.st_mtime_ns))
    except (OSError, ValueError):
        stamp = ()
    return digest_of("unread", os.path.abspath(root), below, *stamp)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def _named(relative: str, path: Path) -> str:
    return printable(f"Image file:{relative} ({path})")


def _from_file(ref: ImageRef, relative: str) -> Image.Image:
    data, path = read_file(ref.root, relative)
    if ref.digest not in (_digest(data), _unread(ref.root, relative)):
        raise ImageError(f"{_named(relative, path)}: another picture than when the stream was read. Start again.")
    return decode(data, _named(relative, path))


def _from_atlas(ref: ImageRef, name: str) -> Image.Image:
    from streams.atlas.world import load_world

    entity, _, rendering = name.rpartition("/")
    world = load_world()
    if entity not in world.by_id or rendering not in world.by_id[entity].renderings:
        close = get_close_matches(entity, list(world.by_id), 2, 0.6)  # of thousands: not all are listed
        hint = f" Near: {', '.join(close)}." if close and entity not in world.by_id else ""
        raise ImageError(f"Image {ref.uri}: the atlas has no picture {name!r}; expected ENTITY/SET.{hint}")
    return decode(world.image(entity, rendering), f"Image atlas:{name}")


def _from_toy(ref: ImageRef, name: str) -> Image.Image:
    from streams.toy import draw_toy

    return draw_toy(name)


def _from_name(ref: ImageRef, name: str) -> Image.Image:
    from streams.pictures.drawn import pattern

    return pattern(name)


_ONE_NAME = ("file", "drawn")  # a path may hold a `+`
_SOURCES: dict[str, Callable[[ImageRef, str], Image.Image]] = {
    "file": _from_file,
    "atlas": _from_atlas,
    "toy": _from_toy,
    "drawn": _from_name,
}
