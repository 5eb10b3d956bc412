"""Opens the picture an `ImageRef` names, when a model needs it. Knows no stream, no model and no dataset.

A URI begins with the name of its source: `file:RELATIVE/PATH` lies below the reference's `root`; `atlas:ENTITY/SET`
is a picture of the atlas pack; `toy:...` is drawn on the spot. Several pictures joined by `+` are drawn side by side,
left to right, all as high as the first. A path can never leave its root, and Pillow's bomb limit stays on.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from streams.near import near
from streams.types import ImageError, ImageRef


def open_image(ref: ImageRef) -> Image.Image:
    """Return the picture of a reference as RGB (transparent parts white); raises `ImageError`."""
    scheme, _, rest = ref.uri.partition(":")
    if scheme not in _SOURCES:
        known = [f"{source}:" for source in _SOURCES]
        raise ImageError(f"Image {ref.uri!r} begins with no known source.{near(f'{scheme}:', known)}")
    source, parts = _SOURCES[scheme], rest.split("+") if scheme != "file" else [rest]
    return side_by_side([source(ref, part.removeprefix(f"{scheme}:")) for part in parts])


def side_by_side(images: list[Image.Image]) -> Image.Image:
    """Return pictures in one row, left to right, all brought to the height of the first.

    >>> side_by_side([Image.new("RGB", (4, 4)), Image.new("RGB", (8, 8))]).size
    (8, 4)
    """
    if len(images) == 1:
        return images[0]
    height = images[0].height
    scaled = [i if i.height == height else i.resize((max(1, i.width * height // i.height), height)) for i in images]
    row = Image.new("RGB", (sum(i.width for i in scaled), height), "white")
    left = 0
    for image in scaled:
        row.paste(image, (left, 0))
        left += image.width
    return row


def decode(data: bytes, what: str, *, quick: bool = False) -> Image.Image:
    """Return the picture in encoded bytes as RGB; raises `ImageError` that begins with `what`.

    `quick` may give a smaller picture (a JPEG at an eighth), all of whose data was read all the same.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # refused below, in our own words
            image = Image.open(io.BytesIO(data))
        with image:
            limit = Image.MAX_IMAGE_PIXELS
            if limit is not None and image.width * image.height > limit:
                raise ImageError(
                    f"{what}: {image.width} x {image.height} pixels, more than the limit of {limit}. Scale it down."
                )
            if quick:
                image.draft("RGB", (1, 1))
            return _on_white(image)
    except Image.DecompressionBombError as error:
        raise ImageError(f"{what}: {str(error).rstrip('.')}. Scale it down.") from error
    except UnidentifiedImageError as error:
        raise ImageError(f"{what}: not a picture that Pillow can read ({len(data)} bytes).") from error
    except (OSError, SyntaxError, ValueError) as error:
        if isinstance(error, ImageError):
            raise
        raise ImageError(f"{what}: broken picture ({error}). Fetch or save it again.") from error


def file_path(root: str, relative: str) -> Path:
    """Return where a `file:` picture lies; raises `ImageError` if the path would leave `root`.

    >>> file_path("/data", "../etc/passwd")
    Traceback (most recent call last):
    ...
    streams.types.ImageError: Image file:../etc/passwd: the path leaves its root /data. Give a path below the root.
    """
    if not relative or "\0" in relative:
        raise ImageError(f"Image file:{relative!r}: expected a relative path below the root {root}.")
    base = Path(root).resolve()
    path = (base / relative).resolve()
    if path == base or not path.is_relative_to(base):
        raise ImageError(f"Image file:{relative}: the path leaves its root {base}. Give a path below the root.")
    return path


def file_ref(root: str | Path, relative: str, *, check: bool = False) -> ImageRef:
    """Return the reference of a picture file: its digest is that of the file's bytes; raises `ImageError`.

    With `check` the picture is decoded to its end, so that a broken one is found now and not in the middle of a run.
    """
    path = file_path(str(root), relative)
    data = _read(path, relative)
    if check:
        decode(data, f"Image file:{relative} ({path})", quick=True)
    return ImageRef(f"file:{relative}", hashlib.sha256(data).hexdigest()[:16], str(root))


def _read(path: Path, relative: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ImageError(f"Image file:{relative}: cannot read {path} ({error.strerror or error}).") from error


def _on_white(image: Image.Image) -> Image.Image:
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")


def _from_file(ref: ImageRef, relative: str) -> Image.Image:
    path = file_path(ref.root, relative)
    return decode(_read(path, relative), f"Image file:{relative} ({path})")


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


_SOURCES: dict[str, Callable[[ImageRef, str], Image.Image]] = {
    "file": _from_file,
    "atlas": _from_atlas,
    "toy": _from_toy,
}
