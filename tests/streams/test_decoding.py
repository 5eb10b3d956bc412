"""Claims about decoding: every kind of picture gives the pixels that a viewer shows, or is refused by name."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile

from streams.pictures import decoding
from streams.pictures.decoding import decode
from streams.types import ImageError

WHITE, RED, BLUE = (255, 255, 255), (255, 0, 0), (0, 0, 255)
NOISE = np.random.default_rng(0).integers(0, 256, (9, 9), np.uint8)
STEPS = np.array([[0, 10, 200, 255]])


def encoded(image, kind, **options):
    """A picture as the bytes of a file; an array is taken as pixels."""
    buffer = io.BytesIO()
    (Image.fromarray(image) if isinstance(image, np.ndarray) else image).save(buffer, kind, **options)
    return buffer.getvalue()


def pixels(data):
    """The pixels of the first line."""
    image = decode(data, "x")
    assert image.mode == "RGB"
    return [tuple(pixel) for pixel in np.asarray(image)[0].tolist()]


def greys(data):
    return [red for red, _, _ in pixels(data)]


def tagged(data, tag, value):
    """A little-endian TIFF with another value in one tag."""
    start = struct.unpack("<I", data[4:8])[0]
    for at in range(start + 2, start + 2 + 12 * struct.unpack("<H", data[start : start + 2])[0], 12):
        if struct.unpack("<H", data[at : at + 2])[0] == tag:
            return data[: at + 8] + struct.pack("<I", value) + data[at + 12 :]
    raise KeyError(tag)


def png(width, depth, colour, line, clear=b""):
    """A PNG of one line by hand, also of kinds that Pillow does not write."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, 1, depth, colour, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(b"\0" + line))
    return b"\x89PNG\r\n\x1a\n" + head + (chunk(b"tRNS", clear) if clear else b"") + body + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    "data",
    [
        encoded(STEPS.astype(np.uint8), "PNG"),
        encoded((STEPS * 257).astype(np.uint16), "PNG"),
        encoded((STEPS * 257).astype(np.uint16), "TIFF"),
        encoded((STEPS * 257).astype(">u2"), "TIFF"),
        encoded((STEPS * 257).astype(np.int32), "TIFF"),
        encoded(STEPS.astype(np.int32), "TIFF"),
        encoded((STEPS / 255).astype(np.float32), "TIFF"),
        encoded(STEPS.astype(np.float32), "TIFF"),
        encoded((STEPS * 257).astype(np.float32), "TIFF"),
        tagged(encoded((65535 - STEPS * 257).astype(np.uint16), "TIFF"), 262, 0),
        tagged(encoded((1 - STEPS / 255).astype(np.float32), "TIFF"), 262, 0),
        b"P5 4 1 65535\n" + (STEPS * 257).astype(">u2").tobytes(),
        b"Pf\n4 1\n-1.0\n" + (STEPS / 255).astype("<f4").tobytes(),
        png(4, 16, 4, np.stack([STEPS[0] * 257, [65535] * 4], 1).astype(">u2").tobytes()),
    ],
)
def test_grey_of_any_depth_is_the_same_grey(data):
    assert greys(data) == [0, 10, 200, 255]


def test_a_dark_picture_of_16_bits_stays_dark():
    for data in (encoded(STEPS.astype(np.uint16), "PNG"), b"P5 4 1 65535\n" + STEPS.astype(">u2").tobytes()):
        assert greys(data) == [0, 0, 1, 1]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.array([[0, np.nan]], np.float32), "no numbers"),
        (np.array([[0, np.inf]], np.float32), "no numbers"),
        (np.array([[-0.5, 1]], np.float32), "from -0.5 to 1"),
        (np.array([[0, 1e9]], np.float32), "from 0 to 1e\\+09"),
        (np.array([[-3, 7]], np.int32), "from -3 to 7"),
        (np.array([[0, 70000]], np.int32), "from 0 to 70000"),
    ],
)
def test_values_without_a_white_are_refused(values, words):
    with pytest.raises(ImageError, match=f"a.tif: .*{words}"):
        decode(encoded(values, "TIFF"), "a.tif")


@pytest.mark.parametrize(
    ("image", "kind", "shown"),
    [
        (Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "TIFF", RED),
        (Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG", RED),  # inverted, with Adobe's mark
        (Image.new("YCbCr", (16, 16), (76, 85, 255)), "TIFF", (254, 0, 0)),
        (Image.new("YCbCr", (16, 16), (76, 85, 255)), "JPEG", (254, 0, 0)),
        (Image.new("LAB", (16, 16), (137, 208, 195)), "TIFF", (250, 5, 11)),
        (Image.new("1", (9, 1), 1), "PNG", WHITE),
        (Image.new("1", (9, 1), 0), "TIFF", (0, 0, 0)),
        (Image.new("LA", (2, 2), (0, 128)), "PNG", (127, 127, 127)),
        (Image.new("RGBA", (2, 2), (255, 0, 0, 128)), "PNG", (255, 127, 127)),
        (Image.new("RGBA", (2, 2), (255, 0, 0, 0)), "TIFF", WHITE),
    ],
)
def test_colours_and_transparency_over_white(image, kind, shown):
    assert pixels(encoded(image, kind))[0] == shown


def test_premultiplied_transparency_is_not_darkened_twice():
    plain = encoded(Image.new("RGBA", (2, 2), (128, 0, 0, 128)), "TIFF")
    assert pixels(plain)[0] == (191, 127, 127)
    assert pixels(tagged(plain, 338, 1))[0] == (255, 127, 127)


def test_palettes_with_and_without_transparency():
    image = Image.new("P", (2, 1))
    image.putpalette([*RED, *BLUE])
    image.putpixel((1, 0), 1)
    assert pixels(encoded(image, "PNG")) == [RED, BLUE]
    assert pixels(encoded(image, "PNG", transparency=0)) == [WHITE, BLUE]
    assert pixels(encoded(image, "PNG", transparency=b"\x80\xff")) == [(255, 127, 127), BLUE]
    assert pixels(encoded(image, "GIF", transparency=0)) == [WHITE, BLUE]


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        (png(2, 1, 0, b"\x40", b"\0\0"), [255, 255]),
        (png(4, 2, 0, b"\x1b", b"\0\1"), [0, 255, 170, 255]),
        (png(2, 4, 0, b"\x1f", b"\0\1"), [255, 255]),
        (png(2, 4, 0, b"\x12", b"\0\1"), [255, 34]),
        (png(2, 16, 0, b"\0\3\x20\0", b"\0\3"), [255, 32]),
        (png(2, 16, 2, b"\x09\x09" * 3 + b"\1\1" * 3, b"\x09\x09" * 3), [255, 1]),
    ],
)
def test_the_clear_value_of_a_png_is_clear_at_every_depth(data, shown):
    assert greys(data) == shown


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize(
    ("orientation", "place"),
    [(1, (0, 0)), (2, (2, 0)), (3, (2, 1)), (4, (0, 1)), (5, (0, 0)), (6, (1, 0)), (7, (1, 2)), (8, (0, 2))],
)
def test_a_turned_picture_is_upright(kind, orientation, place):
    drawn, notes = Image.new("RGB", (3, 2), "white"), Image.Exif()
    drawn.putpixel((0, 0), RED)
    notes[0x0112] = orientation
    image = decode(encoded(drawn, kind, exif=notes, **({"lossless": True} if kind == "WEBP" else {})), "x")
    assert image.size == ((3, 2) if orientation < 5 else (2, 3))
    assert [(x, y) for x in range(image.width) for y in range(image.height) if image.getpixel((x, y)) == RED] == [
        place
    ]


def test_a_turned_picture_of_16_bits_is_upright_too():
    notes = Image.Exif()
    notes[0x0112] = 6
    for kind in ("PNG", "TIFF"):
        image = decode(encoded(np.array([[65535, 0, 0], [0, 0, 0]], np.uint16), kind, exif=notes), "x")
        assert (image.size, image.getpixel((1, 0)), image.getpixel((0, 0))) == ((2, 3), WHITE, (0, 0, 0))


def test_broken_notes_do_not_hide_the_picture():
    image = Image.new("RGB", (2, 2), "red")
    assert pixels(encoded(image, "PNG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff"))[0] == RED


@pytest.mark.parametrize("kind", ["GIF", "PNG", "TIFF", "MPO", "WEBP"])
def test_of_several_frames_or_pages_the_first_counts(kind):
    first, second = Image.new("RGB", (16, 16), "red"), Image.new("RGB", (16, 16), "blue")
    red, green, blue = pixels(encoded(first, kind, save_all=True, append_images=[second]))[0]
    assert red > 250 and green < 5 and blue < 5


def test_what_the_first_frame_of_a_gif_leaves_open_is_white():
    head = b"GIF89a" + struct.pack("<HHBBB", 4, 4, 0x80, 0, 0) + bytes([*RED, *BLUE])
    frame = b"\x2c" + struct.pack("<HHHHB", 1, 0, 2, 2, 0) + b"\x02\x03\x4c\x12\x01\0\x3b"
    codes = sum(code << 3 * i for i, code in enumerate((4, 1, 1, 4, 1, 1, 5))).to_bytes(3, "little")
    assert pixels(head + frame.replace(b"\x4c\x12\x01", codes)) == [WHITE, BLUE, BLUE, WHITE]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "the file is empty"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "EPS"),
        (b"%PDF-1.7\n", "PDF"),
        (b"<svg xmlns='x'/>", "SVG"),
        (b"\0\0\0\x1cftypavif", "AVIF"),
        (b"DDS |\0\0\0", "DDS"),
        (b"version https://git-lfs.github.com/spec/v1", "git lfs pull"),
        (b"hello", "not a picture"),
        (b"II*\0" + bytes(30), "broken TIFF"),
        (b"\x89PNG\r\n\x1a\n", "broken PNG"),
        (encoded(np.zeros((1, 101), np.uint8), "PNG"), "101 x 1 pixels; one side may be 100 times"),
        (encoded(np.zeros((101, 1), np.uint8), "PNG"), "1 x 101 pixels; one side may be 100 times"),
        (encoded(Image.new("L", (16, 16)), "JPEG") + b"\xff\xda" * 101, "more than 100 scans"),
        (
            encoded(NOISE, "PNG")[:90],
            "broken picture.*truncated",
        ),
    ],
)
def test_what_is_not_read_is_refused_with_its_kind(data, words):
    with pytest.raises(ImageError, match=f"^a.png: .*{words}"):
        decode(data, "a.png")


def test_an_eps_never_starts_ghostscript(monkeypatch):
    import subprocess

    started = []
    monkeypatch.setattr(subprocess, "Popen", lambda *args, **options: started.append(args))
    with pytest.raises(ImageError, match="EPS"):
        decode(encoded(Image.new("RGB", (40, 30), "red"), "EPS"), "harmless.png")
    assert not started


def test_the_limit_of_pixels_is_checked_before_they_are_made(monkeypatch):
    monkeypatch.setattr(decoding, "MAX_PIXELS", 1000)
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda _: pytest.fail("it was decoded"))
    with pytest.raises(ImageError, match="40 x 40 pixels, more than the limit of 1,000"):
        decode(encoded(np.zeros((40, 40), np.uint8), "PNG"), "big.png")


@pytest.mark.parametrize("error", [RuntimeError, NotImplementedError, SyntaxError, struct.error, OverflowError])
def test_whatever_a_decoder_raises_names_the_picture(monkeypatch, error):
    def fail(_):
        raise error("odd \x1b[31m")

    monkeypatch.setattr(Image.Image, "convert", lambda *_: fail(_))
    with pytest.raises(ImageError, match=r"a\.png: broken picture \(odd \\x1b\[31m\)"):
        decode(encoded(np.zeros((2, 2), np.uint8), "PNG"), "a.png")


GOOD = [
    encoded(Image.new("RGB", (9, 7), "red"), kind) for kind in ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
]


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(GOOD), st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=8), st.data())
def test_damaged_bytes_give_a_picture_or_an_image_error(data, changes, draw):
    damaged = bytearray(data)
    for place, value in changes:
        damaged[place % len(damaged)] = value
    cut = draw.draw(st.integers(0, len(damaged)))
    for some in (bytes(damaged), bytes(damaged[:cut])):
        try:
            assert decode(some, "x").mode == "RGB"
        except ImageError as error:
            assert str(error).startswith("x: ")


def test_nothing_opens_pictures_by_another_door():
    top = Path(decoding.__file__).parents[2]
    files = [file for folder in ("streams", "lifelong", "reports") for file in (top / folder).rglob("*.py")]
    assert len(files) > 100
    opened = [line for file in files for line in file.read_text().splitlines() if "Image.open(" in line]
    assert opened and all("formats=" in line for line in opened), opened
