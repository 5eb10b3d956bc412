"""Training of RECIPE's modules on a pool of edits (arXiv 2405.03279, section 3.4; all loss weights 1).

Retrieval is learnt first (`routing`), from features alone; then the prompt writer, through the frozen model. Knows
nothing of banks.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from lifelong.editing.ops import answer_loss, divergence
from lifelong.editing.pools import Targets, held_out
from lifelong.editing.training import gradient_of, in_bfloat16, scale_rates, steps_of
from lifelong.editors.recipe.modules import PromptWriter, RecipeModules
from lifelong.editors.recipe.reading import FeatureReader, Slots
from lifelong.editors.recipe.routing import fit_routing, lead_of, rate_share
from lifelong.editors.recipe.table import (
    FeatureExample,
    FeatureTable,
    draw_examples,
    feature_example,
    knowledge_of,
    one,
)
from lifelong.models.vlm import Hidden
from streams.types import Pool

if TYPE_CHECKING:
    from lifelong.editors.recipe.options import RecipeOptions
    from lifelong.models.vlm import VLM


def fit_recipe(
    vlm: VLM,
    modules: RecipeModules,
    reader: FeatureReader,
    slots: Slots,
    pool: Pool,
    options: RecipeOptions,
    *,
    seed: int,
    unfinished: Path | None = None,
) -> float:
    """Train the modules in place, retrieval first, and return by how much an edit must beat the sentinel.

    Raises `ValueError` for fewer than two usable items and `NotFiniteError` on divergence.
    """
    table = FeatureTable(device=vlm.device)
    made = (feature_example(item, table, pictures=reader.pictures) for item in pool.items)
    examples = [e for e in made if e.outside and e.apart]
    if len(examples) < 2:
        raise ValueError(f"recipe: {len(examples)} of {len(pool.items)} pool items have a local question; need 2.")
    table.features = reader.features([q for q, _ in table.asked])
    rng = np.random.default_rng(np.random.SeedSequence([seed, 0x5EC1]))
    seen, unseen = held_out(examples, options.calibration, rng)
    modules.train().requires_grad_(True)
    try:
        fit_routing(modules, table, seen, options, rng, unfinished)
        fit_writer(vlm, modules, reader, slots, table, examples, Targets(pool.items), options, rng, unfinished)
    finally:
        modules.eval().requires_grad_(False)
    return lead_of(modules, table, unseen)


def fit_writer(
    vlm: VLM,
    modules: RecipeModules,
    reader: FeatureReader,
    slots: Slots,
    table: FeatureTable,
    examples: Sequence[FeatureExample],
    targets: Targets,
    options: RecipeOptions,
    rng: np.random.Generator,
    unfinished: Path | None,
) -> list[dict[str, float]]:
    """Train the prompt writer in place and return the losses every 25 steps; representations stay as they are."""
    optimizer = _optimizer(modules.prompt, options.learning_rate)
    plain: dict[str, Any] = {"history": []}
    for step in steps_of(
        options.steps, what="fit recipe: prompts", tensors=modules.prompt.state_dict, optimizers=[optimizer], rng=rng,
        plain=plain, unfinished=unfinished,
    ):  # fmt: skip
        scale_rates([optimizer], rate_share(step, options.steps))
        chosen = draw_examples(examples, options.batch, rng)

        def losses_of(chosen: Sequence[FeatureExample] = chosen) -> dict[str, Tensor]:
            with in_bfloat16(vlm, on=options.half):
                return editing_losses(vlm, modules, reader, slots, table, chosen, targets, options, rng)

        parts = gradient_of(vlm, losses_of, optimizers=[optimizer], rng=rng, plain=plain, what="recipe", step=step)
        torch.nn.utils.clip_grad_norm_(modules.prompt.parameters(), 1.0)
        optimizer.step()
        if step % 25 == 0 or step == options.steps - 1:
            plain["history"].append({"step": step} | {k: float(v.detach()) for k, v in parts.items()})
    return plain["history"]


def _optimizer(writer: PromptWriter, rate: float) -> torch.optim.Optimizer:
    """Return AdamW with a rate for each part of the prompt writer, by how far a step moves a prompt.

    What all prompts share has as far to go as embeddings are apart; a weight that hundreds of features meet moves a
    prompt by all of them at once, and at the common rate drowns the answer's tokens within a few steps.
    """
    groups = [
        {"params": [writer.second.bias], "lr": rate},
        {"params": [] if writer.copy is None else [writer.copy], "lr": 0.1 * rate},
        {"params": [*writer.first.parameters(), writer.second.weight], "lr": 0.001 * rate},
    ]
    optimizer = torch.optim.AdamW(groups, lr=rate, weight_decay=0.0)
    for group in optimizer.param_groups:
        group["base_lr"] = group["lr"]
    return optimizer


def editing_losses(
    vlm: VLM,
    modules: RecipeModules,
    reader: FeatureReader,
    slots: Slots,
    table: FeatureTable,
    chosen: Sequence[FeatureExample],
    targets: Targets,
    options: RecipeOptions,
    rng: np.random.Generator,
) -> dict[str, Tensor]:
    """Return reliability, generality and locality of the questions behind their edits' continuous prompts.

    Every edit gets a new target each time, so that the writer learns to write what it is given (not in the paper).
    """
    n = len(chosen)
    new = [targets.draw(e.fact[1], rng) for e in chosen]
    rows = [e.inside[0] for e in chosen] + [one(e.inside[1:] or e.inside, rng) for e in chosen]
    rows += [one(e.outside, rng) for e in chosen]
    asked = [table.asked[r][0] for r in rows]
    answers = [*new, *new, *(table.asked[r][1] for r in rows[2 * n :])]
    edits = [table.asked[e.inside[0]][0] for e in chosen]
    reps = modules.knowledge(reader.features([knowledge_of(q, t) for q, t in zip(edits, new, strict=True)]))
    told = reader.answers(new, options.answer_tokens) if options.answer_tokens else None
    prompts = modules.prompt(reps, told).repeat(3, 1, 1)
    hidden = vlm.hidden([slots.before(q) for q in asked], 0, answers)
    logits = vlm.resume(with_prompts(vlm, slots, hidden, prompts), grad=True, answers_only=True)
    with torch.no_grad():
        base = vlm.resume(vlm.hidden(asked[2 * n :], 0, answers[2 * n :]), answers_only=True)
    nll = [answer_loss(logits[i], hidden.target_ids[i]) for i in range(2 * n)]
    kept = [divergence(base[i], logits[2 * n + i]) for i in range(n)]
    return {
        "reliability": torch.stack(nll[:n]).mean(),
        "generality": torch.stack(nll[n:]).mean(),
        "locality": torch.stack(kept).mean(),
    }


def with_prompts(vlm: VLM, slots: Slots, hidden: Hidden, prompts: Tensor) -> Hidden:
    """Return inputs of layer 0 with continuous prompts (n, tokens, width) in the place of the slots' embeddings."""
    own = vlm.embeddings()[slots.id].detach()
    states = []
    for i, state in enumerate(hidden.states):
        ids = torch.nn.functional.pad(hidden.encoded[i].ids, (0, len(state) - len(hidden.encoded[i].ids)))
        at = slots.where(ids, hidden.prompt[i]).nonzero()[:, 0].to(state.device)
        # What the model adds to an embedding (a learned position, say) stays.
        states.append(state.index_add(0, at, (prompts[i] - own).to(state.dtype)))
    fields = (hidden.image, hidden.prompt, hidden.answer, hidden.target_ids, hidden.encoded)
    return Hidden(hidden.layer, tuple(states), *fields)
