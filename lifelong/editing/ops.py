"""Tensor machinery that several editors share: seeded noise, the loss of an answer, descent with early stop.

Knows nothing of any editor, of queries or of routing.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lifelong.editing.contract import CollapseError


class NotFiniteError(CollapseError):
    """A loss or a weight became infinite or not a number."""


def generator(seed: int, edit_id: str) -> torch.Generator:
    """Return a CPU generator that depends on the run's seed and the edit only, not on what came before."""
    digest = hashlib.sha256(f"{seed}\x1f{edit_id}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))


def bytes_of(tensors: Iterable[Tensor]) -> int:
    """Return how many bytes the elements of some tensors take."""
    return sum(t.numel() * t.element_size() for t in tensors)


def finite(tensor: Tensor) -> bool:
    """Return whether every element is a number: one pass for a sum; a sum that overflows is looked at closely.

    >>> finite(torch.tensor([3e38, 3e38])), finite(torch.tensor([0.0, math.nan]))
    (True, False)
    """
    return math.isfinite(float(tensor.detach().sum())) or bool(torch.isfinite(tensor).all())


def weight_of(module: nn.Module) -> nn.Parameter:
    """Return the (out, in) weight of a linear module; raises `ValueError` for a module without one."""
    weight = getattr(module, "weight", None)
    if not isinstance(weight, nn.Parameter) or weight.dim() != 2:
        raise ValueError(
            f"This editor needs a linear module with a weight of two dimensions; given {type(module).__name__}. "
            "Set editor.module to one such as mlp.down_proj."
        )
    return weight


def _labels(target_ids: np.ndarray, logits: Tensor) -> Tensor:
    return torch.as_tensor(np.asarray(target_ids), dtype=torch.long, device=logits.device)


def answer_loss(logits: Tensor, target_ids: np.ndarray) -> Tensor:
    """Return the mean negative log-likelihood of target tokens (m,) under logits (m, vocab): a scalar, in nats."""
    return F.cross_entropy(logits.float(), _labels(target_ids, logits))


def answer_exact(logits: Tensor, target_ids: np.ndarray) -> bool:
    """Return whether every target token (m,) is the most likely one under logits (m, vocab)."""
    return bool((logits.argmax(-1) == _labels(target_ids, logits)).all())


def answer_losses(rows: Sequence[Tensor], target_ids: Sequence[np.ndarray]) -> Tensor:
    """Return `answer_loss` of every row, (rows,), in one go: logits (m, vocab) and targets (m,), m a row's own."""
    labels = _labels(np.concatenate(target_ids), rows[0])
    nll = F.cross_entropy(torch.cat(list(rows)).float(), labels, reduction="none")
    counts = torch.tensor([len(ids) for ids in target_ids], device=nll.device)
    owner = torch.arange(len(counts), device=nll.device).repeat_interleave(counts)
    return nll.new_zeros(len(counts)).index_add(0, owner, nll) / counts


def answers_exact(rows: Sequence[Tensor], target_ids: Sequence[np.ndarray]) -> bool:
    """Return whether `answer_exact` holds for every row."""
    return answer_exact(torch.cat(list(rows)), np.concatenate(target_ids))


@dataclass(frozen=True)
class Descent:
    """How an optimisation ended: steps taken, the last loss seen (nats), whether the early stop was reached."""

    steps: int
    loss: float
    stopped: bool


def descend(
    optimizer: torch.optim.Optimizer,
    loss_of: Callable[[], Tensor],
    *,
    steps: int,
    done: Callable[[float], bool],
    what: str,
    after: Callable[[], None] | None = None,
) -> Descent:
    """Take at most `steps` steps, none once `done(loss)` holds; `after` runs after each step (a projection, say).

    Raises `NotFiniteError` that names `what` when the loss or a parameter is not finite.
    """
    parameters: Sequence[Tensor] = [p for group in optimizer.param_groups for p in group["params"]]
    loss = math.inf
    for step in range(steps + 1):
        value = loss_of()
        loss = float(value.detach())
        if not math.isfinite(loss):
            raise NotFiniteError(
                f"{what}: the loss is not finite ({loss}) after {step} steps. A smaller learning rate may help."
            )
        if done(loss):
            return Descent(step, loss, True)
        if step == steps:
            break
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        optimizer.step()
        if after is not None:
            after()
        if not all(map(finite, parameters)):
            raise NotFiniteError(f"{what}: a weight is not finite after {step + 1} steps.")
    return Descent(steps, loss, False)
