"""Low-rank residuals beside a module, a different one for every row of a batch: made, and added by a hook.

Knows tensors and layouts; nothing of edits, routing or where the residuals come from.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from lifelong.models.passes.layout import Layout


def fresh_factors(rank: int, width_in: int, width_out: int, source: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return down (rank, width_in), uniform as linear layers begin, and up (width_out, rank), zero: no change yet."""
    bound = 1 / math.sqrt(width_in)
    down = (torch.rand(rank, width_in, generator=source) * 2 - 1) * bound
    return down, torch.zeros(width_out, rank)


def residual(states: Tensor, down: Tensor, up: Tensor, weights: Tensor, act: Callable[[Tensor], Tensor]) -> Tensor:
    """Return sum_k weights_k up_k act(down_k x), all rows and experts at once: (rows, tokens, out).

    `states` (rows, tokens, in), `down` (rows, k, rank, in), `up` (rows, k, out, rank), `weights` (rows, k).
    """
    rows, k, rank, _ = down.shape
    inner = act(states @ down.flatten(1, 2).mT).unflatten(-1, (k, rank))  # (rows, tokens, k, rank)
    inner = (inner * weights[:, None, :, None]).flatten(2)
    return inner @ up.transpose(1, 2).flatten(2).mT  # up as (rows, out, k rank)


def adder(
    down: Tensor,
    up: Tensor,
    experts: Tensor,
    weights: Tensor,
    act: Callable[[Tensor], Tensor] = lambda x: x,
) -> Callable[..., Any]:
    """Return a hook that adds to a module's output the residual of its input, at every token and decode step.

    `down` (n, rank, in) and `up` (n, out, rank) are n experts; row r of the answered prompts gets those numbered
    `experts[r]` (rows, k), each times `weights[r]` (rows, k); a row without a weight is left as it is.
    """

    def add(module: Any, args: tuple[Any, ...], output: Tensor, layout: Layout) -> Tensor | None:
        rows = layout.rows.to(weights.device)
        here = (weights[rows] != 0).any(1).nonzero().squeeze(1)
        if not len(here):
            return None
        picked = experts[rows[here]]
        states = args[0][here.to(args[0].device)].to(down.dtype)
        extra = residual(states, down[picked], up[picked], weights[rows[here]], act).to(output.dtype)
        return output.index_add(0, here.to(output.device), extra)

    return add
