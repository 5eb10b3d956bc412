"""Claims about opening pictures: right pixels, clear errors, no way out of the root."""

import io

import pytest
from PIL import Image

from streams.images import file_ref, open_image
from streams.types import ImageError, ImageRef


@pytest.fixture
def root(tmp_path):
    (tmp_path / "img").mkdir()
    Image.new("RGBA", (8, 6), (255, 0, 0, 128)).save(tmp_path / "img" / "half.png")
    (tmp_path / "img" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    return tmp_path


def test_a_file_is_rgb_on_white(root):
    image = open_image(file_ref(root, "img/half.png"))
    assert image.mode == "RGB" and image.size == (8, 6)
    assert image.getpixel((0, 0)) == (255, 127, 127)


def test_digest_follows_the_content_not_the_place(root):
    (root / "copy.png").write_bytes((root / "img" / "half.png").read_bytes())
    assert file_ref(root, "copy.png").digest == file_ref(root, "img/half.png").digest


@pytest.mark.parametrize("relative", ["../secret.png", "/etc/passwd", "img/../../x.png", "", "a\0b"])
def test_a_path_cannot_leave_the_root(root, relative):
    with pytest.raises(ImageError, match="root"):
        open_image(ImageRef(f"file:{relative}", "0", str(root)))


def test_a_link_cannot_lead_out_of_the_root(root, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside") / "x.png"
    Image.new("RGB", (2, 2)).save(outside)
    (root / "link.png").symlink_to(outside)
    with pytest.raises(ImageError, match="leaves its root"):
        file_ref(root, "link.png")


def test_missing_and_broken_files_are_named(root):
    with pytest.raises(ImageError, match=r"img/none\.png.*cannot read"):
        file_ref(root, "img/none.png")
    with pytest.raises(ImageError, match=r"img/broken\.png"):
        open_image(file_ref(root, "img/broken.png"))


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_bomb_is_refused(root, monkeypatch):
    buffer = io.BytesIO()
    Image.new("L", (40, 40)).save(buffer, "PNG")
    (root / "big.png").write_bytes(buffer.getvalue())
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(ImageError, match="limit"):
        open_image(file_ref(root, "big.png"))


def test_unknown_source_names_the_near_one():
    with pytest.raises(ImageError, match="Did you mean 'atlas:'"):
        open_image(ImageRef("atlsa:x/y", "0"))


def test_atlas_pictures_side_by_side():
    from streams.atlas.world import load_world

    entity, other = load_world().entities[:2]
    first = ImageRef(f"atlas:{entity.id}/{entity.renderings[0]}", "0")
    pair = ImageRef(f"{first.uri}+{other.id}/{other.renderings[0]}", "1")
    image = open_image(pair)
    assert image.size == (128, 64)
    assert image.crop((0, 0, 64, 64)).tobytes() == open_image(first).tobytes()
    with pytest.raises(ImageError, match="no picture"):
        open_image(ImageRef(f"atlas:{entity.id}/never", "2"))
