"""Muon (Jordan et al. 2024; scaling of arXiv 2502.16982): momentum, then the nearest orthogonal matrix.

Hidden matrices of one shape are updated together. Everything else belongs to AdamW.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch

from lifelong.models.atlas.train.team import Team

_foreach: Any = torch  # its list-of-tensors functions are not declared


def orthogonal(stack: torch.Tensor, rounds: int = 5) -> torch.Tensor:
    """Newton-Schulz iteration on a stack of matrices (n, rows, columns); singular values end near 1."""
    x = stack.bfloat16()
    turned = x.size(1) > x.size(2)
    if turned:
        x = x.transpose(1, 2)
    x = x / (x.float().norm(dim=(1, 2), keepdim=True).bfloat16() + 1e-7)
    for _ in range(rounds):
        square = x @ x.transpose(1, 2)
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    return (x.transpose(1, 2) if turned else x).to(stack.dtype)


class Muon(torch.optim.Optimizer):
    """Muon with Nesterov momentum and decoupled weight decay; step size `lr * 0.2 * sqrt(longer side)`."""

    def __init__(
        self,
        params: Iterable[torch.Tensor],
        lr: float,
        momentum: float = 0.95,
        decay: float = 0.01,
        team: Team | None = None,
    ) -> None:
        self._team = team or Team()
        super().__init__(params, {"lr": lr, "momentum": momentum, "decay": decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Update every matrix that has a gradient."""
        for group in self.param_groups:
            shapes: dict[torch.Size, list[torch.Tensor]] = defaultdict(list)
            for matrix in group["params"]:
                if matrix.grad is not None:
                    shapes[matrix.shape].append(matrix)
            for shape, matrices in shapes.items():
                self._update(matrices, group, 0.2 * max(shape) ** 0.5)

    def _update(self, matrices: list[torch.Tensor], group: dict, scale: float) -> None:
        gradients = [m.grad for m in matrices if m.grad is not None]
        velocities = []
        for matrix in matrices:
            state = self.state[matrix]
            if not state:
                state["velocity"] = torch.zeros_like(matrix)
            velocities.append(state["velocity"])
        _foreach._foreach_mul_(velocities, group["momentum"])
        _foreach._foreach_add_(velocities, gradients)
        looked_ahead = torch.stack(_foreach._foreach_add(gradients, velocities, alpha=group["momentum"]))
        updates = self._team.map_stack(orthogonal, looked_ahead).unbind(0)
        _foreach._foreach_mul_(matrices, 1 - group["lr"] * group["decay"])
        _foreach._foreach_add_(matrices, list(updates), alpha=-group["lr"] * scale)
