"""New neurons learn one edit: to say its target, to fire at home and to be silent on stored states.

Knows the VLM's hooks and one row of hidden states; nothing of queries, routing or which tokens neurons answer for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lifelong.editing.ops import answer_exact, answer_loss, descend
from lifelong.editing.patches.losses import activation_loss, heard, memory_loss
from lifelong.editing.patches.neurons import Neurons, Site, patched
from lifelong.models.products import linear

if TYPE_CHECKING:
    from lifelong.models.passes.layout import Hidden
    from lifelong.models.vlm import VLM


@dataclass(frozen=True)
class Teaching:
    """How new neurons are trained; defaults are T-Patcher's but for the number of steps.

    Training ends early when, at a look every `check_every` steps, every token is right with a loss below `stop_loss`
    and the share of stored states that any new neuron fires on is at most `stop_leak`.
    """

    rate: float = 1e-2
    steps: int = 200
    check_every: int = 25
    stop_loss: float = 0.1
    stop_leak: float = 0.001
    activation_weight: float = 1.0
    memory_weight: float = 5.0
    scale: float = 10.0
    beta: float = 0.0


@dataclass(frozen=True)
class Taught:
    """New neurons of one site as rows for `Patches.add`."""

    site: Site
    rows: dict[str, Tensor]


def teach(
    vlm: VLM,
    hidden: Hidden,
    sites: Sequence[Site],
    tokens_of: Callable[[Tensor], Sequence[int]],
    how: Teaching,
    rng: torch.Generator,
    *,
    what: str,
    around: Callable[[], AbstractContextManager[Any]] = nullcontext,
    directions: Sequence[Tensor | None] = (),
) -> list[Taught]:
    """Train new neurons at every site so that one row of hidden states says its target; nothing is stored yet.

    `tokens_of` gets which target tokens are right now (m,) bool and returns the target tokens that neurons answer
    for, one each; with none, or with the target learnt already, nothing is trained and the list is empty. `around`
    opens further changes that act in training as they do in use. Raises `NotFiniteError` naming `what`.
    """
    ids = hidden.target_ids[0]
    first = len(hidden.states[0]) - len(ids) - 1  # the position that predicts the target's first token
    seen: dict[int, Tensor] = {}

    def forward(new: Sequence[Neurons], grad: bool) -> Tensor:
        with ExitStack() as stack:
            stack.enter_context(around())
            stack.enter_context(patched(vlm, sites))
            for i, site in enumerate(sites):
                stack.enter_context(vlm.hook(site.module, _watch(seen, i, new[i] if new else None)))
            return vlm.resume(hidden, grad=grad, answers_only=True)[0]

    logits = forward([], False)
    right = logits.argmax(-1).cpu() == torch.as_tensor(ids, dtype=torch.long)
    tokens = list(tokens_of(right))
    known = bool(right.all()) and float(answer_loss(logits, ids)) < how.stop_loss
    if not tokens or known:
        return []
    at = torch.tensor(tokens) + first
    states = [seen[i][at].float().clone() for i in range(len(sites))]
    new = [
        Neurons(
            states[i],
            site.patches.shapes["values"][0],
            activation=site.patches.activation,
            scale=how.scale,
            rng=rng,
            direction=directions[i] if directions else None,
            beta=how.beta,
        )
        for i, site in enumerate(sites)
    ]
    stored = [torch.cat([site.silent, site.patches.table("states")]) for site in sites]
    taken, learnt = -1, False

    def loss_of() -> Tensor:
        nonlocal taken, learnt
        taken += 1
        logits = forward(new, True)
        loss = answer_loss(logits, ids)
        learnt = answer_exact(logits, ids) and float(loss.detach()) < how.stop_loss
        for i, neurons in enumerate(new):
            acts = (seen[i][at].float() * neurons.keys).sum(-1)[None] + neurons.bias
            loss = loss + how.activation_weight * activation_loss(acts)
            if len(stored[i]) and how.memory_weight:
                with torch.no_grad():
                    everywhere = linear(stored[i], neurons.keys, neurons.bias)
                    loud = heard(everywhere, acts)
                learnt = learnt and float((everywhere > 0).any(1).float().mean()) <= how.stop_leak
                loss = loss + how.memory_weight * memory_loss(stored[i][loud] @ neurons.keys.T + neurons.bias, acts)
        return loss

    descend(
        torch.optim.Adam([p for neurons in new for p in neurons.parameters()], lr=how.rate),
        loss_of,
        steps=how.steps,
        done=lambda _: learnt and taken > 0 and taken % how.check_every == 0,
        what=what,
        vlm=vlm,
    )
    with torch.no_grad():
        # What later edits must be silent on is what is seen in use: with the new neurons of the layers below.
        pairs = zip(sites, new, (seen[i][at].float().clone() for i in range(len(sites))), strict=True)
        return [Taught(site, {k: v.detach() for k, v in n.rows(s).items()}) for site, n, s in pairs]


def _watch(seen: dict[int, Tensor], place: int, neurons: Neurons | None) -> Callable[..., Tensor | None]:
    """Return a hook that notes the FFN's input of the only row, (tokens, width), and lets new neurons act."""

    def watch(module: Any, args: Any, output: Tensor, layout: Any) -> Tensor | None:
        seen[place] = args[0][0]
        return None if neurons is None else output + neurons.added(args[0])

    return watch
