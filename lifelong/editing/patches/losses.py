"""Where a new neuron should fire and where not: T-Patcher's losses (arXiv 2301.09785).

Knows pre-activations only. The published forms (`exp`, `margin`, `expmargin`; the largest or all) are one class.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Form = Literal["exp", "margin", "expmargin"]


@dataclass(frozen=True)
class Penalty:
    """Mean of the `top` largest penalties (None: all) of numbers that should be below `-margin`.

    `exp` is exp of every value, `margin` the positive values, `expmargin` exp of the positive values.
    """

    form: Form = "exp"
    margin: float = 0.0
    top: int | None = None

    def of(self, values: Tensor) -> Tensor:
        """Return the penalty of values of any shape: a scalar, 0 where there are none."""
        flat = values.reshape(-1) + self.margin
        if self.form != "exp":
            flat = flat[flat > 0]
        if not len(flat):
            return values.sum() * 0
        if self.top is not None and len(flat) > self.top:
            flat = flat.topk(self.top, sorted=False).values  # exp keeps the order
        return (flat if self.form == "margin" else flat.exp()).mean()


ACTIVE = Penalty(top=5)
_SILENT = Penalty(margin=3.0, top=1000)


def activation_loss(acts: Tensor, penalty: Penalty = ACTIVE) -> Tensor:
    """Return the loss of neurons that do not fire on their own tokens: pre-activations (batch, n)."""
    return penalty.of(-acts)


def memory_loss(stored: Tensor, acts: Tensor, relative: Penalty = _SILENT, absolute: Penalty = _SILENT) -> Tensor:
    """Return the loss of neurons that fire on stored states: pre-activations (m, n) there, (batch, n) at home.

    One term compares with the activation at home, one wants silence.
    """
    every = stored[:, None].expand(-1, len(acts), -1)
    return relative.of(every - acts[None]) + absolute.of(every)


def heard(stored: Tensor, acts: Tensor, relative: Penalty = _SILENT, absolute: Penalty = _SILENT) -> Tensor:
    """Return the stored states, by number, that `memory_loss` depends on: it looks at the largest penalties only."""
    if len(acts) != 1 or relative.top is None or absolute.top is None:
        return torch.arange(len(stored), device=stored.device)
    terms = (stored - acts, relative.top), (stored, absolute.top)
    found = [values.reshape(-1).topk(min(top, values.numel())).indices for values, top in terms]
    return (torch.cat(found) // stored.shape[1]).unique()
