"""The loss plot: what is drawn is what was trained last, and a file that is none is said to be none."""

from __future__ import annotations

import pytest
from PIL import Image

from reports.figures.losses import draw_losses, read_losses

HEAD = "stage,step,wall_s,name,value\n"


def test_a_step_trained_again_after_a_break_counts_once_with_its_last_value(tmp_path):
    path = tmp_path / "loss.csv"
    path.write_text(HEAD + "tower,1,0.1,loss,9\nlanguage,50,1,loss,4\nlanguage,100,2,loss,3\nlanguage,50,1,loss,5\n")
    assert read_losses(path).select("stage", "step", "value").rows() == [
        ("tower", 1, 9),
        ("language", 50, 5),
        ("language", 100, 3),
    ]


def test_the_plot_has_a_panel_for_every_value(tmp_path):
    path = tmp_path / "loss.csv"
    path.write_text(HEAD + "".join(f"language,{s},1,{n},{s}\n" for s in (50, 100) for n in ("loss", "hit", "rate")))
    with Image.open(draw_losses(path, tmp_path / "loss.png")) as image:
        assert image.width > image.height > 200


@pytest.mark.parametrize("text", [HEAD, "a,b\n1,2\n"])
def test_a_file_that_is_no_training_is_an_error_with_its_name(tmp_path, text):
    path = tmp_path / "loss.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match="loss.csv: expected rows"):
        read_losses(path)
