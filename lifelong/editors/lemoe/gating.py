"""LEMoE's arithmetic: which edits share an expert, which experts serve, and the whitening (arXiv 2406.20030).

Knows arrays only.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def clustered(values: np.ndarray, size: int, seed: int, rounds: int = 10) -> list[list[int]]:
    """Return the rows of values (n, width) in groups of at most `size`: k-means in which no cluster overflows.

    A row whose nearest centre is full goes to the nearest one with room; the row that is surest chooses first.
    """
    n, count = len(values), -(-len(values) // size)
    centres = values[np.random.default_rng(seed).choice(n, count, replace=False)]
    groups: list[list[int]] = []
    for _ in range(rounds):
        gaps = ((values[:, None] - centres[None]) ** 2).sum(-1)  # (n, count)
        groups = [[] for _ in range(count)]
        for row in np.argsort(gaps.min(1), kind="stable").tolist():
            group = next(g for g in np.argsort(gaps[row], kind="stable").tolist() if len(groups[g]) < size)
            groups[group].append(row)
        moved = np.stack([values[g].mean(0) if g else c for g, c in zip(groups, centres, strict=True)])
        if np.array_equal(moved, centres):
            break
        centres = moved
    return [sorted(group) for group in groups if group]


def gates(scores: Tensor, top_k: int) -> tuple[Tensor, Tensor]:
    """Return the numbers and gates, (n, k) each, of the top k experts: a softmax over all, not renormalised."""
    shares = scores.softmax(-1)
    best = scores.topk(min(top_k, scores.shape[-1]), dim=-1).indices
    return best, shares.gather(-1, best)


def whitening(inputs: Tensor, shrink: float) -> tuple[Tensor, Tensor]:
    """Return the mean (width,) of inputs (n, width) and the matrix that whitens their differences from it."""
    mean = inputs.mean(0)
    values, vectors = torch.linalg.eigh(torch.cov(inputs.T))
    values = values.clamp_min(0)
    floor = shrink * values.mean() + 1e-12
    return mean, vectors @ torch.diag((values + floor).rsqrt()) @ vectors.T
