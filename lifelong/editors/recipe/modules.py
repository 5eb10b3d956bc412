"""RECIPE's trained parts: representations, knowledge sentinel, prompt writer (arXiv 2405.03279, section 3).

Knows token states of a frozen encoder; nothing of queries, banks or the model they come from.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


def pooled_features(states: Tensor, seen: Tensor, pooled: Tensor) -> Tensor:
    """Return [pooled; mean; max; min] (n, 4 h) of token states (n, tokens, h) where `seen` (n, tokens) bool holds."""
    mask = seen[..., None]
    mean = (states * mask).sum(1) / mask.sum(1).clamp(min=1)
    most = states.masked_fill(~mask, -torch.inf).amax(1)
    least = states.masked_fill(~mask, torch.inf).amin(1)
    return torch.cat([pooled, mean, most, least], dim=1)


class Residual(nn.Module):
    """y + ReLU(W2 y + b2) with y = W1 x + b1: features to a representation."""

    def __init__(self, wide_in: int, wide_out: int) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(wide_in, wide_out), nn.Linear(wide_out, wide_out)

    def forward(self, x: Tensor) -> Tensor:
        """Return (n, wide_out)."""
        y = self.first(x)
        return y + torch.relu(self.second(y))


class PromptWriter(nn.Module):
    """Continuous prompts reshape(W4 (r + ReLU(W3 r + b3)) + b4) of a knowledge representation r.

    With `answer_tokens` = m every slot gets in addition its own weighted sum of the answer's first m input embeddings
    (a deviation: see the editor).
    """

    def __init__(self, rep: int, tokens: int, d: int, answer_tokens: int) -> None:
        super().__init__()
        self.tokens, self.d = tokens, d
        self.first, self.second = nn.Linear(rep, rep), nn.Linear(rep, tokens * d)
        self.copy = nn.Parameter(torch.zeros(tokens, answer_tokens)) if answer_tokens else None
        if self.copy is None:
            return
        # It begins as the answer's own embeddings before the last slot, with next to nothing of the representation:
        # noise of an embedding's size would drown them, and nothing is learnt (reports/LOG.md).
        shared = min(answer_tokens, tokens - 1)
        with torch.no_grad():
            self.second.weight *= 0.01
            self.copy[tokens - 1 - shared : tokens - 1, :shared] = torch.eye(shared)

    def forward(self, rep: Tensor, answers: Tensor | None = None) -> Tensor:
        """Return (n, tokens, d) from representations (n, rep) and answer embeddings (n, m, d)."""
        written = self.second(rep + torch.relu(self.first(rep))).view(-1, self.tokens, self.d)
        if self.copy is not None and answers is not None:
            written = written + torch.einsum("ta,nad->ntd", self.copy, answers)
        return written


class RecipeModules(nn.Module):
    """Everything that `fit` trains: `features` wide inputs, `rep` wide representations, `d` the model's width."""

    def __init__(
        self, features: int, h: int, *, rep: int, d: int, prompt_tokens: int, sentinel_tokens: int, answer_tokens: int
    ) -> None:
        super().__init__()
        self.rep, self.features = rep, features
        self.knowledge, self.query = Residual(features, rep), Residual(features, rep)
        self.prompt = PromptWriter(rep, prompt_tokens, d, answer_tokens)
        self.prototype = nn.Parameter(nn.init.normal_(torch.empty(sentinel_tokens, h)))

    def sentinel(self) -> Tensor:
        """Return the knowledge sentinel (1, rep): the representation of a text that was never written."""
        states = self.prototype[None]
        seen = torch.ones(states.shape[:2], dtype=torch.bool, device=states.device)
        x = pooled_features(states, seen, states[:, -1])
        return self.knowledge(torch.cat([x, x.new_zeros(1, self.features - x.shape[1])], dim=1))

    def scores(self, queries: Tensor, knowledge: Tensor) -> Tensor:
        """Return (n, m) inner products of representations, over the root of their width."""
        return queries @ knowledge.T / math.sqrt(self.rep)
