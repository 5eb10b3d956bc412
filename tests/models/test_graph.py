"""A full device in a training step: fewer rows at a time, the same gradient; one row alone is told what to try."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor

from lifelong.editing.find import editor_class
from lifelong.editing.ops import answer_losses, descend
from lifelong.models.passes.room import OutOfRoomError
from lifelong.models.tiny import tiny_vlm
from lifelong.models.vlm import VLM
from streams.stream import load_stream

TARGETS = ["red", "a cat", "Nairobi", "he", "blue", "renard", "here"]


def full_above(vlm: VLM, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pretend a device that holds the graph of so many rows."""
    forward = vlm.model.forward

    def limited(*args: Any, **kwargs: Any) -> Any:
        if torch.is_grad_enabled() and len(kwargs["input_ids"]) > rows:
            raise torch.OutOfMemoryError("made up: out of memory")
        return forward(*args, **kwargs)

    monkeypatch.setattr(vlm.model, "forward", limited)


@contextmanager
def pushed(vlm: VLM, weight: Tensor, push: Tensor) -> Iterator[None]:
    """An exchanged weight, and a hook above it: both end before going back."""
    own: Any = vlm.submodule(1, "mlp.down_proj")
    with (
        vlm.swap({vlm.name_of(own.weight): weight}),
        vlm.hook(vlm.decoder_layer(2), lambda m, a, out, layout: out + push),
    ):
        yield


@pytest.mark.parametrize("whole", [False, True], ids=["resumed", "whole"])
def test_a_gradient_in_parts_is_the_gradient(whole: bool, tiny_queries, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under changes that have ended when it is taken, and others of the same model meanwhile."""
    found, said = [], list[str]()
    for limit in (None, 2):
        vlm = tiny_vlm(0)
        vlm.on_full(said.append)
        module: Any = vlm.submodule(1, "mlp.down_proj")
        weight = module.weight.detach().clone().requires_grad_()
        push = torch.full((vlm.width,), 0.1, requires_grad=True)
        hidden = vlm.hidden(tiny_queries, 1, TARGETS)
        if limit:
            full_above(vlm, limit, monkeypatch)

        def work(vlm: VLM = vlm, weight: Tensor = weight, push: Tensor = push, hidden: Any = hidden) -> Tensor:
            with pushed(vlm, weight, push):
                if whole:
                    rows = vlm.answer_logits(tiny_queries, TARGETS, grad=True)
                else:
                    rows = vlm.resume(hidden, grad=True, answers_only=True)
            loss = answer_losses(rows, hidden.target_ids).mean()
            loss.backward()
            return loss.detach()

        loss = vlm.step(work, lambda: None)
        found.append((loss, weight.grad, push.grad))
        assert vlm.unchanged
    assert vlm.times_full == 2 and vlm.passes.room.graph_rows == 1 and vlm.passes.room.halved == 0
    assert len(said) == 1 and "out of memory in a training step of 7 rows" in said[0]
    for one, other in zip(*found, strict=True):
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-6)


def test_a_pass_keeps_little_once_the_device_was_full(tiny_queries) -> None:
    kept: dict[int | None, int] = {}
    for limit in (None, 2):
        vlm = tiny_vlm(0)
        vlm.passes.room.graph_rows = limit
        push = torch.zeros(vlm.width, requires_grad=True)
        hidden = vlm.hidden(tiny_queries, 1, TARGETS)

        def pack(tensor: Tensor, limit: int | None = limit) -> Tensor:
            kept[limit] = kept.get(limit, 0) + tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
            with vlm.hook(vlm.decoder_layer(1), lambda m, a, out, layout, push=push: out + push):
                rows = vlm.resume(hidden, grad=True, answers_only=True)
        torch.cat(rows).sum().backward()
    assert 50 * kept.get(2, 0) < kept[None]


def test_going_back_is_refused_under_other_changes(tiny_queries) -> None:
    vlm = tiny_vlm(0)
    vlm.passes.room.graph_rows = 2
    push = torch.zeros(vlm.width, requires_grad=True)
    with vlm.hook(vlm.decoder_layer(2), lambda m, a, out, layout: out + push):
        rows = vlm.resume(vlm.hidden(tiny_queries, 1, TARGETS), grad=True, answers_only=True)
    with vlm.hook(vlm.decoder_layer(1), lambda *_: None), pytest.raises(RuntimeError, match="other changes"):
        torch.cat(rows).sum().backward()


def test_a_descent_of_one_row_that_does_not_fit_says_what_to_try(tiny_queries, monkeypatch) -> None:
    vlm = tiny_vlm(0)
    hidden = vlm.hidden(tiny_queries[:1], 1, TARGETS[:1])
    push = torch.zeros(vlm.width, requires_grad=True)
    full_above(vlm, 0, monkeypatch)

    def loss_of() -> Tensor:
        with vlm.hook(vlm.decoder_layer(2), lambda m, a, out, layout: out + push):
            rows = vlm.resume(hidden, grad=True, answers_only=True)
        return answer_losses(rows, hidden.target_ids).mean()

    with pytest.raises(OutOfRoomError, match=r"one row at a time.*editor\.layer.*dtype=bfloat16"):
        descend(torch.optim.SGD([push], 0.1), loss_of, steps=2, done=lambda _: False, what="x", vlm=vlm)
    assert vlm.times_full == 0


def test_what_is_full_on_the_way_back_is_done_again_too(tiny_queries) -> None:
    """An error of the allocator in `backward`, after half of the gradients are there."""
    vlm, said, failed = tiny_vlm(0), list[str](), []
    vlm.on_full(said.append)
    hidden, found = vlm.hidden(tiny_queries, 1, TARGETS), []
    for fails in (False, True):
        push = torch.full((vlm.width,), 0.1, requires_grad=True)

        def full(gradient: Tensor, fails: bool = fails) -> None:
            if fails and not failed:
                failed.append(1)
                raise torch.OutOfMemoryError("made up: out of memory")

        def loss_of(push: Tensor = push, full: Callable[[Tensor], None] = full) -> Tensor:
            def add(module: Any, args: Any, out: Tensor, layout: Any) -> Tensor:
                if out.requires_grad:
                    out.register_hook(full)
                return out + push

            with vlm.hook(vlm.decoder_layer(1), lambda m, a, out, layout: out + push):
                with vlm.hook(vlm.decoder_layer(2), add):
                    rows = vlm.resume(hidden, grad=True, answers_only=True)
            return answer_losses(rows, hidden.target_ids).mean()

        optimizer = torch.optim.SGD([push], 1.0)
        end = descend(optimizer, loss_of, steps=3, done=lambda _: False, what="x", vlm=vlm)
        found.append((end.loss, push.detach()))
    assert failed and vlm.times_full == 1 and vlm.passes.room.graph_rows == 3
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-4)
    assert torch.allclose(found[0][1], found[1][1], atol=1e-5)


FITS = {
    "lte": {"batch": 3},
    "mend": {"batch": 3},
    "ke": {"batch": 3},
    "liveedit": {"batch": 3, "half": False},
    "recipe": {"batch": 3, "half": False, "routing_steps": 2},
    "serac": {"batch": 3},
}


@pytest.mark.parametrize("name", FITS)
def test_a_fit_on_a_full_device_learns_the_same(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawn numbers are those that the step would have had."""
    kind, learnt = editor_class(name), []
    known = kind.Options.model_fields
    options = {k: v for k, v in {**FITS[name], "steps": 3, "pool": 12}.items() if k in known}
    for limit in (None, 2):
        vlm = tiny_vlm(0)
        vlm.on_full(lambda _: None)
        editor = kind(vlm, kind.Options(**options), seed=0)
        pool = load_stream("toy", edits=2, seed=0).pool(12, 0)
        if limit:
            full_above(vlm, limit, monkeypatch)
        editor.fit(pool)
        learnt.append(editor.fitted().tensors)
        assert vlm.times_full == 0 or limit
    assert vlm.passes.room.graph_rows is not None
    for part, one in learnt[0].items():
        assert torch.allclose(one.float(), learnt[1][part].float(), rtol=2e-3, atol=2e-3), part
