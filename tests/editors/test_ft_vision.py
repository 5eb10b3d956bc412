"""Fine-tuning the connector, and the regions that weight editors change."""

from __future__ import annotations

import pytest
import torch

from lifelong.editing.contract import CollapseError
from lifelong.editing.weights.regions import find_region, require_sound
from lifelong.editors.ft import FineTuning, FtOptions
from lifelong.editors.ft_vision import FtVisionOptions, VisionFineTuning
from lifelong.studies.sweep import cells
from streams.types import Edit, ImageRef, Query

EDIT = Edit("a", Query("Who made this bowl?", ImageRef("noise:a", "a")), "Ann", "bowl")
BLIND = Edit("b", Query("Where is the long bridge?"), "Rome", "bridge")


def nll(editor, query: Query, target: str) -> float:
    with editor.applied([query], editor.route(editor.encode([query]))) as answerer:
        return answerer.score([target])[0].nll


def test_the_connector_is_all_outside_the_language_model_but_the_tower(tiny_vlm):
    names = set(find_region(tiny_vlm, "vision", (), ()).parameters())
    projector = "model.multi_modal_projector.linear_"
    assert names == {f"{projector}{i}.{kind}" for i in (1, 2) for kind in ("weight", "bias")}
    assert set(find_region(tiny_vlm, "vision.linear_2", (), ()).linear()) == {f"{projector}2"}


def test_an_unknown_part_is_named_with_what_there_is(tiny_vlm):
    with pytest.raises(ValueError, match="linear_1"):
        find_region(tiny_vlm, "vision.qformer", (), ())
    with pytest.raises(ValueError, match=r"mlp\.down_proj"):
        find_region(tiny_vlm, "mlp.down_prj", [3], ())


def test_an_edit_with_a_picture_is_learnt_by_the_connector_alone(tiny_vlm):
    editor = VisionFineTuning(tiny_vlm, FtVisionOptions(learning_rate=3e-2))
    before = nll(editor, EDIT.query, EDIT.target)
    editor.edit([EDIT])
    assert nll(editor, EDIT.query, EDIT.target) < before / 2 and editor.revision == 1
    assert nll(editor, BLIND.query, BLIND.target) == tiny_vlm.score([BLIND.query], [BLIND.target])[0].nll


def test_an_edit_without_a_picture_cannot_be_learnt_there(tiny_vlm):
    editor = VisionFineTuning(tiny_vlm)
    editor.edit([BLIND])
    assert all(torch.equal(w, editor.weights.base[n]) for n, w in editor.weights.now.items())


def test_an_image_first_seen_while_edited_is_the_bases_afterwards():
    from lifelong.models.tiny import tiny_vlm

    vlm, other, new = tiny_vlm(3), tiny_vlm(3), Query("What is it?", ImageRef("noise:new", "new"))
    editor = VisionFineTuning(vlm, FtVisionOptions(learning_rate=3e-2))
    editor.edit([EDIT])
    assert nll(editor, new, "Ann") != pytest.approx(other.score([new], ["Ann"])[0].nll, abs=1e-3)
    assert vlm.score([new], ["Ann"])[0].nll == other.score([new], ["Ann"])[0].nll


def test_ft_takes_either_side_of_the_model(tiny_vlm):
    for module, count in (("language", 1), ("vision", 4), ("mlp.up_proj", 1)):
        editor = FineTuning(tiny_vlm, FtOptions(module=module, learning_rate=3e-2))
        before = nll(editor, EDIT.query, EDIT.target)
        editor.edit([EDIT])
        assert nll(editor, EDIT.query, EDIT.target) < before and len(editor.weights.base) == count


def test_a_collapse_on_the_vision_side_leaves_everything_as_it_was(tiny_vlm):
    editor = VisionFineTuning(tiny_vlm, FtVisionOptions(learning_rate=1e36, stop_loss=0.0))
    with pytest.raises(CollapseError, match="edit a"):
        editor.edit([EDIT])
    assert editor.revision == 0 and all(torch.equal(w, editor.weights.base[n]) for n, w in editor.weights.now.items())


def test_exploded_weights_are_a_collapse_and_large_ones_are_not():
    base = {"w": torch.ones(3)}
    require_sound({"w": torch.full((3,), 99.0)}, base, "edit a")
    with pytest.raises(CollapseError, match="edit a.*exploded"):
        require_sound({"w": torch.full((3,), 101.0)}, base, "edit a")


def test_the_region_study_is_a_sweep_of_both_sides():
    found = [(c.config.editor.name, c.config.editor.options["module"]) for c in cells("mmedit-regions")]
    assert len(found) == 8 and {side for _, side in found} == {"language", "vision"}
