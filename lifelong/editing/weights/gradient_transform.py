"""MEND's trained part: from an edit's gradient to a better weight change (arXiv 2110.11309, section 3).

`GradientTransform` belongs to one weight shape, `GradientTransforms` to a region's matrices, with their training.
Knows activations and gradients per token, regions and pools; nothing of what becomes of a change.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lifelong.editing.ops import weight_of
from lifelong.editing.weights.hypernet import Factors, drawer, gradient_factors, lessons_of, losses_of, train_hypernet
from lifelong.editing.weights.regions import Region
from streams.types import Edit, Pool

_TINY = 1e-7


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
        return (tokens - self.mean) / (self.std() + _TINY) if self.count > 0 else tokens


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


@dataclass(frozen=True)
class TransformTraining:
    """How transforms are trained: weights of the losses, learning rates of the transforms and of the matrices' rates,
    clipping, optimiser steps, edits a step."""

    edit_weight: float = 0.1
    local_weight: float = 1.0
    learning_rate: float = 1e-4
    rate_learning_rate: float = 1e-4
    clip: float = 100.0
    steps: int = 1000
    batch: int = 12


class GradientTransforms:
    """The transforms of all matrices of a region, one for each shape; `rate`: each matrix's step untrained."""

    def __init__(self, region: Region, *, rank: float, rate: float, seed: int) -> None:
        self.region = region
        shapes: dict[tuple[int, ...], list[str]] = {}
        for name, module in region.linear().items():
            shapes.setdefault(tuple(weight_of(module).shape), []).append(name)
        self.place = {n: (f"{out}x{wide}", i) for (out, wide), ns in shapes.items() for i, n in enumerate(ns)}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.networks = nn.ModuleDict({
                f"{out}x{wide}": GradientTransform(
                    wide, out, rank=max(1, round(rank * (wide + out))), modes=len(names), rate=-rate
                )
                for (out, wide), names in shapes.items()
            }).to(region.vlm.device).eval().requires_grad_(False)  # fmt: skip

    def fit(
        self, pool: Pool, how: TransformTraining, *, seed: int, what: str, unfinished: Path | None = None
    ) -> None:
        """Train transforms and rates on the pool's edits, each applied alone to the base."""
        lessons = lessons_of(pool, self.region, what)
        rng = np.random.default_rng(np.random.SeedSequence([seed, 0x3E4D]))
        plain: dict[str, Any] = {}
        draw = drawer(lessons, how.batch, rng, plain)

        def loss_of(step: int) -> Tensor:
            chosen = draw()
            losses = losses_of(self.region, self.changes_of([x.edit for x in chosen], what), chosen, rng)
            parts = [how.edit_weight * v for v in losses.same.values()]
            return torch.stack([*parts, *(how.local_weight * v for v in losses.local.values())]).sum()

        rates = [n.rate for n in self.networks.values()]
        rest = [p for n, p in self.networks.named_parameters() if not n.endswith(".rate")]
        optimizer = torch.optim.Adam(
            [{"params": rest}, {"params": rates, "lr": how.rate_learning_rate}], lr=how.learning_rate
        )
        train_hypernet(
            self.region.vlm, self.networks, optimizer, loss_of, steps=how.steps, clip=how.clip,
            share=lambda _: 1.0, rng=rng, plain=plain, unfinished=unfinished, what=what,
        )  # fmt: skip

    def changes_of(self, edits: Sequence[Edit], what: str) -> dict[str, Factors]:
        """Return each edit's change of every weight, from its gradient at the weights of this moment."""
        questions = self.region.questions([e.query for e in edits], [e.target for e in edits])
        found, _ = gradient_factors(self.region, questions, what)
        return self.changes(found)

    def changes(self, found: Mapping[str, Factors]) -> dict[str, Factors]:
        """Return each row's change of every weight: left rate * delta~, right u~, over the tokens kept."""
        out = {}
        for name, f in found.items():
            shape, mode = self.place[name]
            network: Any = self.networks[shape]
            u, delta = network(f.right[f.kept], f.left[f.kept], mode)
            left = torch.zeros_like(f.left).masked_scatter(f.kept[..., None], network.rate[mode] * delta)
            right = torch.zeros_like(f.right).masked_scatter(f.kept[..., None], u)
            out[name] = Factors(left, right, f.kept)
        return out
