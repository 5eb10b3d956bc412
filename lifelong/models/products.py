"""Products of a model's linear layers on processors that MKL does not know how to use.

Knows linear layers and tensors; nothing of models' parts or what they compute. Of processors that are not Intel's,
MKL, which multiplies for PyTorch, uses the instructions of 2013. oneDNN, which PyTorch ships as well, asks the
processor what it can do. Measure it here with `lifelong bench products`.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

FEWEST_ROWS, LEAST_WORK = 8, 2**21  # below so many rows or multiplications, calling costs more than it saves


@cache
def mkl_falls_short(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether this processor has AVX-512 and MKL would not use it; False where the system does not tell."""
    if not torch.backends.mkldnn.is_available() or torch.backends.cpu.get_cpu_capability() != "AVX512":
        return False
    return cpuinfo.is_file() and "GenuineIntel" not in cpuinfo.read_text()


def quicken(model: nn.Module) -> int:
    """Let every plain linear layer of a frozen model multiply by oneDNN and return their number.

    Nothing else about the layers changes: parameters, hooks, what is exchanged in them, devices. A product differs
    from MKL's as one kernel's rounding differs from another's. A layer whose own weight wants a gradient, another
    type than float32, another device and autocast go PyTorch's way.
    """
    layers = [module for module in model.modules() if type(module) is nn.Linear]
    for layer in layers:
        layer.__class__ = QuickLinear
    return len(layers)


class QuickLinear(nn.Linear):
    """`nn.Linear` that multiplies float32 on the CPU by oneDNN where its weight wants no gradient."""

    def forward(self, input: Tensor) -> Tensor:
        """Return input W^T + b, (..., out)."""
        return _quick(input, self.weight, self.bias)


def linear(states: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return states W^T + b, (..., out), by oneDNN where that is quicker on this machine and may be used."""
    return _quick(states, weight, bias) if mkl_falls_short() else functional.linear(states, weight, bias)


def _quick(states: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    learns = torch.is_grad_enabled() and (weight.requires_grad or (bias is not None and bias.requires_grad))
    if learns or not _fits(states, weight):
        return functional.linear(states, weight, bias)
    if torch.is_grad_enabled() and states.requires_grad:
        return _Product.apply(states, weight, bias)  # type: ignore[no-any-return]
    return product(states, weight, bias)


def product(states: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return states W^T + b by oneDNN, without a gradient: (..., in) and (out, in) to (..., out), float32 on a CPU.

    oneDNN compiles a product for each number of rows (about a millisecond) and keeps a thousand, so rows are filled
    up to one of few numbers.
    """
    flat = states.reshape(-1, states.shape[-1])
    rows = len(flat)
    wide = filled_up(rows)
    if wide != rows:
        padded = flat.new_empty(wide, flat.shape[1])
        padded[:rows] = flat
        flat = padded
    out = torch.ops.mkldnn._linear_pointwise(flat, weight, bias, "none", [], "")
    return out[:rows].view(*states.shape[:-1], weight.shape[0])


def filled_up(rows: int) -> int:
    """Return the next number of rows that is computed with: at most 15 more, or a quarter of `rows`."""
    grid = 8 if rows <= 32 else 16 if rows <= 256 else 64 if rows <= 1024 else 256
    return -(-rows // grid) * grid


def _fits(states: Tensor, weight: Tensor) -> bool:
    return (
        states.device.type == "cpu"
        and states.dtype == weight.dtype == torch.float32
        and states.numel() >= FEWEST_ROWS * states.shape[-1]
        and states.numel() * len(weight) >= LEAST_WORK
        and not torch.is_autocast_enabled("cpu")
    )


class _Product(torch.autograd.Function):
    """A product with a fixed weight: the gradient is that of the states alone."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(weight)
        return product(states, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (weight,) = ctx.saved_tensors
        return product(gradient, weight.t()), None, None
