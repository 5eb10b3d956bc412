"""KE's trained part: from words about an edit to a gated rank-1 mask and shift of each gradient (arXiv 2104.08164).

Knows token embeddings and gradients as sums of outer products; nothing of models, edits or where they come from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm
from torch.nn.utils.rnn import pack_sequence

from lifelong.editing.weights.hypernet import Factors


class Condition(nn.Module):
    """A bidirectional LSTM over token embeddings, its two last states, and a tanh layer: (rows, condition)."""

    def __init__(self, width: int, *, hidden: int, condition: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(width, hidden, batch_first=True, bidirectional=True)
        self.out = nn.Linear(2 * hidden, condition)

    def forward(self, sentences: Sequence[Tensor]) -> Tensor:
        """Return one condition per sentence of embeddings (tokens, width)."""
        packed = pack_sequence(list(sentences), enforce_sorted=False)
        _, (last, _) = self.lstm(packed)
        return torch.tanh(self.out(torch.cat([last[0], last[1]], dim=-1)))


class GradientHead(nn.Module):
    """The change of one weight matrix W (out, in), section 3.2 of the paper.

    dW = max_scale sigmoid(eta) (grad W * softmax(alpha) gamma^T + softmax(beta) delta^T) with alpha, beta (out,),
    gamma, delta (in,) and a scalar eta read off the condition. A sum of outer products stays one, with a term more.
    """

    def __init__(self, wide_in: int, wide_out: int, *, condition: int, hidden: int, max_scale: float) -> None:
        super().__init__()
        self.sizes = [wide_out, wide_in, wide_out, wide_in, 1]
        self.max_scale = max_scale
        self.read = nn.Sequential(
            weight_norm(nn.Linear(condition, hidden)), nn.Tanh(), weight_norm(nn.Linear(hidden, sum(self.sizes)))
        )

    def parts(self, condition: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Return softmax(alpha), gamma, softmax(beta), delta and max_scale sigmoid(eta), each (rows, ...)."""
        alpha, gamma, beta, delta, eta = self.read(condition).split(self.sizes, dim=-1)
        return alpha.softmax(-1), gamma, beta.softmax(-1), delta, self.max_scale * torch.sigmoid(eta)

    def forward(self, gradient: Factors, condition: Tensor) -> Factors:
        """Return each row's dW from its gradient and condition."""
        mask_out, mask_in, shift_out, shift_in, gate = self.parts(condition)
        left = torch.cat([gradient.left * mask_out[:, None], shift_out[:, None]], dim=1) * gate[:, None]
        right = torch.cat([gradient.right * mask_in[:, None], shift_in[:, None]], dim=1)
        kept = torch.cat([gradient.kept, torch.ones_like(gradient.kept[:, :1])], dim=1)
        return Factors(left, right, kept)


class Hypernetwork(nn.Module):
    """One condition per edit and one head per weight matrix; `shapes` are (out, in) by name."""

    def __init__(
        self,
        width: int,
        shapes: Mapping[str, tuple[int, int]],
        *,
        hidden: int,
        condition: int,
        head: int,
        max_scale: float,
    ) -> None:
        super().__init__()
        self.names = list(shapes)
        self.condition = Condition(width, hidden=hidden, condition=condition)
        self.heads = nn.ModuleList(
            GradientHead(wide, out, condition=condition, hidden=head, max_scale=max_scale)
            for out, wide in shapes.values()
        )

    def forward(self, gradients: Mapping[str, Factors], sentences: Sequence[Tensor]) -> dict[str, Factors]:
        """Return each row's change of every weight."""
        condition = self.condition(sentences)
        return {name: head(gradients[name], condition) for name, head in zip(self.names, self.heads, strict=True)}


def size_of(factors: Factors) -> Tensor:
    """Return each row's Frobenius norm of sum_t left_t right_t^T, (rows,), without making the matrix."""
    left = factors.left @ factors.left.transpose(1, 2)
    right = factors.right @ factors.right.transpose(1, 2)
    return (left * right).sum((1, 2)).clamp(min=1e-20).sqrt()
