"""Training of RECIPE's modules on a pool of edits (arXiv 2405.03279, section 3.4; all loss weights 1).

Knows features of the frozen model, computed once, and the model from its first layer on. Knows nothing of banks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from lifelong.editors.recipe import losses
from lifelong.editors.recipe.modules import RecipeModules
from lifelong.editors.recipe.reading import Reader, Slots
from lifelong.models.layout import Hidden
from lifelong.ops import NotFiniteError, answer_loss
from lifelong.targets import Targets
from lifelong.training import Unfinished, in_bfloat16, scale_rates, steps_of
from streams.types import Pool, PoolItem, Query

if TYPE_CHECKING:
    from lifelong.models.vlm import VLM


@dataclass(frozen=True)
class Example:
    """One training item: row numbers of the table of features, and what the rows ask and answer.

    Of the questions outside, `apart` are those that what the router reads can tell from the edit; `says` is what two
    edits share that it cannot tell apart.
    """

    fact: tuple[str, str]
    says: str
    knowledge: int
    inside: tuple[int, ...]
    outside: tuple[int, ...]
    apart: tuple[int, ...]


@dataclass
class Table:
    """Features of every row, computed once; `asked` holds (query, answer)."""

    asked: list[tuple[Query, str]] = field(default_factory=list)
    features: Tensor = field(default_factory=lambda: torch.zeros(0))

    def add(self, query: Query, answer: str) -> int:
        """Return the number of a new row."""
        self.asked.append((query, answer))
        return len(self.asked) - 1


def knowledge_of(query: Query, target: str) -> Query:
    """Return an edit as the text that is its knowledge: prompt and answer."""
    return Query(f"{query.prompt} {target}", query.image)


def example_of(item: PoolItem, table: Table, *, pictures: bool) -> Example:
    """Register the rows of one item; `pictures`: whether the router sees them.

    One that does not is not asked what words cannot tell: the same relation of another picture, or of another thing
    in the picture, and two edits whose prompts name no subject.
    """
    edit = item.edit
    inside = [table.add(edit.query, edit.target)]
    inside += [table.add(p.query, p.target) for p in item.probes if p.axis == "generality"]
    local = [p for p in item.probes if p.reference == "baseline"]
    outside = {p.id: table.add(p.query, p.target) for p in local}
    apart = [outside[p.id] for p in local if pictures or not (p.axis == "specificity" or p.variant == "near")]
    known = table.add(knowledge_of(edit.query, edit.target), edit.target)
    says = edit.id if pictures else edit.query.prompt
    if not pictures and edit.prompt_kind == "generic":
        says = edit.relation
    fact = (edit.subject, edit.relation)
    return Example(fact, says, known, tuple(inside), tuple(outside.values()), tuple(apart))


def fit(
    vlm: VLM,
    modules: RecipeModules,
    reader: Reader,
    slots: Slots,
    pool: Pool,
    options: Any,
    *,
    seed: int,
    unfinished: Unfinished | None = None,
) -> list[dict[str, float]]:
    """Train the modules in place and return the losses every 25 steps; raises `NotFiniteError` on divergence."""
    table = Table()
    made = (example_of(item, table, pictures=reader.pictures) for item in pool.items)
    examples = [e for e in made if e.outside and e.apart]
    if len(examples) < 2:
        raise ValueError(f"recipe: {len(examples)} of {len(pool.items)} pool items have a local question; need 2.")
    table.features = reader.features([q for q, _ in table.asked])
    rng = np.random.default_rng(np.random.SeedSequence([seed, 0x5EC1]))
    modules.train().requires_grad_(True)
    targets = Targets(pool.items)
    optimizers = [_optimizer(modules, options.learning_rate)]
    plain: dict[str, Any] = {"history": []}
    try:
        for step in steps_of(
            options.steps, what="fit recipe", tensors=modules.state_dict, optimizers=optimizers, rng=rng,
            plain=plain, unfinished=unfinished,
        ):  # fmt: skip
            share = min(1.0, (step + 1) / 20) * 0.5 * (1 + math.cos(math.pi * step / options.steps))
            scale_rates(optimizers, max(share, 0.01))
            chosen = _draw(examples, options.routing_batch, rng)
            with in_bfloat16(vlm, on=options.half):
                few = chosen[: options.batch]
                parts = editing_losses(vlm, modules, reader, slots, table, few, targets, options, rng)
            parts |= routing_losses(modules, table, chosen, rng)
            total = torch.stack(list(parts.values())).sum()
            if not bool(torch.isfinite(total)):
                raise NotFiniteError(f"recipe: the loss is {float(total)} at step {step}; lower learning_rate.")
            optimizers[0].zero_grad(set_to_none=True)
            total.backward()
            torch.nn.utils.clip_grad_norm_(modules.parameters(), 1.0)
            optimizers[0].step()
            if step % 25 == 0 or step == options.steps - 1:
                plain["history"].append({"step": step} | {k: float(v.detach()) for k, v in parts.items()})
    finally:
        modules.eval().requires_grad_(False)
    return plain["history"]


def _optimizer(modules: RecipeModules, rate: float) -> torch.optim.Optimizer:
    """Return AdamW with a rate for each part of the prompt writer, by how far a step moves a prompt.

    What all prompts share has as far to go as embeddings are apart; a weight that hundreds of features meet moves a
    prompt by all of them at once, and at the common rate drowns the answer's tokens within a few steps.
    """
    writer = modules.prompt
    slow = [*writer.first.parameters(), writer.second.weight]
    copy = [] if writer.copy is None else [writer.copy]
    own = {id(p) for p in (*slow, *copy, writer.second.bias)}
    groups = [
        {"params": [p for p in modules.parameters() if id(p) not in own]},
        {"params": [writer.second.bias], "lr": 20 * rate},
        {"params": copy, "lr": 2 * rate},
        {"params": slow, "lr": 0.02 * rate},
    ]
    optimizer = torch.optim.AdamW(groups, lr=rate, weight_decay=0.0)
    for group in optimizer.param_groups:
        group["base_lr"] = group["lr"]
    return optimizer


def _draw(examples: Sequence[Example], n: int, rng: np.random.Generator) -> list[Example]:
    """Draw examples whose facts and words all differ: of two alike each would be the other's false negative."""
    out: dict[tuple[str, str], Example] = {}
    said: set[str] = set()
    for i in rng.permutation(len(examples)):
        e = examples[i]
        if e.fact not in out and e.says not in said:
            out[e.fact] = e
            said.add(e.says)
        if len(out) == n:
            break
    return list(out.values())


def _one(rows: Sequence[int], rng: np.random.Generator) -> int:
    return rows[int(rng.integers(len(rows)))]


def editing_losses(
    vlm: VLM,
    modules: RecipeModules,
    reader: Reader,
    slots: Slots,
    table: Table,
    chosen: Sequence[Example],
    targets: Targets,
    options: Any,
    rng: np.random.Generator,
) -> dict[str, Tensor]:
    """Return reliability, generality and locality of the questions behind their edits' continuous prompts.

    Every edit gets a new target each time, so that the writer learns to write what it is given (not in the paper).
    """
    n = len(chosen)
    new = [targets.draw(e.fact[1], rng) for e in chosen]
    rows = [e.inside[0] for e in chosen] + [_one(e.inside[1:] or e.inside, rng) for e in chosen]
    rows += [_one(e.outside, rng) for e in chosen]
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
    kept = [losses.divergence(base[i], logits[2 * n + i]) for i in range(n)]
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


def routing_losses(
    modules: RecipeModules, table: Table, chosen: Sequence[Example], rng: np.random.Generator
) -> dict[str, Tensor]:
    """Return the three contrastive losses of one batch."""

    def queries(rows: Sequence[int]) -> Tensor:
        return modules.query(table.features[list(rows)])

    knowledge = modules.knowledge(table.features[[e.knowledge for e in chosen]])
    sentinel = modules.sentinel()
    first, second = (queries([_one(e.inside, rng) for e in chosen]) for _ in range(2))
    outside = queries([_one(e.apart, rng) for e in chosen])

    def scored(asked: Tensor) -> tuple[Tensor, Tensor]:
        return modules.scores(asked, knowledge), modules.scores(asked, sentinel)[:, 0]

    return {
        "own_knowledge": losses.own_knowledge(*scored(first)),
        "own_missing": losses.own_missing(*scored(second)),
        "nothing_known": losses.nothing_known(*scored(outside)),
    }
