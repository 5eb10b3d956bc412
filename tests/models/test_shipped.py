"""The embedded model is the one that was shipped, or its damaged file is named."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from lifelong.log import LogError
from lifelong.models.atlas.model import atlas_folder
from lifelong.models.loading import check_shipped


def test_the_shipped_model_is_whole_and_every_file_that_names_it_is_listed() -> None:
    check_shipped(atlas_folder())
    listed = {line.split()[1] for line in (atlas_folder() / "SHA256SUMS").read_text().splitlines()}
    suffixes = (".json", ".jinja", ".safetensors")
    assert listed == {path.name for path in atlas_folder().iterdir() if path.suffix in suffixes}


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json"])
def test_a_flipped_bit_and_a_missing_file_are_named(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "weights"
    shutil.copytree(atlas_folder(), folder)
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(data)
    with pytest.raises(LogError, match=f"{name}: damaged"):
        check_shipped(folder)
    (folder / name).unlink()
    with pytest.raises(LogError, match=f"{name}: damaged"):
        check_shipped(folder)
