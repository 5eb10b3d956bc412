"""Tensor machinery that several editors share: seeded noise, the loss of an answer, descent with early stop.

Knows nothing of any editor, of queries or of routing.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lifelong.editing.contract import CollapseError
from lifelong.models.passes.layout import Layout

if TYPE_CHECKING:
    from lifelong.models.vlm import VLM


class NotFiniteError(CollapseError):
    """A loss or a weight became infinite or not a number."""


def edit_generator(seed: int, edit_id: str) -> torch.Generator:
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


def finite_keys(keys: np.ndarray, ids: Sequence[str], what: str) -> np.ndarray:
    """Return the keys (n, width) of edits; raises `NotFiniteError` naming the first one that holds no number."""
    bad = np.flatnonzero(~np.isfinite(keys).all(axis=-1))
    if len(bad):
        raise NotFiniteError(f"{what}, edit {ids[int(bad[0])]}: its key is not finite.")
    return keys


def weight_of(module: nn.Module) -> nn.Parameter:
    """Return the (out, in) weight of a linear module; raises `ValueError` for a module without one."""
    weight = getattr(module, "weight", None)
    if not isinstance(weight, nn.Parameter) or weight.dim() != 2:
        raise ValueError(
            f"This editor needs a linear module with a weight of two dimensions; given {type(module).__name__}. "
            "Set editor.module to one such as mlp.down_proj."
        )
    return weight


def editable(name: str, weight: Tensor) -> Tensor:
    """Return a parameter that an editor is about to change; raises `ValueError` for one that is quantised."""
    if not weight.is_floating_point():
        kind = str(weight.dtype).removeprefix("torch.")
        raise ValueError(
            f"{name} is quantised ({kind}): this editor changes weights, which must be real numbers. Load the model "
            "without model.quantization, or take an editor that leaves weights alone."
        )
    return weight


def widths_of(module: nn.Module) -> tuple[int, int]:
    """Return (out, in) of a linear module, also of one whose weight is packed; raises what `weight_of` raises."""
    if isinstance(module, nn.Linear) and not module.weight.is_floating_point():
        return module.out_features, module.in_features
    out, wide = weight_of(module).shape
    return int(out), int(wide)


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
    vlm: VLM,
    after: Callable[[], None] | None = None,
) -> Descent:
    """Take at most `steps` steps, none once `done(loss)` holds; `after` runs after each step (a projection, say).

    `vlm` is the model that the loss is computed with: where its device is full, a step is done again on fewer rows at
    a time. Raises `NotFiniteError` that names `what` when the loss or a parameter is not finite.
    """
    parameters: Sequence[Tensor] = [p for group in optimizer.param_groups for p in group["params"]]
    loss = math.inf
    for step in range(steps + 1):
        drawn = torch.get_rng_state()

        def work(step: int = step) -> tuple[float, bool]:
            value = loss_of()
            loss = float(value.detach())
            if not math.isfinite(loss):
                raise NotFiniteError(
                    f"{what}: the loss is not finite ({loss}) after {step} steps. A smaller learning rate may help."
                )
            if stopped := done(loss):
                return loss, stopped
            if step < steps:
                optimizer.zero_grad(set_to_none=True)
                value.backward()
            return loss, stopped

        loss, stopped = vlm.step(work, lambda drawn=drawn: torch.set_rng_state(drawn))
        if stopped:
            return Descent(step, loss, True)
        if step == steps:
            break
        optimizer.step()
        if after is not None:
            after()
        if not all(map(finite, parameters)):
            raise NotFiniteError(f"{what}: a weight is not finite after {step + 1} steps.")
    return Descent(steps, loss, False)


def fresh_factors(rank: int, width_in: int, width_out: int, source: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return down (rank, width_in), uniform as linear layers begin, and up (width_out, rank), zero: no change yet."""
    bound = 1 / math.sqrt(width_in)
    down = (torch.rand(rank, width_in, generator=source) * 2 - 1) * bound
    return down, torch.zeros(width_out, rank)


def residual(states: Tensor, down: Tensor, up: Tensor, weights: Tensor, act: Callable[[Tensor], Tensor]) -> Tensor:
    """Return sum_k weights_k up_k act(down_k x), all rows and experts at once: (rows, tokens, out).

    `states` (rows, tokens, in), `down` (rows, k, rank, in), `up` (rows, k, out, rank), `weights` (rows, k).
    """
    rows, k, rank, _ = down.shape
    inner = act(states @ down.flatten(1, 2).mT).unflatten(-1, (k, rank))  # (rows, tokens, k, rank)
    inner = (inner * weights[:, None, :, None]).flatten(2)
    return inner @ up.transpose(1, 2).flatten(2).mT  # up as (rows, out, k rank)


def adder(
    down: Tensor,
    up: Tensor,
    experts: Tensor,
    weights: Tensor,
    act: Callable[[Tensor], Tensor] = lambda x: x,
) -> Callable[..., Any]:
    """Return a hook that adds to a module's output the residual of its input, at every token and decode step.

    `down` (n, rank, in) and `up` (n, out, rank) are n experts; row r of the answered prompts gets those numbered
    `experts[r]` (rows, k), each times `weights[r]` (rows, k); a row without a weight is left as it is.
    """

    def add(module: Any, args: tuple[Any, ...], output: Tensor, layout: Layout) -> Tensor | None:
        rows = layout.rows.to(weights.device)
        here = (weights[rows] != 0).any(1).nonzero().squeeze(1)
        if not len(here):
            return None
        picked = experts[rows[here]]
        states = args[0][here.to(args[0].device)].to(down.dtype)
        extra = residual(states, down[picked], up[picked], weights[rows[here]], act).to(output.dtype)
        return output.index_add(0, here.to(output.device), extra)

    return add


def divergence(base: Tensor, edited: Tensor) -> Tensor:
    """Return the mean over positions of KL(base || edited) for logits (positions, vocabulary)."""
    p, q = F.log_softmax(base.float(), -1), F.log_softmax(edited.float(), -1)
    return (p.exp() * (p - q)).sum(-1).mean()
