"""Claims about the picture of a question: a file by any path or a name of the atlas, refused before a model loads."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from PIL import Image

from lifelong.running.ask import image_ref
from streams.pictures.images import open_image
from streams.types import ImageError


@pytest.mark.parametrize("given", ["a.png", "./a.png", "../here/a.png", "file:a.png", "12:30:05.png", "absolute"])
def test_a_file_is_found_by_any_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    folder = tmp_path / "here"
    folder.mkdir()
    for name in ("a.png", "12:30:05.png"):
        Image.new("RGB", (3, 2), "red").save(folder / name)
    monkeypatch.chdir(folder)
    ref = image_ref(str(folder / "a.png") if given == "absolute" else given)
    monkeypatch.chdir(tmp_path)
    assert open_image(ref).size == (3, 2)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("none.png", "No such file"),
        ("text.png", "not a picture"),
        ("pipe.png", "a named pipe; expected a regular file"),
        ("/dev/zero", "belongs to the system"),
        ("circle/a.png", "loop"),
        ("atlas:nothing/noto", "the atlas has no picture"),
        ("atlsa:x/noto", "Did you mean 'atlas:'"),
        ("https://host/a.png", "no known source"),
        ("", "expected a relative path"),
    ],
)
def test_what_is_no_picture_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str, words: str
) -> None:
    (tmp_path / "text.png").write_text("hello")
    (tmp_path / "circle").symlink_to("circle")
    os.mkfifo(tmp_path / "pipe.png")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ImageError, match=words):
        image_ref(given)
