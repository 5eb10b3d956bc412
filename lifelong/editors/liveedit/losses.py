"""LiveEdit's routing losses as pure functions of score matrices (arXiv 2411.15432, Eqs. 7-12). Knows no module."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

_TINY = 1e-8


def soft_relative(scores: Tensor) -> Tensor:
    """Return the InfoNCE loss of text scores (n, n) whose diagonal pairs belong together."""
    return -(scores.softmax(1).diagonal() + _TINY).log().mean()


def soft_absolute(scores: Tensor) -> Tensor:
    """Return -log sigmoid(positive) - log(1 - sigmoid(negative)); the negative is the previous row's partner."""
    gate = torch.sigmoid(scores)
    n = len(scores)
    rows = torch.arange(n, device=scores.device)
    negative = gate[rows, (rows - 1) % n]
    return -((gate.diagonal() + _TINY).log() + (1 - negative + _TINY).log()).mean()


def hard_neighbour(scores: Tensor, sentinel: Tensor) -> Tensor:
    """Return the loss of picking one's own edit among n candidates (n, n) and the sentinel (n,)."""
    chosen = torch.cat([scores, sentinel[:, None]], dim=1).softmax(1)
    return -(chosen.diagonal() + _TINY).log().mean()


def hard_prototype(scores: Tensor, sentinel: Tensor) -> Tensor:
    """Return the loss of picking the sentinel (n,) although m edits (n, m) are offered."""
    chosen = torch.cat([scores, sentinel[:, None]], dim=1).softmax(1)
    return -(chosen[:, -1] + _TINY).log().mean()


def reverse_divergence(edited: Tensor, original: Tensor) -> Tensor:
    """Return KL(edited || original) per position of logits (positions, vocabulary), as the published code has it."""
    p, q = F.log_softmax(edited.float(), -1), F.log_softmax(original.float(), -1)
    return (p.exp() * (p - q)).sum(-1)
