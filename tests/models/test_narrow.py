"""What no logit needs is not computed, and what is the same at every step of a descent is computed once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from torch import Tensor

from lifelong.editing.ops import weight_of
from lifelong.models.passes.layout import Hidden, Layout, Scored
from lifelong.models.vlm import VLM
from streams.types import Query

TARGETS = ["cat", "a big dog", "Nairobi", "x", "reddish brown", "renard", "here"]


def seeing(module: object, args: tuple, output: Tensor, layout: Layout) -> None:
    """A hook that may look at every token, so that every token has to be computed."""


def stronger(module: object, args: tuple, output: Tensor, layout: Layout) -> Tensor:
    """Treat each token by itself: by its kind, by its place, by its row and by its input."""
    first = torch.zeros_like(layout.answer, dtype=torch.float32)
    asked = layout.last_prompt >= 0
    first[asked, layout.last_prompt[asked]] = 1.0
    out = output + layout.answer[..., None] * 0.5 + first[..., None] * args[0].mean(-1, keepdim=True)
    return out * (1 + 0.1 * layout.rows[:, None, None])


def equal(a: list[Scored], b: list[Scored]) -> bool:
    """Whether two results agree up to rounding."""
    return all(np.abs(x.logprobs - y.logprobs).max() < 1e-5 for x, y in zip(a, b, strict=True))


@contextmanager
def counting(vlm: VLM) -> Iterator[list[int]]:
    """How many positions the last layer's MLP met, pass by pass (what is called inside `forward` is not hooked)."""
    sizes: list[int] = []
    part = vlm.submodule(vlm.layers - 1, "mlp.down_proj")
    handle = part.register_forward_hook(lambda module, args, output: sizes.append(args[0].shape[:2].numel()))
    try:
        yield sizes
    finally:
        handle.remove()


def test_the_last_mlp_leaves_out_what_no_logit_needs(tiny_vlm: VLM, tiny_queries: list[Query]) -> None:
    """Scores and texts are those of passes that compute every token, of which a fraction is computed."""
    last = tiny_vlm.decoder_layer(tiny_vlm.layers - 1)
    with counting(tiny_vlm) as few:
        scored, texts = tiny_vlm.score(tiny_queries, TARGETS), tiny_vlm.generate(tiny_queries)
    with counting(tiny_vlm) as all_of_them, tiny_vlm.hook(last, seeing):
        whole, told = tiny_vlm.score(tiny_queries, TARGETS), tiny_vlm.generate(tiny_queries)
    assert equal(scored, whole) and texts == told
    assert few[0] < all_of_them[0] / 2 and len(few) == len(all_of_them)


@pytest.mark.parametrize("part", ["mlp.up_proj", "mlp.down_proj"])
def test_a_hook_on_each_token_by_itself_acts_alike_on_fewer(
    tiny_vlm: VLM, tiny_queries: list[Query], part: str
) -> None:
    """In the last layer, in scoring, resuming and decoding."""
    module, layer = tiny_vlm.submodule(tiny_vlm.layers - 1, part), tiny_vlm.layers - 1
    hidden = tiny_vlm.hidden(tiny_queries, layer, TARGETS)
    results = []
    for pointwise in (False, True):
        with tiny_vlm.hook(module, stronger, pointwise=pointwise):
            results.append((tiny_vlm.score(tiny_queries, TARGETS), tiny_vlm.generate(tiny_queries)))
            assert equal(results[-1][0], tiny_vlm.resume_score(hidden))
    assert equal(results[0][0], results[1][0]) and results[0][1] == results[1][1]
    assert not equal(results[0][0], tiny_vlm.score(tiny_queries, TARGETS))


def gradient(vlm: VLM, hidden: Hidden, module: str, *, pointwise: bool) -> Tensor:
    """The gradient of all answers' log-likelihoods for a vector that a hook adds in the last layer."""
    part = vlm.submodule(vlm.layers - 1, module)
    vector = torch.zeros(len(weight_of(part)), requires_grad=True)
    with vlm.hook(part, lambda m, a, out, layout: out + vector, pointwise=pointwise):
        rows = vlm.resume(hidden, grad=True, answers_only=True)
    torch.cat([row.log_softmax(-1)[:, 3] for row in rows]).sum().backward()
    assert vector.grad is not None
    return vector.grad


def test_attention_runs_once_in_a_descent_and_again_where_it_is_changed(
    tiny_vlm: VLM, tiny_queries: list[Query]
) -> None:
    """Three steps run it once; a hook on it runs it again; gradients are those of states that were never used."""
    layer = tiny_vlm.layers - 1
    attention = tiny_vlm.submodule(layer, "self_attn.q_proj")
    calls: list[int] = []
    handle = attention.register_forward_hook(lambda *_: calls.append(1))

    def fresh() -> Hidden:
        return tiny_vlm.hidden(tiny_queries, layer, TARGETS)

    try:
        hidden = fresh()
        steps = [gradient(tiny_vlm, hidden, "mlp.down_proj", pointwise=True) for _ in range(3)]
        assert len(calls) == 1
        assert all(torch.allclose(steps[0], other, atol=1e-6) for other in steps)
        assert torch.allclose(steps[0], gradient(tiny_vlm, fresh(), "mlp.down_proj", pointwise=False), atol=1e-5)
        calls.clear()
        changed = [gradient(tiny_vlm, hidden, "self_attn.q_proj", pointwise=False) for _ in range(2)]
        assert len(calls) == 2 and changed[0].abs().max() > 0 and torch.equal(*changed)
    finally:
        handle.remove()


@pytest.mark.parametrize("swapped, alike", [("mlp.up_proj", True), ("self_attn.k_proj", False)])
def test_only_a_change_before_the_mlp_runs_attention_again(
    tiny_vlm: VLM, tiny_queries: list[Query], swapped: str, alike: bool
) -> None:
    """An exchanged weight of the MLP leaves attention as it was; one of attention is heard at once."""
    layer = tiny_vlm.layers - 1
    weight = weight_of(tiny_vlm.submodule(layer, swapped))
    hidden = tiny_vlm.hidden(tiny_queries, layer, TARGETS)
    base = torch.cat(tiny_vlm.resume(hidden, grad=True, answers_only=True))
    with tiny_vlm.swap({tiny_vlm.name_of(weight): weight.detach() * 1.5}):
        assert tiny_vlm.passes._attends_alike(layer) is alike
        again = torch.cat(tiny_vlm.resume(hidden, grad=True, answers_only=True))
        whole = torch.cat(tiny_vlm.answer_logits(tiny_queries, TARGETS))
    assert torch.allclose(again, whole, atol=1e-5) and not torch.allclose(again, base, atol=1e-3)
