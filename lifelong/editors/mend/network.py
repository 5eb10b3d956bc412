"""MEND's trained part: the gradient transform of one weight shape (arXiv 2110.11309, section 3).

Knows activations and gradients per token; nothing of models, edits or where they come from.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

TINY = 1e-7


class RunningMoments(nn.Module):
    """Mean and standard deviation per feature of all tokens seen so far, by Welford's rule for groups."""

    mean: Tensor
    squares: Tensor
    count: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("squares", torch.zeros(features))
        self.register_buffer("count", torch.zeros(()))

    def see(self, tokens: Tensor) -> None:
        """Take in tokens (n, features)."""
        if not len(tokens):
            return
        mean, n = tokens.mean(0), len(tokens)
        total = self.count + n
        gap = mean - self.mean
        self.squares += (tokens - mean).square().sum(0) + gap.square() * self.count * n / total
        self.mean += gap * n / total
        self.count.copy_(total)

    def std(self) -> Tensor:
        """Return the sample standard deviation (features,)."""
        return (self.squares / (self.count - 1).clamp(min=1)).sqrt()

    def forward(self, tokens: Tensor) -> Tensor:
        """Return z-scored tokens; as they are before any was seen."""
        return (tokens - self.mean) / (self.std() + TINY) if self.count > 0 else tokens


class LowRankLayer(nn.Module):
    """x + max(0, scale_m * (A B x + b) + shift_m): the identity at the beginning, since A, b and shift are 0."""

    def __init__(self, features: int, rank: int, modes: int) -> None:
        super().__init__()
        self.up = nn.Parameter(torch.zeros(features, rank))
        self.down = nn.Parameter(torch.randn(rank, features))
        self.bias = nn.Parameter(torch.zeros(features))
        self.scale = nn.Parameter(torch.ones(modes, features))
        self.shift = nn.Parameter(torch.zeros(modes, features))

    def forward(self, x: Tensor, mode: int) -> Tensor:
        """Return tokens (n, features) changed for the weight matrix number `mode` among those of this shape."""
        change = self.scale[mode] * (x @ self.down.T @ self.up.T + self.bias) + self.shift[mode]
        return x + change.clamp(min=0)  # unlike relu, clamp has a gradient at 0, where every entry begins


class GradientTransform(nn.Module):
    """g: (u, delta) -> (u~, delta~) of one shape (out, in), shared by the weight matrices of that shape (Eq. 3).

    Both are z-scored by running moments, joined, and taken through two low-rank residual layers; `rate` is the
    learned step of each matrix. Moments move in training mode only, before they are used.
    """

    def __init__(self, wide_in: int, wide_out: int, *, rank: int, modes: int, rate: float, layers: int = 2) -> None:
        super().__init__()
        self.inputs, self.gradients = RunningMoments(wide_in), RunningMoments(wide_out)
        self.layers = nn.ModuleList(LowRankLayer(wide_in + wide_out, rank, modes) for _ in range(layers))
        self.rate = nn.Parameter(torch.full((modes,), rate))

    def forward(self, u: Tensor, delta: Tensor, mode: int) -> tuple[Tensor, Tensor]:
        """Return u~ (tokens, in) and delta~ (tokens, out)."""
        if self.training:
            self.inputs.see(u)
            self.gradients.see(delta)
        x = torch.cat([self.inputs(u), self.gradients(delta)], dim=-1)
        for layer in self.layers:
            x = layer(x, mode)
        return x.split([u.shape[-1], delta.shape[-1]], dim=-1)  # type: ignore[return-value]
