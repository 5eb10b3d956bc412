"""Fine-tuning on a tiny random model: it learns, it is confined to one weight, it stops, it reports a collapse."""

from __future__ import annotations

import pytest
import torch

from lifelong.editing.contract import CollapseError
from lifelong.editors.ft import FineTuning, FtOptions
from streams.types import Edit, ImageRef, Query

EDIT = Edit("a", Query("Who made this bowl?", ImageRef("noise:a", "a")), "Ann", "bowl")


def nll(editor: FineTuning, edit: Edit) -> float:
    with editor.applied([edit.query], editor.route(editor.encode([edit.query]))) as answerer:
        return answerer.score([edit.target])[0].nll


def test_the_edit_is_learnt_and_the_revision_moves(tiny_vlm):
    editor = FineTuning(tiny_vlm, FtOptions(learning_rate=3e-2, weight_decay=0.0))
    before = nll(editor, EDIT)
    editor.edit([EDIT])
    assert nll(editor, EDIT) < before / 3 and editor.revision == 1 and editor.nbytes() == 4 * 32 * 64


def test_an_edit_that_is_known_already_changes_nothing(tiny_vlm):
    editor = FineTuning(tiny_vlm, FtOptions(stop_loss=100.0))
    editor.edit([EDIT])
    assert all(torch.equal(editor.weights.now[n], w) for n, w in editor.weights.base.items())


def test_the_norm_bounds_the_change_of_every_element(tiny_vlm):
    editor = FineTuning(tiny_vlm, FtOptions(norm=0.01, learning_rate=3e-2, weight_decay=0.0))
    editor.edit([EDIT])
    (name,) = editor.weights.base
    change = (editor.weights.now[name] - editor.weights.base[name]).abs().max()
    assert 0.009 < change <= 0.01 + 1e-6


def test_the_gradient_is_that_of_a_full_forward(tiny_vlm):
    editor = FineTuning(tiny_vlm, FtOptions(steps=1, learning_rate=1e-3, weight_decay=0.0))
    editor.edit([EDIT])
    hidden = tiny_vlm.hidden([EDIT.query], 0, [EDIT.target])
    ((name, base),) = editor.weights.base.items()
    weight = base.clone().requires_grad_()
    with tiny_vlm.swap({name: weight}):
        logits = tiny_vlm.resume(hidden, grad=True, answers_only=True)[0]
    loss = -logits.log_softmax(-1)[torch.arange(4), torch.as_tensor(hidden.target_ids[0]).long()].mean()
    loss.backward()
    assert weight.grad is not None
    moved = (editor.weights.now[name] - base).sign()
    clear = weight.grad.abs() > 1e-5  # the first step of Adam goes against the sign of the gradient
    assert torch.equal(moved[clear], -weight.grad.sign()[clear])


def test_a_collapse_names_the_edit_and_keeps_the_last_finite_weight(tiny_vlm):
    editor = FineTuning(tiny_vlm, FtOptions(learning_rate=3e-2, weight_decay=0.0))
    editor.edit([EDIT])
    ((name, kept),) = editor.weights.now.items()
    wild = FineTuning(tiny_vlm, FtOptions(learning_rate=1e36, stop_loss=0.0))
    wild.load(editor.state())
    with pytest.raises(CollapseError, match="edit b"):
        wild.edit([Edit("b", EDIT.query, "Bob", "bowl")])
    assert torch.equal(wild.weights.now[name], kept) and wild.revision == editor.revision
