"""UniKE's two encoders of hidden states and the contrastive losses they are trained with (arXiv 2409.19872).

Knows tensors only. The semantic space puts a question near its true and its false answer, whatever their truth; the
truthfulness space puts true answers together and away from false ones, whatever they are about.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lifelong.editing.ops import NotFiniteError
from lifelong.editing.training import steps_of


class Encoder(nn.Module):
    """A perceptron of two layers: W2 ReLU(W1 x + b1) + b2, (..., width) to (..., width)."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.inner = nn.Linear(width, inner)
        self.outer = nn.Linear(inner, width)

    def forward(self, states: Tensor) -> Tensor:
        """Return encoded states."""
        return self.outer(torch.relu(self.inner(states)))


def semantic_loss(anchors: Tensor, positives: Tensor, negatives: Tensor, temperature: float) -> Tensor:
    """Return the loss of finding each question's own answers among those of all questions.

    Anchors are questions as they are, positives and negatives encoded true and false answers, each (n, width).
    """
    anchors = F.normalize(anchors, dim=-1)
    home = torch.arange(len(anchors), device=anchors.device)
    total = anchors.new_zeros(())
    for answers in (positives, negatives):
        near = anchors @ F.normalize(answers, dim=-1).T / temperature
        total = total + F.cross_entropy(near, home) + F.cross_entropy(near.T, home)
    return total / 4


def truthful_loss(positives: Tensor, negatives: Tensor, temperature: float) -> Tensor:
    """Return the loss of telling true (n, width) from false answers (n, width): like attracts like, unlike repels."""
    every = F.normalize(torch.cat([positives, negatives]), dim=-1)
    truth = torch.arange(len(every), device=every.device) < len(positives)
    near = every @ every.T / temperature
    near = near.masked_fill(torch.eye(len(every), dtype=torch.bool, device=every.device), float("-inf"))
    chances = near.log_softmax(-1)
    alike = (truth[:, None] == truth[None]) & ~torch.eye(len(every), dtype=torch.bool, device=every.device)
    return -(chances.masked_fill(~alike, 0.0).sum(-1) / alike.sum(-1).clamp(min=1)).mean()


def train_encoders(
    semantic: Encoder,
    truthful: Encoder,
    h_sem: Tensor,
    h_pos: Tensor,
    h_neg: Tensor,
    *,
    steps: int,
    batch: int,
    rate: float,
    temperature: float,
    rng: torch.Generator,
    what: str = "fit unike",
    unfinished: Path | None = None,
) -> tuple[float, float]:
    """Train both encoders in place on triplets, each (n, width), and return their last losses."""
    modules = nn.ModuleList([semantic, truthful]).requires_grad_(True)
    optimizer = torch.optim.Adam(modules.parameters(), lr=rate)
    plain: dict[str, Any] = {"losses": (0.0, 0.0)}
    for step in steps_of(
        steps,
        what=what,
        tensors=modules.state_dict,
        optimizers=[optimizer],
        rng=rng,
        plain=plain,
        unfinished=unfinished,
    ):
        at = torch.randperm(len(h_sem), generator=rng)[:batch]
        meaning = semantic_loss(h_sem[at], semantic(h_pos[at]), semantic(h_neg[at]), temperature)
        truth = truthful_loss(truthful(h_pos[at]), truthful(h_neg[at]), temperature)
        loss = meaning + truth
        if not bool(torch.isfinite(loss)):
            raise NotFiniteError(f"unike: the contrastive loss is {float(loss)} at step {step}; lower fit_rate.")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        plain["losses"] = float(meaning.detach()), float(truth.detach())
    modules.requires_grad_(False)
    meant, true = plain["losses"]
    return meant, true
