"""From the bytes of a picture file to what a viewer shows of it, as RGB. Knows no file, no stream and no model.

A picture is turned as its EXIF says, laid on white where it is transparent, and scaled to 8 bits where it has more.
Of several frames or pages the first one counts. Colour profiles and gamma are not applied: what models are trained on
is read without them.

Grey of more than 8 bits: white is 65535 in 16 bits and 4095 in 12. Floats and 32-bit whole numbers do not say what
white is; there it is the least of 1 (floats only), 255 and 65535 that no value exceeds. Negative values, larger ones,
NaN and infinity are refused. The format is known by the content, never by a file's name, and only `FORMATS` are read.
"""

from __future__ import annotations

import io
import warnings

import numpy as np
from PIL import Image, UnidentifiedImageError

from streams.text import printable
from streams.types import ImageError

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM")  # JPEG with MPO; none of them starts a program
MAX_PIXELS = 1 << 26  # 67 million, such as 8192 x 8192: below 1.5 GB while it is decoded
MAX_RATIO = 100  # of the longer side to the shorter one: processors scale the shorter one up to theirs
MAX_SCANS = 100  # of a JPEG: each one is a pass over all its pixels, and a few bytes are enough for one

_ADVICE = f"Save it as PNG or JPEG (read are {', '.join(FORMATS)})."
_OTHERS = (  # how files begin that may be pictures but are not read
    (b"%!PS", "EPS or PostScript"),
    (b"\xc5\xd0\xd3\xc6", "EPS"),
    (b"%PDF", "PDF"),
    (b"<svg", "SVG"),
    (b"<?xml", "SVG or XML"),
    (b"8BPS", "Photoshop"),
    (b"\x00\x00\x01\x00", "icon"),
    (b"\x00\x00\x00\x0cjP  ", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"DDS ", "DDS"),
    (b"BLP", "BLP"),
    (b"version https://git-lfs", "Git LFS pointer (fetch the file itself with `git lfs pull`)"),
    (b"<!DOCTYPE", "web page"),
    (b"<html", "web page"),
)
_READ = (  # and how those begin that are
    (b"\x89PNG", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"RIFF", "WEBP"),
    (b"GIF8", "GIF"),
    (b"BM", "BMP"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
)
_TURNS = {  # EXIF's orientation: what makes it upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ORIENTATION = 0x0112
_TIFF_BITS, _TIFF_PHOTOMETRIC, _WHITE_IS_ZERO = 258, 262, 0


def decode(data: bytes, what: str, *, quick: bool = False) -> Image.Image:
    """Return the picture in encoded bytes as RGB; raises `ImageError` that begins with `what` for every other input.

    `quick` may give a smaller picture (a JPEG at an eighth), all of whose data was read all the same.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what a decoder mends silently, and sizes that are refused below
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                check_size(*image.size, what)
                if image.format in ("JPEG", "MPO") and data.count(b"\xff\xda") > MAX_SCANS:
                    raise ImageError(f"{what}: a JPEG of more than {MAX_SCANS} scans. {_ADVICE}")
                if quick:
                    image.draft("RGB", (1, 1))
                image.load()
                _scale_clear_value(image, data)
                return _shown(image, what)
    except ImageError:
        raise
    except Image.DecompressionBombError as error:
        raise ImageError(f"{what}: many more pixels than the limit of {MAX_PIXELS:,}. Scale it down.") from error
    except UnidentifiedImageError as error:
        raise ImageError(f"{what}: {_instead(data)}") from error
    except MemoryError as error:
        raise ImageError(f"{what}: there is not enough memory to decode it. Scale it down.") from error
    except Exception as error:  # decoders raise whatever comes to hand on what is broken; none of it is ours
        reason = printable(str(error)).rstrip(".") or type(error).__name__
        raise ImageError(f"{what}: broken picture ({reason}). Fetch or save it again.") from error


def check_size(width: int, height: int, what: str) -> None:
    """Raise `ImageError` for a picture without pixels, with too many, or too narrow; called before it is made."""
    if min(width, height) < 1:
        raise ImageError(f"{what}: {width} x {height} pixels; expected one at least. Fetch or save it again.")
    if width * height > MAX_PIXELS:
        raise ImageError(f"{what}: {width} x {height} pixels, more than the limit of {MAX_PIXELS:,}. Scale it down.")
    if max(width, height) > MAX_RATIO * min(width, height):
        raise ImageError(
            f"{what}: {width} x {height} pixels; one side may be {MAX_RATIO} times the other at most. Crop or pad it."
        )


def _instead(data: bytes) -> str:
    """What bytes are that no allowed decoder knows."""
    if not data:
        return "the file is empty. Fetch or save it again."
    for magic, name in _READ:
        if data.startswith(magic):
            return f"a broken {name} picture, or of a kind that is not read. {_ADVICE}"
    start = data[:64].removeprefix(b"\xef\xbb\xbf").lstrip()
    for magic, name in _OTHERS:
        if data.startswith(magic) or start.lower().startswith(magic.lower()):
            return f"not a picture of a format that is read, but {name}. {_ADVICE}"
    if data[4:8] == b"ftyp":
        return f"not a picture of a format that is read, but AVIF, HEIC or a film. {_ADVICE}"
    return f"not a picture that can be read ({len(data)} bytes). {_ADVICE}"


def _shown(image: Image.Image, what: str) -> Image.Image:
    """The pixels as a viewer shows them: 8 bits, upright, on white."""
    turn = _TURNS.get(_orientation(image))
    covered = getattr(image, "dispose_extent", None)  # a GIF's first frame may leave a margin, which nothing colours
    if image.mode.startswith("I") or image.mode == "F":
        image = _eight_bits(image, what)
    if turn is not None:
        image = image.transpose(turn)
    if image.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in image.info:
        if image.mode == "La":
            image = image.convert("LA")
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB")
    image = image.convert("RGB")
    if covered is not None and covered != (0, 0, *image.size):
        white = Image.new("RGB", image.size, "white")
        white.paste(image.crop(covered), covered[:2])
        return white
    return image


def _scale_clear_value(image: Image.Image, data: bytes) -> None:
    """Bring the value that a PNG calls transparent to the 8 bits of its pixels: Pillow leaves it as in the file."""
    clear = image.info.get("transparency")
    if image.format != "PNG" or image.mode not in ("1", "L", "RGB") or not isinstance(clear, (int, tuple)):
        return
    depth = data[24]  # bits, in the header
    values = clear if isinstance(clear, tuple) else (clear,)
    eight = tuple(v >> 8 if depth == 16 else v * 255 // ((1 << depth) - 1) for v in values)
    image.info["transparency"] = eight if isinstance(clear, tuple) else eight[0]


def _orientation(image: Image.Image) -> int:
    if image.format == "TIFF":
        return 1  # Pillow has turned it while loading
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # viewers show a picture also where its notes are broken
        return 1


def _eight_bits(image: Image.Image, what: str) -> Image.Image:
    """Grey of 12, 16 or 32 bits or of floats as grey of 8 bits, without transparency."""
    values = np.asarray(image)  # (height, width)
    tags = getattr(image, "tag_v2", {})

    # 1. What is white?
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise ImageError(f"{what}: some of its values are no numbers (NaN or infinite). {_ADVICE}")
    low, high = values.min().item(), values.max().item()
    if image.mode != "I" and image.mode != "F":
        white = 4095 if tags.get(_TIFF_BITS, (16,))[0] == 12 else 65535
    elif image.mode == "I" and image.format in ("PPM", "PNG"):
        white = 65535  # these give 16 bits so
    else:
        choices = (255, 65535) if image.mode == "I" else (1, 255, 65535)
        white = next((w for w in choices if high <= w), 0)
    if low < 0 or not white:
        raise ImageError(f"{what}: values from {low:g} to {high:g}; expected 0 to 1, 255 or 65535. {_ADVICE}")

    # 2. Scale, and turn round where 0 is white.
    if values.dtype.kind == "f":
        scaled = np.rint(values.astype(np.float32) * np.float32(255 / white)).clip(0, 255)
    else:
        scaled = (values.astype(np.uint32) * 255 + white // 2) // white
    if tags.get(_TIFF_PHOTOMETRIC) == _WHITE_IS_ZERO:
        scaled = 255 - scaled
    grey = scaled.astype(np.uint8)

    # 3. A PNG may name one value that is transparent.
    clear = image.info.get("transparency")
    if isinstance(clear, int):
        grey[values == clear] = 255
    return Image.fromarray(grey)
