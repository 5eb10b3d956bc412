"""Claims about what a training takes from a finished model: all of one as wide, and with `anew` no decoder."""

from __future__ import annotations

from pathlib import Path

import pytest

from lifelong.models.atlas.model import atlas_folder
from lifelong.models.atlas.train import main as training


@pytest.mark.parametrize(("width", "anew", "goes_on"), [(256, False, True), (256, True, False), (128, False, False)])
def test_a_decoder_goes_on_from_one_as_wide_unless_all_begin_anew(
    width: int, anew: bool, goes_on: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for stage in ("load_pictures", "_tower", "_features", "run_team"):
        monkeypatch.setattr(training, stage, lambda *_: None)
    training.main(tmp_path, plan=training.plan_of(width=width), start=atlas_folder(), anew=anew)
    assert (tmp_path / "tower.safetensors").is_file() and (tmp_path / "tokenizer" / "tokenizer.json").is_file()
    assert (tmp_path / "start.safetensors").exists() is goes_on
