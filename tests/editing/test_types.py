"""Editing a model in half precision reaches what it reaches in float32: what is learnt is kept in float32."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from lifelong.editing.contract import Route
from lifelong.editing.find import editor_class
from lifelong.editors.ft import FineTuning, FtOptions
from lifelong.editors.grace import Grace
from lifelong.editors.liveedit import LiveEdit, LiveEditOptions
from lifelong.editors.mend import Mend, MendOptions
from lifelong.models.tiny import tiny_vlm
from lifelong.models.vlm import VLM
from streams.stream import load_stream
from streams.types import Edit, ImageRef, Query

EDITS = [
    Edit(name, Query(question, ImageRef(f"noise:{name}", name)), target, name)
    for name, question, target in (
        ("a", "Who made this bowl?", "Ann"), ("b", "What is it?", "a hat"), ("c", "Which colour?", "blue"),
        ("d", "Where is it?", "Lima"), ("e", "Who is that?", "Bob"), ("f", "What for?", "tea"),
    )
]  # fmt: skip
HALVES = [torch.float16, torch.bfloat16]


@pytest.fixture(scope="module")
def models() -> dict[torch.dtype, VLM]:
    return {dtype: tiny_vlm(0, dtype=dtype) for dtype in (torch.float32, *HALVES)}


def nll(editor, edit: Edit) -> float:
    with editor.applied([edit.query], editor.route(editor.encode([edit.query]))) as answerer:
        return answerer.score([edit.target])[0].nll


@pytest.mark.parametrize("dtype", HALVES)
def test_ft_learns_in_half_precision_what_it_learns_in_float32_and_nothing_collapses(models, dtype) -> None:
    reached = {}
    for kind in (torch.float32, dtype):
        editor = FineTuning(models[kind], FtOptions(learning_rate=3e-2, weight_decay=0.0, steps=10))
        for edit in EDITS:  # raises where a weight explodes
            editor.edit([edit])
        reached[kind] = nll(editor, EDITS[-1])
        ((name, now),) = editor.weights.now.items()
        moved = (now - editor.weights.base[name].float()).norm()
        assert now.dtype == torch.float32 and 0 < moved < 4 * editor.weights.base[name].float().norm()
    before = nll(FineTuning(models[dtype]), EDITS[-1])
    assert reached[torch.float32] < before / 2 and reached[dtype] < before / 2
    assert reached[dtype] == pytest.approx(reached[torch.float32], abs=0.15 * before)


@pytest.mark.parametrize("dtype", HALVES)
def test_steps_too_small_for_the_models_type_add_up(models, dtype) -> None:
    editor = FineTuning(models[dtype], FtOptions(learning_rate=1e-6, weight_decay=0.0, steps=1, stop_loss=0.0))
    for _ in range(5):
        editor.edit(EDITS[:1])
    ((name, now),) = editor.weights.now.items()
    assert 2e-6 < (now - editor.weights.base[name].float()).abs().max() < 6e-6
    again = FineTuning(models[dtype])
    again.load(editor.state())
    assert torch.equal(again.weights.now[name], now) and again.weights.now[name].dtype == torch.float32


def test_what_is_summed_or_tuned_is_float32_in_every_editor_of_weights(models) -> None:
    half = models[torch.float16]
    mend = Mend(half, MendOptions(average=True))
    assert {t.dtype for t in (*mend.sums.values(), *mend.weights.now.values())} == {torch.float32}
    lora = editor_class("lora")(half)
    lora.edit(EDITS[:1])
    assert {t.dtype for t in lora.state().tensors.values()} == {torch.float32}
    assert half.unchanged and half.embeddings().dtype == torch.float16


def test_liveedit_is_fitted_on_a_model_in_float16_and_its_experts_are_added_in_float32(models) -> None:
    vlm, pool = models[torch.float16], load_stream("toy", edits=2, seed=0).pool(20, 0)
    options = {"steps": 2, "batch": 4, "routing_batch": 8, "pool": 20, "generator": "paper"}
    editor = LiveEdit(vlm, LiveEditOptions.model_validate(options))
    editor.fit(pool)
    editor.edit(EDITS[:1])
    seen: list[torch.dtype] = []
    handle = editor.modules.residual_layernorm.register_forward_pre_hook(lambda _, args: seen.append(args[0].dtype))
    with editor.applied([EDITS[0].query], [Route(("a",), (1.0,))]) as answerer:
        assert answerer.score(["Ann"])[0].nll > 0
    handle.remove()
    assert set(seen) == {torch.float32}  # CUDA takes no layer norm of two types


def test_states_of_any_type_are_resumed_in_the_models(models) -> None:
    half = models[torch.bfloat16]
    hidden = half.hidden([EDITS[0].query], 1, ["Ann"])
    own = half.resume(hidden, answers_only=True)[0]
    wide = replace(hidden, states=tuple(s.float() for s in hidden.states), memo={})
    assert torch.equal(half.resume(wide, answers_only=True)[0], own)


QUANTISED = ("ft", "ke", "lora", "lte", "mend", "wise")


@pytest.mark.parametrize("name", QUANTISED)
def test_editors_of_weights_refuse_quantised_ones_by_name(name) -> None:
    vlm = tiny_vlm(0)
    for layer in vlm.structure.layers:
        for part in (m for m in layer.modules() if isinstance(m, nn.Linear)):
            part._parameters["weight"] = nn.Parameter(part.weight.to(torch.int8), requires_grad=False)
    with pytest.raises(ValueError, match=r"(proj|down_proj)\S* is quantised \(int8\)"):
        editor_class(name)(vlm)
    assert Grace(vlm).codebook.bank.width == 64  # which leaves weights alone
