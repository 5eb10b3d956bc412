"""Losses of many answers at once are those of each answer by itself."""

from __future__ import annotations

import numpy as np
import torch

from lifelong.editing.ops import answer_exact, answer_loss, answer_losses, answers_exact


def answers() -> tuple[list[torch.Tensor], list[np.ndarray]]:
    """Return random logits (m, 7) and targets (m,) of answers of 1 to 4 tokens."""
    source = torch.Generator().manual_seed(0)
    rows = [torch.randn(m, 7, generator=source).requires_grad_() for m in (3, 1, 4, 2)]
    return rows, [np.arange(len(row), dtype=np.int32) for row in rows]


def test_losses_and_gradients_of_rows_together_are_those_of_each_alone() -> None:
    """Every answer counts by the mean over its own tokens, however long others are."""
    rows, ids = answers()
    together = answer_losses(rows, ids)
    alone = torch.stack([answer_loss(row, own) for row, own in zip(rows, ids, strict=True)])
    torch.testing.assert_close(together, alone)
    weights = torch.tensor([1.0, 2.0, 3.0, 4.0])
    for mine, expected in zip(
        torch.autograd.grad(together @ weights, rows), torch.autograd.grad(alone @ weights, rows), strict=True
    ):
        torch.testing.assert_close(mine, expected)


def test_answers_are_exact_only_if_each_is() -> None:
    """One wrong token of one row is enough."""
    rows, ids = answers()
    right = [row.detach().argmax(-1).numpy() for row in rows]
    assert answers_exact(rows, right) and all(map(answer_exact, rows, right))
    right[2][1] = (right[2][1] + 1) % 7
    assert not answers_exact(rows, right)
