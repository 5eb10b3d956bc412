"""RECIPE's contrastive losses as pure functions of scores (arXiv 2405.03279, section 3.4). Knows no module."""

from __future__ import annotations

import torch
from torch import Tensor

_TINY = 1e-8
_MARGIN = 1.2


def own_knowledge(scores: Tensor, sentinel: Tensor) -> Tensor:
    """Return the loss of finding one's own knowledge among B others (B, B) and the sentinel (B,)."""
    p = torch.cat([scores, sentinel[:, None]], dim=1).softmax(1)
    return -(p.diagonal() + _TINY).log().mean()


def own_missing(scores: Tensor, sentinel: Tensor) -> Tensor:
    """Return the loss of preferring the sentinel (B,) to the others (B, B) when one's own knowledge is not there."""
    without = torch.where(torch.eye(len(scores), dtype=torch.bool, device=scores.device), sentinel[:, None], scores)
    p = without.softmax(1)
    return _unsure(p, p.diagonal())


def nothing_known(scores: Tensor, sentinel: Tensor) -> Tensor:
    """Return the loss of preferring the sentinel (n,) to all knowledge (n, B) for questions out of every scope."""
    p = torch.cat([scores, sentinel[:, None]], dim=1).softmax(1)
    return _unsure(p, p[:, -1])


def _unsure(p: Tensor, own: Tensor) -> Tensor:
    """Return -mean log `own` over the rows where it is below 1.2 times the row's second probability; 0 if none."""
    if p.shape[1] < 2:
        return own.sum() * 0
    counted = own < _MARGIN * p.topk(2, dim=1).values[:, 1]
    losses = torch.where(counted, -(own + _TINY).log(), torch.zeros_like(own))
    return losses.sum() / counted.sum().clamp(min=1)
