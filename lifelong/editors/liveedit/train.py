"""Meta-training of LiveEdit's modules on a pool of edits (arXiv 2411.15432, section 4.4; all loss weights 1).

Knows the model only through cached hidden states of the layer that the residual joins, and through resuming from it.
Knows nothing of banks. The base model stays frozen.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from lifelong.editing.pools import Targets, held_out
from lifelong.editing.training import gradient_of, in_bfloat16, scale_rates, steps_of
from lifelong.editors.liveedit import losses
from lifelong.editors.liveedit.calibration import KINDS, above
from lifelong.editors.liveedit.examples import HiddenExample, HiddenTable, examples_of, joined_hidden
from lifelong.editors.liveedit.modules import LiveEditModules
from lifelong.editors.liveedit.rows import Rows, expert_inputs, mixed_rows, routing_view
from lifelong.models.vlm import Hidden
from streams.types import Pool

if TYPE_CHECKING:
    from lifelong.models.vlm import VLM


def fit_liveedit(
    vlm: VLM,
    modules: LiveEditModules,
    pool: Pool,
    layer: int,
    options: Any,
    *,
    seed: int,
    unfinished: Path | None = None,
) -> tuple[list[dict[str, float]], dict[str, dict[str, Tensor]]]:
    """Train the modules in place; returns the losses every 20 steps and what sets the hard filter, by kind (`above`).

    Raises `NotFiniteError` on divergence.
    """
    table = HiddenTable(vlm, layer)
    examples = examples_of(pool.items, table)
    table.compute()
    targets = Targets(pool.items)
    rng = np.random.default_rng(np.random.SeedSequence([seed, 0x11FE]))
    examples, unseen = held_out(examples, options.calibration, rng)
    modules.train().requires_grad_(True)
    optimizers = _optimizers(modules, options.learning_rate)
    plain: dict[str, Any] = {"history": []}
    try:
        for step in steps_of(
            options.steps, what="fit liveedit", tensors=modules.state_dict, optimizers=optimizers, rng=rng,
            plain=plain, unfinished=unfinished,
        ):  # fmt: skip
            warm = min(1.0, (step + 1) / 30)
            share = warm * 0.5 * (1 + math.cos(math.pi * step / options.steps)) + 0.01
            scale_rates(optimizers, share)
            crowd = min(1.0, 3 * step / options.steps)

            # The router is learnt long before the generator: every second step is enough for it.
            def losses_of(step: int = step, crowd: float = crowd) -> dict[str, Tensor]:
                with in_bfloat16(vlm, on=options.half):
                    route = step % 2 == 0 or not options.experts
                    return _step_losses(vlm, modules, table, examples, targets, options, rng, crowd, route)

            parts = gradient_of(
                vlm, losses_of, optimizers=optimizers, rng=rng, plain=plain, what="liveedit", step=step
            )
            torch.nn.utils.clip_grad_norm_(modules.parameters(), 1.0)
            for optimizer in optimizers:
                optimizer.step()
            if step % 20 == 0:
                plain["history"].append({"step": step} | {k: float(v.detach()) for k, v in parts.items()})
    finally:
        modules.eval().requires_grad_(False)
    round_to_half(modules)
    found = {k: above(modules, table, [e for e in unseen if e.has_image == (k == "image")]) for k in KINDS}
    return plain["history"], found


@torch.no_grad()
def round_to_half(modules: LiveEditModules) -> None:
    """Round weights to what is kept of them, so that the filter is set on the modules that will be used."""
    for tensor in modules.state_dict().values():
        tensor.copy_(tensor.half())


def _optimizers(modules: LiveEditModules, rate: float) -> list[torch.optim.Optimizer]:
    """Muon for the copying generator's matrices (design notes: it learns to copy in minutes), AdamW for the rest."""
    inner = modules.expert_generator
    chosen = [p for p in inner.parameters() if p.ndim == 2] if inner is not None else []
    if inner is not None:
        chosen = [p for p in chosen if p is not inner.position.weight and p is not inner.latent_queries]
    kept = {id(p) for p in chosen}
    rest = [p for p in modules.parameters() if id(p) not in kept]
    out: list[torch.optim.Optimizer] = [torch.optim.AdamW(rest, lr=rate, weight_decay=0.01)]
    if chosen:
        out.append(torch.optim.Muon(chosen, lr=5 * rate, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"))
    for optimizer in out:
        for group in optimizer.param_groups:
            group["base_lr"] = group["lr"]
    return out


def _step_losses(
    vlm: VLM,
    modules: LiveEditModules,
    table: HiddenTable,
    examples: list[HiddenExample],
    targets: Targets,
    options: Any,
    rng: np.random.Generator,
    crowd: float = 1.0,
    route: bool = True,
) -> dict[str, Tensor]:
    """Return the losses of one step: experts on a small batch, if wanted, and with `route` routing on a large one."""
    kind = bool(rng.random() < np.mean([e.has_image for e in examples]))
    chosen = _draw([e for e in examples if e.has_image == kind] or examples, options.routing_batch, rng)
    found: dict[str, Tensor] = {}
    if options.experts:
        found |= expert_losses(vlm, modules, table, chosen[: options.batch], targets, rng, crowd)
    if route:
        mix = float(rng.random()) if kind and rng.random() < options.mixed else 1.0
        found |= routing_losses(vlm, modules, table, chosen, rng, mix)
    return {name: part for name, part in found.items() if getattr(options, name, True)}  # an ablated loss is off


def _draw(examples: list[HiddenExample], n: int, rng: np.random.Generator) -> list[HiddenExample]:
    """Draw examples whose facts all differ: two targets of one fact would each be the other's false negative."""
    out: dict[tuple[str, str], HiddenExample] = {}
    for i in rng.permutation(len(examples)):
        out.setdefault(examples[i].fact, examples[i])
        if len(out) == n:
            break
    return list(out.values())


def _one(rows: Sequence[int], rng: np.random.Generator) -> int:
    return rows[int(rng.integers(len(rows)))]


def expert_losses(
    vlm: VLM,
    modules: LiveEditModules,
    table: HiddenTable,
    chosen: list[HiddenExample],
    targets: Targets,
    rng: np.random.Generator,
    crowd: float,
) -> dict[str, Tensor]:
    """Return reliability, generality (two rephrases' worth, drawn as one) and locality of generated experts.

    As in the paper's training, row b is served by its own expert and a random prefix of the batch (locality rows:
    the prefix only), weighted by the soft router. The prefix is at most the share `crowd` of the batch: it grows
    while training begins, since experts that write nothing sensible yet would only be noise to each other.
    """
    n, device = len(chosen), vlm.device
    rows = [e.edit for e in chosen] + [_one(e.rephrases, rng) for e in chosen]
    served = table.with_targets(rows, [targets.draw(e.fact[1], rng) for e in chosen] * 2)
    edits = served.take(list(range(n)))
    u, v = modules.experts(*expert_inputs(edits, vlm.embeddings(), device))
    psi = modules.edit_side.text_branch(*_prompt(routing_view(edits, device)))
    own = torch.eye(n, dtype=torch.bool)
    prefix = [
        torch.arange(n)[None] < torch.as_tensor(rng.integers(0, round(crowd * n) + 1, n))[:, None] for _ in range(3)
    ]
    active = torch.cat([own | prefix[0], own | prefix[1], prefix[2]]).to(device)
    hidden = joined_hidden([served, table.take([_one(e.locals, rng) for e in chosen])])
    edited = _resume(vlm, modules, hidden, active, u, v, psi)
    with torch.no_grad():
        original = vlm.resume(hidden.take(list(range(2 * n, 3 * n))), answers_only=True)
    own_row, other_words, unrelated = edited[:n], edited[n : 2 * n], edited[2 * n :]
    kept = losses.reverse_divergence(torch.cat(unrelated), torch.cat(original))
    return {
        "reliability": _nll(own_row, hidden.target_ids[:n]),
        "generality": _nll(other_words, hidden.target_ids[n : 2 * n]) * 2,
        "locality": _mean_of_rows(kept, unrelated),
    }


def _prompt(rows: Rows) -> tuple[Tensor, Tensor]:
    return rows.prompt, rows.prompt_seen


def _nll(rows: Sequence[Tensor], ids: Sequence[np.ndarray]) -> Tensor:
    logits = torch.cat(list(rows)).float()
    wanted = torch.as_tensor(np.concatenate(list(ids)), dtype=torch.long, device=logits.device)
    return _mean_of_rows(F.cross_entropy(logits, wanted, reduction="none"), rows)


def _mean_of_rows(values: Tensor, rows: Sequence[Tensor]) -> Tensor:
    """Return the mean over rows of the mean over each one's positions; `values` are all rows' one after the other."""
    lengths = torch.tensor([len(row) for row in rows], device=values.device)
    return (values / lengths.repeat_interleave(lengths)).sum() / len(rows)


def _resume(
    vlm: VLM, modules: LiveEditModules, hidden: Hidden, active: Tensor, u: Tensor, v: Tensor, psi: Tensor
) -> list[Tensor]:
    """Return the answers' logits of rows served by the active experts (rows, experts) bool."""
    rows = routing_view(hidden, vlm.device)
    scores = modules.similarity(modules.input_side.text_branch(*_prompt(rows)), psi)
    # A softmax over the active experts only that is zero, gradient and all, where a row has none.
    shares = (scores - scores.detach().amax(1, keepdim=True)).exp() * active
    weights = torch.sigmoid(scores) * shares / shares.sum(1, keepdim=True).clamp(min=1e-12)
    if not modules.soft_routing:
        weights = active.to(scores) / active.sum(1, keepdim=True).clamp(min=1)
    lengths = [len(s) for s in hidden.states]
    states = torch.nn.utils.rnn.pad_sequence([s.float() for s in hidden.states], batch_first=True)
    states = states.to(vlm.device)
    # Every row may use every expert: one product with all of them is smaller than a gather per row.
    read = torch.relu(modules.residual_layernorm(states) @ u.flatten(0, 1).T)
    added = states + (read * weights.repeat_interleave(modules.rank, 1)[:, None, :]) @ v.flatten(0, 1)
    parts = tuple(added[i, :length] for i, length in enumerate(lengths))
    fields = (hidden.image, hidden.prompt, hidden.answer, hidden.target_ids, hidden.encoded)
    return vlm.resume(Hidden(hidden.layer, parts, *fields), grad=True, answers_only=True)


def routing_losses(
    vlm: VLM,
    modules: LiveEditModules,
    table: HiddenTable,
    chosen: list[HiddenExample],
    rng: np.random.Generator,
    mix: float = 1.0,
) -> dict[str, Tensor]:
    """Return the soft (relative, absolute) and hard (neighbour, prototype) losses of one large batch.

    With `mix` < 1 the pictures' states of every example are a share `mix` of its own and the rest of another
    example's, the same one on both sides: subjects that no pool holds, so that routing learns to tell apart more
    than the pool's (not in the paper).
    """
    edits = [e.edit for e in chosen]
    like = [_one((e.edit, *e.rephrases), rng) for e in chosen]
    unlike = [_one(e.locals, rng) for e in chosen]
    left = routing_view(table.take([*like, *unlike]), vlm.device)
    right = routing_view(table.take([*edits, *unlike]), vlm.device)
    n = len(chosen)
    if mix < 1.0:
        other = torch.as_tensor(np.concatenate([at := rng.permutation(n), at + n]))
        left, right = mixed_rows(left, other, mix), mixed_rows(right, other, mix)
    phi_bar, sentinel = modules.seen_and_sentinel(left.prompt, left.prompt_seen, left.seen, left.seen_seen)
    phi_hat = modules.edit_side.visual_branch(right.prompt, right.prompt_seen, right.seen, right.seen_seen)
    threshold = (phi_bar.flatten(1) * sentinel.flatten(1)).sum(1) / (phi_bar.shape[1] * math.sqrt(modules.width))
    psi_bar = modules.input_side.text_branch(left.prompt[:n], left.prompt_seen[:n])
    psi_hat = modules.edit_side.text_branch(right.prompt[:n], right.prompt_seen[:n])
    soft = modules.similarity(psi_bar, psi_hat)
    to_edits = modules.similarity(phi_bar, phi_hat[:n])
    to_locals = modules.similarity(phi_bar[:n], phi_hat[n:])
    return {
        "soft_relative": losses.soft_relative(soft),
        "soft_absolute": losses.soft_absolute(soft),
        "hard_neighbour": losses.hard_neighbour(to_edits[:n], threshold[:n]),
        "hard_prototype": 0.5 * losses.hard_prototype(to_edits[n:], threshold[n:])
        + 0.5 * losses.hard_prototype(to_locals, threshold[:n]),
    }
