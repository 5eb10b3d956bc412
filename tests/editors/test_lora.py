"""LoRA through the peft library: the formula, the running adapter, its forgetting, and both sides of the model."""

from __future__ import annotations

from typing import Any

import pytest
import torch

pytest.importorskip("peft", reason="the lora editor works through the optional peft library")

from lifelong.editing.contract import CollapseError
from lifelong.editors.lora import NAME, LoraOptions, LoraTuning
from streams.stream import load_stream
from streams.types import Edit, ImageRef, Query

EDIT = Edit("a", Query("Who made this bowl?", ImageRef("noise:a", "a")), "Ann", "bowl")
FAST: dict[str, Any] = {"optimizer": "adamw", "learning_rate": 2e-2, "steps": 30, "decay": 1.0, "dropout": 0.0}


def nll(editor: LoraTuning, edit: Edit) -> float:
    with editor.applied([edit.query], editor.route(editor.encode([edit.query]))) as answerer:
        return answerer.score([edit.target])[0].nll


def test_the_adapter_adds_alpha_over_rank_b_a_to_every_weight(tiny_vlm):
    editor = LoraTuning(tiny_vlm, LoraOptions(**FAST))
    editor.edit([EDIT])
    whole = {}
    for name, module in editor.region.linear().items():
        a, b = (getattr(editor.layers[name], f"lora_{side}")[NAME].weight.detach() for side in "AB")
        assert a.shape == (8, module.in_features) and b.shape == (module.out_features, 8)
        whole[tiny_vlm.name_of(module.weight)] = module.weight.detach() + 32 / 8 * b @ a
    with tiny_vlm.swap(whole):
        merged = tiny_vlm.score([EDIT.query], [EDIT.target])[0].nll
    assert nll(editor, EDIT) == pytest.approx(merged, abs=1e-4) and len(whole) == 8


def test_one_adapter_learns_each_edit_and_forgets_the_first(tiny_vlm):
    editor = LoraTuning(tiny_vlm, LoraOptions(**FAST))
    before = nll(editor, EDIT)
    editor.edit([EDIT])
    learnt, size = nll(editor, EDIT), editor.nbytes()
    assert learnt < before / 5
    for edit in load_stream("toy", edits=6, seed=2).edits:
        editor.edit([edit])
    assert nll(editor, EDIT) > 5 * learnt and editor.nbytes() == size and editor.revision == 7


def test_the_published_optimiser_lowers_the_loss(tiny_vlm):
    editor = LoraTuning(tiny_vlm)
    before = nll(editor, EDIT)
    editor.edit([EDIT])
    assert nll(editor, EDIT) < before


def test_dropout_depends_on_the_seed_and_the_edit_only(tiny_vlm):
    first, second = LoraTuning(tiny_vlm), LoraTuning(tiny_vlm)
    torch.manual_seed(1)
    first.edit([EDIT])
    torch.manual_seed(2)
    second.edit([EDIT])
    assert all(torch.equal(t, second.state().tensors[n]) for n, t in first.state().tensors.items())


def test_on_the_vision_side_questions_without_a_picture_stay_as_they_are(tiny_vlm):
    editor, blind = LoraTuning(tiny_vlm, LoraOptions(module="vision", **FAST)), Query("Where is the long bridge?")
    before = nll(editor, EDIT)
    editor.edit([EDIT])
    editor.edit([Edit("b", blind, "Rome", "bridge")])
    with editor.applied([blind], editor.route(editor.encode([blind]))) as answerer:
        assert answerer.score(["Rome"])[0].nll == pytest.approx(tiny_vlm.score([blind], ["Rome"])[0].nll, abs=1e-5)
    assert nll(editor, EDIT) < before


def test_a_collapse_names_the_edit_and_leaves_the_adapter_as_it_was(tiny_vlm):
    editor = LoraTuning(tiny_vlm, LoraOptions(learning_rate=1e20))
    before = editor.state().tensors
    with pytest.raises(CollapseError, match="edit a"):
        editor.edit([EDIT])
    assert editor.revision == 0 and all(torch.equal(t, before[n]) for n, t in editor.state().tensors.items())
