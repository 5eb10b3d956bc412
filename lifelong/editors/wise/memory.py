"""WISE's arithmetic: activation distances, hinge losses, masks, the choice of a memory, TIES merging.

Knows tensors only; arXiv 2405.14768, section 2.3. A memory is its change of the weight, W' - W, (out, in).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

DistanceActivation = Literal["none", "silu"]
LONG = 100
"""Beyond so many tokens the largest distance stands for a sequence, as in the released code."""


@dataclass(frozen=True, eq=False)
class SideMemory:
    """A side memory: its change of the weight (out, in), its edits, and the least distance seen after one of them.

    `shards` is how many frozen shards were merged into it (1: one that was not merged, 0: the live one).
    """

    change: Tensor
    members: tuple[str, ...] = ()
    least: float = float("inf")
    revision: int = 0
    shards: int = 0


def token_distances(change: Tensor, original: Tensor | None, activation: DistanceActivation) -> Tensor:
    """Return how far a memory moves each token's output: (..., tokens) of changes (..., tokens, out).

    `original` are the unedited outputs of the same shape, which only an activation needs.
    """
    if activation == "none":
        return torch.linalg.vector_norm(change, dim=-1)
    if original is None:
        raise ValueError("An activation compares outputs, so it needs the original ones.")
    return torch.linalg.vector_norm(F.silu(original + change) - F.silu(original), dim=-1)


def sequence_distance(tokens: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return the mean over the tokens that a mask (..., tokens) lets through, the largest for long sequences."""
    if mask is None:
        return tokens.amax(-1) if tokens.shape[-1] > LONG else tokens.mean(-1)
    return (tokens * mask).sum(-1) / mask.sum(-1)


def hinge(inside: Tensor, outside: Tensor, alpha: float, beta: float, gamma: float) -> Tensor:
    """Return the activation loss of movements of edits (n,) and of unrelated queries (m,), in all pairs.

    Unrelated ones should stay below alpha, edits above beta, and each edit gamma above each unrelated query; every
    term is the mean over its violations only.
    """
    terms = (outside - alpha, beta - inside, outside[None] - inside[:, None] + gamma)
    losses = [term[term > 0].mean() for term in terms if bool((term > 0).any())]
    return torch.stack(losses).sum() if losses else inside.sum() * 0


def subspace(shape: torch.Size, share: float, source: torch.Generator) -> Tensor:
    """Return a random mask of a weight: 1 for about `share` of its elements, 0 elsewhere."""
    return (torch.rand(shape, generator=source) < share).float()


def ties(changes: Sequence[Tensor], density: float, weights: Sequence[float]) -> Tensor:
    """Return the TIES merge of changes: each is trimmed to its largest elements, a sign is elected by the weighted
    sum, and the weighted mean of the elements that agree with it is taken.
    """
    stack = []
    for change, weight in zip(changes, weights, strict=True):
        flat = change.flatten()
        kept = torch.zeros_like(flat)
        top = flat.abs().topk(int(density * flat.numel())).indices
        kept[top] = flat[top] * weight
        stack.append(kept.view_as(change))
    trimmed = torch.stack(stack)
    elected = torch.where(trimmed.sum(0) < 0, -1.0, 1.0)
    agrees = (trimmed.sign() == elected).to(trimmed.dtype)
    shares = torch.tensor(list(weights), dtype=trimmed.dtype, device=trimmed.device)[:, None, None]
    total = (agrees * shares).sum(0)
    return (trimmed * agrees).sum(0) / torch.where(total > 0, total, torch.ones_like(total))


def choose_memory(distances: Tensor, limits: Tensor) -> Tensor:
    """Return which memory serves each query, -1 for none: distances (queries, memories) and their limits (memories,).

    The first memory is the live one and serves from its limit on; a later one takes over where it moves the query
    farther than those before it and beyond its own limit.
    """
    best = distances[:, 0]
    chosen = torch.where(best >= limits[0], 0, -1)
    for j in range(1, distances.shape[1]):
        over = (distances[:, j] > best) & (distances[:, j] > limits[j])
        best, chosen = torch.where(over, distances[:, j], best), torch.where(over, j, chosen)
    return chosen
