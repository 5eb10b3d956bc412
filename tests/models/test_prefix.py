"""A descent that changes nothing before the last prompt token reads what stands before it once."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from lifelong.models.passes import forward
from lifelong.models.passes.layout import Layout
from lifelong.models.passes.prefix import Prefix
from lifelong.models.vlm import VLM
from streams.types import Query


def writing(value: Tensor) -> Callable[..., Tensor]:
    """A hook that puts a value at the last prompt token, as GRACE does."""

    def write(_: object, args: tuple, output: Tensor, layout: Layout) -> Tensor:
        changed = output.clone()
        changed[0, layout.last_prompt[0]] = value
        return changed

    return write


def steps(vlm: VLM, query: Query, layer: int, *, late: bool) -> tuple[list[tuple[Tensor, Tensor]], list[int], dict]:
    """Return (logits, gradient) of four steps of a descent, the tokens that the last layer met, and the memo."""
    hidden = vlm.hidden([query], layer, ["a big dog"])
    value = torch.linspace(-1, 1, vlm.width).requires_grad_()
    met: list[int] = []
    handle = vlm.decoder_layer(vlm.layers - 1).self_attn.q_proj.register_forward_hook(  # type: ignore[union-attr,operator]
        lambda module, args, output: met.append(args[0].shape[1])
    )
    out = []
    try:
        for _ in range(4):
            with vlm.hook(vlm.submodule(layer, "mlp.down_proj"), writing(value), pointwise=True, late=late):
                logits = vlm.resume(hidden, grad=True, answers_only=True)[0]
            (gradient,) = torch.autograd.grad(logits.logsumexp(-1).square().mean(), [value])
            out.append((logits.detach(), gradient))
            with torch.no_grad():
                value.sub_(0.1 * gradient)
    finally:
        handle.remove()
    return out, met, hidden.memo[0]


@pytest.mark.parametrize("layer", [0, 1, 2])
@pytest.mark.parametrize("row", [1, 5])
def test_logits_and_gradients_are_those_of_the_whole_pass(
    tiny_vlm: VLM, tiny_queries: list[Query], layer: int, row: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a picture and without, from every layer; from the second step on the target's tokens alone are read."""
    monkeypatch.setattr(forward, "LEAST_SAVED", 0)
    quick, few, memo = steps(tiny_vlm, tiny_queries[row], layer, late=True)
    slow, whole, _ = steps(tiny_vlm, tiny_queries[row], layer, late=False)
    assert isinstance(memo["prefix"], Prefix)
    answer = len(tiny_vlm.target_ids("a big dog"))
    assert few == [whole[0], *[answer + 1] * 5] and whole == [whole[0]] * 4 and whole[0] > 2 * answer
    for (logits, gradient), (true, expected) in zip(quick, slow, strict=True):
        torch.testing.assert_close(logits, true, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(gradient, expected, rtol=1e-3, atol=1e-6)
    assert not torch.allclose(quick[0][0], quick[3][0], atol=1e-3)  # the descent moved


def test_a_small_model_gives_what_it_always_gave(tiny_vlm: VLM, tiny_queries: list[Query]) -> None:
    """Bit for bit: where little would be saved the whole pass is run."""
    quick, _, memo = steps(tiny_vlm, tiny_queries[1], 1, late=True)
    slow, _, _ = steps(tiny_vlm, tiny_queries[1], 1, late=False)
    assert memo["prefix"] is None
    assert all(torch.equal(a, b) for one, two in zip(quick, slow, strict=True) for a, b in zip(one, two, strict=True))


def test_a_model_that_reads_otherwise_with_a_cache_is_read_whole(
    tiny_vlm: VLM, tiny_queries: list[Query], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first step computes both; here attention is told that what was read before does not count."""
    monkeypatch.setattr(forward, "LEAST_SAVED", 0)
    monkeypatch.setattr(Prefix, "cache", lambda self: _emptied(self))
    quick, met, memo = steps(tiny_vlm, tiny_queries[1], 1, late=True)
    slow, _, _ = steps(tiny_vlm, tiny_queries[1], 1, late=False)
    assert memo["prefix"] is None and met[-1] == met[0]
    assert all(torch.equal(a[0], b[0]) for a, b in zip(quick, slow, strict=True))


def _emptied(prefix: Prefix) -> object:
    past = _cache(prefix)
    for layer in past.layers:
        layer.keys, layer.values = torch.zeros_like(layer.keys), torch.zeros_like(layer.values)
    return past


_cache = Prefix.cache


def test_with_any_other_change_the_whole_pass_is_run(
    tiny_vlm: VLM, tiny_queries: list[Query], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where a prefix was learnt before: a change in earlier tokens reaches every key and value."""
    monkeypatch.setattr(forward, "LEAST_SAVED", 0)
    hidden = tiny_vlm.hidden(tiny_queries[:1], 1, ["x"])
    value = torch.zeros(tiny_vlm.width)

    def run() -> Tensor:
        return tiny_vlm.resume(hidden, grad=True, answers_only=True)[0].detach()

    with tiny_vlm.hook(tiny_vlm.submodule(1, "mlp.down_proj"), writing(value), late=True):
        first = run()
        assert isinstance(hidden.memo[0]["prefix"], Prefix)
        weight = tiny_vlm.submodule(2, "mlp.down_proj").weight
        with tiny_vlm.swap({tiny_vlm.name_of(weight): weight * 2}):  # type: ignore[arg-type,operator]
            fresh = tiny_vlm.hidden(tiny_queries[:1], 1, ["x"])
            torch.testing.assert_close(run(), tiny_vlm.resume(fresh, answers_only=True)[0], rtol=1e-4, atol=1e-5)
            assert not torch.allclose(run(), first, atol=1e-3)
        torch.testing.assert_close(run(), first, rtol=1e-4, atol=1e-5)
