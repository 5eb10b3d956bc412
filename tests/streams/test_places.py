"""Claims about where a picture's path leads: links are followed, the path as written stays below its root."""

import os
import shutil
import socket

import pytest
from PIL import Image

from streams.pictures import places
from streams.pictures.images import file_ref, open_image
from streams.pictures.places import file_path, read_file
from streams.types import ImageError, ImageRef


@pytest.fixture
def root(tmp_path):
    """A root folder with a picture, beside a folder that no path may reach."""
    for folder in ("root/img", "beside"):
        (tmp_path / folder).mkdir(parents=True)
    for name in ("root/img/a.png", "beside/a.png"):
        Image.new("RGB", (2, 2), "red").save(tmp_path / name)
    return tmp_path / "root"


@pytest.mark.parametrize(
    "relative", ["img/a.png", "./img/a.png", "img//a.png", "img/../img/a.png", "no/../img/a.png"]
)
def test_a_path_below_the_root_is_read(root, relative):
    assert file_path(str(root), relative) == root / "img" / "a.png"


@pytest.mark.parametrize(
    "relative",
    [
        "../beside/a.png",
        "/etc/passwd",
        "//etc/passwd",
        "img/../../beside/a.png",
        "img/./../../beside/a.png",
        "./../beside/a.png",
        "..",
        "",
        " ",
        ".",
        "img/..",
        "a\0b",
        "..\\beside\\a.png",
        "img\\a.png",
        "file:img/a.png",
        "file:///etc/passwd",
        "https://host/a.png",
        "data:image/png;base64,AAAA",
    ],
)
def test_a_path_that_means_another_place_is_refused(root, relative):
    with pytest.raises(ImageError, match=r"^Image file:.*root"):
        open_image(ImageRef(f"file:{relative}", "0", str(root)))


@pytest.mark.parametrize(
    "relative", ["%2e%2e/beside/a.png", "%2fetc%2fpasswd", "~/a.png", "$HOME/a.png", "a\ud800.png"]
)
def test_nothing_in_a_path_is_expanded(root, relative):
    with pytest.raises(ImageError, match="cannot read"):
        file_path(str(root), relative)


def test_links_that_the_user_made_are_followed(root, tmp_path):
    (root / "hub").mkdir()
    (root / "hub" / "1.png").symlink_to("../../beside/a.png")  # as a hub's cache does
    (root / "images").symlink_to(tmp_path / "beside")  # ln -s .../val2014 images
    (tmp_path / "linked").symlink_to(root)
    for folder, relative in ((root, "hub/1.png"), (root, "images/a.png"), (tmp_path / "linked", "img/a.png")):
        assert open_image(file_ref(folder, relative, check=True)).size == (2, 2)


def test_two_dots_behind_a_link_go_back_by_the_text(root, tmp_path):
    (root / "up").symlink_to(tmp_path / "beside")
    with pytest.raises(ImageError, match="cannot read .*root/a.png"):
        file_path(str(root), "up/../a.png")
    with pytest.raises(ImageError, match="leaves its root"):
        file_path(str(root), "up/../../beside/a.png")


def test_links_in_a_circle_and_into_nothing_are_named(root):
    (root / "one").symlink_to("two")
    (root / "two").symlink_to("one")
    (root / "gone.png").symlink_to("nowhere.png")
    for name in ("one", "gone.png", "none.png", "img/a.png/b.png", "x" * 300):
        with pytest.raises(ImageError, match=f"Image file:{name}: cannot read"):
            file_path(str(root), name)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="only where there are named pipes")
def test_what_is_no_regular_file_is_refused_without_waiting(root):
    os.mkfifo(root / "pipe.png")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(os.path.relpath(root / "socket.png"))
        for name, kind in (("pipe.png", "a named pipe"), ("socket.png", "a socket"), ("img", "a folder")):
            with pytest.raises(ImageError, match=f"{name} is {kind}; expected a regular file"):
                read_file(str(root), name)


@pytest.mark.parametrize("target", ["/dev/zero", "/dev/null", "/proc/self/environ", "/sys/kernel/notes", "/dev/fd/0"])
def test_a_link_into_the_system_is_refused(root, target):
    if not os.path.exists(target):
        pytest.skip(f"no {target} here")
    (root / "link.png").symlink_to(target)
    with pytest.raises(ImageError, match=r"link\.png"):
        file_ref(root, "link.png")


def test_a_link_to_a_text_says_nothing_of_the_text(root, tmp_path):
    (tmp_path / "beside" / "secret").write_text("my password")
    (root / "link.png").symlink_to(tmp_path / "beside" / "secret")
    with pytest.raises(ImageError, match="not a picture") as error:
        file_ref(root, "link.png", check=True)
    assert "password" not in str(error.value)


def test_a_file_that_becomes_a_pipe_between_the_look_and_the_opening_is_refused(root, monkeypatch):
    real = root / "img" / "a.png"
    monkeypatch.setattr(places, "file_path", lambda *_: real)
    real.unlink()
    os.mkfifo(real)
    with pytest.raises(ImageError, match="no regular file any more"):
        read_file(str(root), "img/a.png")
    real.unlink()
    real.symlink_to(root.parent / "beside" / "a.png")
    with pytest.raises(ImageError, match="cannot read"):
        read_file(str(root), "img/a.png")


def test_a_huge_file_is_refused_before_it_is_read(root):
    with open(root / "huge.png", "wb") as file:
        file.truncate(places.MAX_BYTES + 1)  # with holes: it takes no room
    with pytest.raises(ImageError, match=r"huge\.png: 536,870,913 bytes, more than the limit"):
        file_ref(root, "huge.png")


def test_control_characters_of_a_name_are_written_as_escapes(root):
    with pytest.raises(ImageError) as error:
        file_path(str(root), "a\x1b[31m\n.png")
    assert "\x1b" not in str(error.value) and "\n" not in str(error.value)


@pytest.mark.skipif(not os.path.isdir("/dev/shm"), reason="only where files are kept in memory there")
def test_pictures_in_shared_memory_are_ordinary_files(root):
    folder = f"/dev/shm/pictures-{os.getpid()}"
    shutil.copytree(root, folder)
    try:
        assert open_image(file_ref(folder, "img/a.png")).size == (2, 2)
    finally:
        shutil.rmtree(folder)
