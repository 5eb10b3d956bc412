"""Training of RECIPE's retrieval: representations and sentinel (arXiv 2405.03279, section 3.4).

Knows rows of features, nothing of the model: a step is so cheap that this comes first and takes many. Afterwards, on
subjects that were held out, it is found by how much an edit must beat the sentinel.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from lifelong.editing.facts.book import separating
from lifelong.editing.ops import NotFiniteError
from lifelong.editing.training import scale_rates, steps_of
from lifelong.editors.recipe import losses
from lifelong.editors.recipe.modules import RecipeModules
from lifelong.editors.recipe.table import FeatureExample, FeatureTable, draw_examples, one

if TYPE_CHECKING:
    from lifelong.editors.recipe.options import RecipeOptions


def fit_routing(
    modules: RecipeModules,
    table: FeatureTable,
    examples: Sequence[FeatureExample],
    options: RecipeOptions,
    rng: np.random.Generator,
    unfinished: Path | None,
) -> list[dict[str, float]]:
    """Train representations and sentinel in place and return the losses every 100 steps."""
    learnt = [*modules.knowledge.parameters(), *modules.query.parameters(), modules.prototype]
    optimizer = torch.optim.AdamW(learnt, lr=options.routing_rate, weight_decay=0.0)
    optimizer.param_groups[0]["base_lr"] = options.routing_rate
    plain: dict[str, Any] = {"history": []}
    for step in steps_of(
        options.routing_steps, what="fit recipe: routing", tensors=modules.state_dict, optimizers=[optimizer],
        rng=rng, plain=plain, unfinished=unfinished,
    ):  # fmt: skip
        scale_rates([optimizer], rate_share(step, options.routing_steps))
        parts = contrastive_losses(modules, table, draw_examples(examples, options.routing_batch, rng), rng)
        total = torch.stack(list(parts.values())).sum()
        if not bool(torch.isfinite(total)):
            raise NotFiniteError(f"recipe: the routing loss is {float(total)} at step {step}; lower routing_rate.")
        optimizer.zero_grad(set_to_none=True)
        total.backward()
        torch.nn.utils.clip_grad_norm_(learnt, 1.0)
        optimizer.step()
        if step % 100 == 0 or step == options.routing_steps - 1:
            plain["history"].append({"step": step} | {k: float(v.detach()) for k, v in parts.items()})
    return plain["history"]


def rate_share(step: int, steps: int) -> float:
    """Return the share of the learning rate at a step: up over 20 steps, then down as a cosine to a hundredth."""
    return max(0.01, min(1.0, (step + 1) / 20) * 0.5 * (1 + math.cos(math.pi * step / steps)))


@torch.no_grad()
def lead_of(modules: RecipeModules, table: FeatureTable, examples: Sequence[FeatureExample]) -> float:
    """Return by how much an edit must beat the sentinel so that most questions inside and outside are told right.

    Each edit alone, with its own questions. 0 without examples.
    """
    inside: list[float] = []
    outside: list[float] = []
    sentinel = modules.sentinel()
    for e in examples:
        knowledge = modules.knowledge(table.take([e.knowledge]))
        for rows, scores in ((e.inside, inside), (e.apart, outside)):
            asked = modules.query(table.take(rows))
            scores += (modules.scores(asked, knowledge) - modules.scores(asked, sentinel))[:, 0].tolist()
    return separating(np.array(inside), np.array(outside)).least if inside and outside else 0.0


def contrastive_losses(
    modules: RecipeModules, table: FeatureTable, chosen: Sequence[FeatureExample], rng: np.random.Generator
) -> dict[str, Tensor]:
    """Return the three contrastive losses of one batch."""

    def queries(rows: Sequence[int]) -> Tensor:
        return modules.query(table.take(rows))

    knowledge = modules.knowledge(table.take([e.knowledge for e in chosen]))
    sentinel = modules.sentinel()
    first, second = (queries([one(e.inside, rng) for e in chosen]) for _ in range(2))
    outside = queries([one(e.apart, rng) for e in chosen])

    def scored(asked: Tensor) -> tuple[Tensor, Tensor]:
        return modules.scores(asked, knowledge), modules.scores(asked, sentinel)[:, 0]

    return {
        "own_knowledge": losses.own_knowledge(*scored(first)),
        "own_missing": losses.own_missing(*scored(second)),
        "nothing_known": losses.nothing_known(*scored(outside)),
    }
