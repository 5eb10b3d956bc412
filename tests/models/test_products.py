"""Products by oneDNN: numbers and gradients as PyTorch's, for every shape, and only where they may be used."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from lifelong.models.products import FEWEST_ROWS, QuickLinear, filled_up, mkl_falls_short, product, quicken
from lifelong.studies.bench.products import product_times, products_document

pytestmark = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this PyTorch has no oneDNN")


def pair(bias: bool = True) -> tuple[nn.Linear, nn.Linear]:
    """Two layers with the same weights, the second one quick."""
    torch.manual_seed(0)
    plain = nn.Linear(48, 1600, bias=bias).requires_grad_(False)
    quick = nn.Linear(48, 1600, bias=bias).requires_grad_(False)
    quick.load_state_dict(plain.state_dict())
    assert quicken(nn.Sequential(quick)) == 1
    return plain, quick


@pytest.mark.parametrize("shape", [(1, 48), (27, 48), (28, 48), (3, 50, 48), (2, 7, 31, 48), (1100, 48), (0, 48)])
@pytest.mark.parametrize("bias", [True, False])
def test_states_and_their_gradient_are_those_of_pytorch(shape: tuple[int, ...], bias: bool) -> None:
    plain, quick = pair(bias)
    given = torch.randn(*shape)
    seen = []
    for layer in (plain, quick):
        states = given.clone().requires_grad_()
        out = layer(states)
        (out * torch.linspace(-1, 1, 1600)).sum().backward()
        seen.append((out.detach(), states.grad))
    with torch.no_grad():
        torch.testing.assert_close(quick(given), plain(given), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(seen[1], seen[0], atol=1e-5, rtol=1e-5)


def test_strided_states_and_weights_are_read_as_they_are() -> None:
    states, weight = torch.randn(4, 40, 96)[:, ::2, 48:], torch.randn(48, 80).t()
    torch.testing.assert_close(product(states, weight), states @ weight.t(), atol=1e-5, rtol=1e-5)
    one = torch.randn(1, 48).expand(32, 48)  # as the gradient of a sum is
    torch.testing.assert_close(product(one, weight), one @ weight.t(), atol=1e-5, rtol=1e-5)


def test_a_weight_that_learns_gets_its_gradient() -> None:
    plain, quick = pair()
    states = torch.randn(40, 48)
    for layer in (plain, quick):
        layer.weight.requires_grad_()
        layer(states).square().sum().backward()
    torch.testing.assert_close(quick.weight.grad, plain.weight.grad)


def test_an_exchanged_weight_and_one_changed_in_place_count_at_once() -> None:
    _, quick = pair(bias=False)
    states = torch.randn(40, 48)
    quick._parameters["weight"] = torch.ones(1600, 48)  # type: ignore[assignment]
    torch.testing.assert_close(quick(states), states.sum(1, keepdim=True).expand(40, 1600), atol=1e-4, rtol=1e-4)
    quick.weight.mul_(2)
    torch.testing.assert_close(quick(states), 2 * states.sum(1, keepdim=True).expand(40, 1600), atol=1e-4, rtol=1e-4)


def test_other_types_and_autocast_go_the_usual_way() -> None:
    plain, quick = pair()
    states = torch.randn(40, 48)
    torch.testing.assert_close(quick.double()(states.double()), plain.double()(states.double()))
    plain, quick = pair()
    with torch.autocast("cpu", torch.bfloat16):
        assert quick(states).dtype == torch.bfloat16
        torch.testing.assert_close(quick(states), plain(states))


def test_only_plain_linear_layers_are_changed_and_their_names_stay() -> None:
    class Own(nn.Linear):
        pass

    model = nn.ModuleDict({"plain": nn.Linear(4, 4), "own": Own(4, 4), "norm": nn.LayerNorm(4)})
    names = list(model.state_dict())
    assert quicken(model) == 1 and type(model["own"]) is Own and isinstance(model["plain"], QuickLinear)
    assert list(model.state_dict()) == names


def test_few_numbers_of_rows_are_computed_with() -> None:
    sizes = {filled_up(rows) for rows in range(1, 8193)}
    assert len(sizes) < 64 and all(rows <= filled_up(rows) <= max(rows + 15, 1.25 * rows) for rows in range(1, 8193))
    assert filled_up(FEWEST_ROWS) == FEWEST_ROWS


def test_processors_that_mkl_serves_well_are_left_alone(tmp_path: Path) -> None:
    about = tmp_path / "cpuinfo"
    about.write_text("vendor_id : GenuineIntel\n")
    assert not mkl_falls_short(about) and not mkl_falls_short(tmp_path / "nothing")


def test_the_bench_measures_every_shape_once_and_says_which_way_runs_go() -> None:
    layers = [nn.Linear(32, 64), nn.Linear(32, 64), nn.Linear(64, 32)]
    found = product_times(layers, rows=(16, 20), rounds=2)
    assert [(t.rows, t.wide_in, t.wide_out) for t in found] == [
        (16, 64, 32),
        (20, 64, 32),
        (16, 32, 64),
        (20, 32, 64),
    ]
    assert all(t.gain > 0 for t in found)
    assert "multiply by MKL." in products_document(found, used=False) and "by oneDNN:" in products_document(
        found, used=True
    )
