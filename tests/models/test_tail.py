"""A descent in the last layer's MLP repeats what follows the change, and gives the logits of the whole pass."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from lifelong.models.passes.layout import Hidden
from lifelong.models.passes.tail import Tail
from lifelong.models.vlm import VLM
from streams.types import Query

TARGETS = ["a", "longer", "abc", "x", "four", "abcdefgh", "yes"]


def steps(vlm: VLM, hidden: Hidden, module: str, change: Tensor, *, pointwise: bool) -> list[tuple[Tensor, Tensor]]:
    """Return (logits, gradient of the change) of three steps of a descent on the last layer's `module`."""
    part = vlm.submodule(3, module)
    change = change.clone().requires_grad_()
    out = []

    def add(_: object, args: tuple, output: Tensor, layout: object) -> Tensor:
        return output + args[0] @ change.T

    for _ in range(3):
        with vlm.hook(part, add, pointwise=pointwise):
            rows: Sequence[Tensor] = vlm.resume(hidden, grad=True, answers_only=True)
        logits = torch.cat(list(rows))
        (gradient,) = torch.autograd.grad(logits.logsumexp(-1).square().mean(), [change])
        out.append((logits.detach(), gradient))
        with torch.no_grad():
            change.sub_(0.3 * gradient)
    return out


@pytest.mark.parametrize("rows", [[2], [1, 0, 4, 5, 3]])
@pytest.mark.parametrize(("module", "used"), [("mlp", True), ("mlp.down_proj", True), ("mlp.up_proj", False)])
def test_logits_and_gradients_are_those_of_the_whole_pass(
    tiny_vlm: VLM, tiny_queries: list[Query], rows: list[int], module: str, used: bool
) -> None:
    """Where the form is another (a gate multiplies what follows), the whole pass goes on being run."""
    part = tiny_vlm.submodule(3, module)
    wide = {"mlp": tiny_vlm.width}.get(module) or part.weight.shape[1]  # type: ignore[union-attr,index]
    high = tiny_vlm.width if module == "mlp" else part.weight.shape[0]  # type: ignore[union-attr,index]
    change = 0.05 * torch.randn(int(high), int(wide), generator=torch.Generator().manual_seed(0))
    queries, targets = [tiny_queries[i] for i in rows], [TARGETS[i] for i in rows]
    hidden = tiny_vlm.hidden(queries, 3, targets)
    quick = steps(tiny_vlm, hidden, module, change, pointwise=True)
    assert isinstance(hidden.memo[0]["tail"], Tail) == used
    whole = tiny_vlm.hidden(queries, 3, targets)
    slow = steps(tiny_vlm, whole, module, change, pointwise=False)
    assert "tail" not in whole.memo[0]
    for (logits, gradient), (true, expected) in zip(quick, slow, strict=True):
        torch.testing.assert_close(logits, true, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(gradient, expected, rtol=1e-3, atol=1e-6)
    assert not torch.allclose(quick[0][0], quick[2][0], atol=1e-3)  # the descent moved


def test_other_changes_are_seen(tiny_vlm: VLM, tiny_queries: list[Query]) -> None:
    """A tail that was learnt is passed by while anything else is changed too, or instead."""
    hidden = tiny_vlm.hidden(tiny_queries[:1], 3, TARGETS[:1])
    mlp, norm = tiny_vlm.submodule(3, "mlp"), tiny_vlm.structure.norm
    assert norm is not None

    def run() -> Tensor:
        return tiny_vlm.resume(hidden, grad=True, answers_only=True)[0].detach()

    def whole() -> Tensor:
        fresh = tiny_vlm.hidden(tiny_queries[:1], 3, TARGETS[:1])
        return tiny_vlm.resume(fresh, grad=False, answers_only=True)[0]

    def twice(_: object, args: tuple, output: Tensor, layout: object) -> Tensor:
        return output * 2

    with tiny_vlm.hook(mlp, twice, pointwise=True):
        first = run()
        assert hidden.memo[0]["tail"].module is mlp
        with tiny_vlm.hook(norm, twice, pointwise=True):
            torch.testing.assert_close(run(), whole(), rtol=1e-4, atol=1e-5)
            assert not torch.allclose(run(), first)
        with tiny_vlm.swap({tiny_vlm.name_of(norm.weight): norm.weight * 3}):  # type: ignore[arg-type, operator]
            torch.testing.assert_close(run(), whole(), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(run(), first, rtol=1e-4, atol=1e-5)
    with tiny_vlm.hook(tiny_vlm.submodule(3, "self_attn.o_proj"), twice, pointwise=True):
        torch.testing.assert_close(run(), whole(), rtol=1e-4, atol=1e-5)
