"""Claims about opening pictures: by reference, lazily, side by side, with clear errors."""

import pytest
from PIL import Image

from streams.pictures.images import file_ref, open_image, side_by_side
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


def test_missing_and_broken_files_are_named(root):
    with pytest.raises(ImageError, match=r"img/none\.png.*cannot read"):
        file_ref(root, "img/none.png")
    with pytest.raises(ImageError, match=r"img/broken\.png"):
        open_image(file_ref(root, "img/broken.png"))


def test_a_picture_that_was_exchanged_meanwhile_is_noticed(root):
    ref = file_ref(root, "img/half.png")
    Image.new("RGB", (8, 6)).save(root / "img" / "half.png")
    with pytest.raises(ImageError, match=r"img/half\.png.*another picture than when"):
        open_image(ref)


def test_a_reference_is_made_without_decoding_and_checked_only_when_asked(root, monkeypatch):
    monkeypatch.setattr("streams.pictures.images.decode", lambda *_, **__: pytest.fail("it was decoded"))
    for _ in range(3):
        file_ref(root, "img/half.png")
        file_ref(root, "img/broken.png")


def test_a_row_of_pictures_is_bounded_before_it_is_made(root):
    with pytest.raises(ImageError, match="101 pictures side by side; 100 are the limit"):
        open_image(ImageRef("toy:" + "+".join(["1/square"] * 101), "0"))
    with pytest.raises(ImageError, match="2 pictures side by side: 3232 x 32 pixels"):
        side_by_side([Image.new("RGB", (32, 32)), Image.new("RGB", (100, 1))])


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
