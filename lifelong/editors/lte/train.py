"""LTE's alignment on a pool of edits (arXiv 2402.11905, section 3.1). Knows no bank and no routing.

Per item and step: the edit's own question and a rephrased or dependent one, after the statement (new answer, negative
log-likelihood); an out-of-scope question after the statement of this or of another edit (old answer); and a question
of either kind without any statement (old answer). Old answers are kept by KL(base || trained) at the answer's tokens,
each of the two with weight one half.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from lifelong.editing.facts.statement import StatedFact, after
from lifelong.editing.ops import answer_loss, divergence
from lifelong.editing.training import gradient_of, steps_of
from lifelong.editors.lte.adapter import Adapter
from streams.types import Pool, PoolItem, Prompt, Query

if TYPE_CHECKING:
    from lifelong.models.vlm import VLM

_Question = tuple[Prompt, str]


@dataclass(frozen=True)
class AlignmentExample:
    """One training item: its statement, and (query, answer) pairs by kind; `inside` begins with the edit's own."""

    said: str
    inside: tuple[tuple[Query, str], ...]
    outside: tuple[tuple[Query, str], ...]


def alignment_example(item: PoolItem, template: str) -> AlignmentExample:
    """Return what training reads of one item whose edit is stated by a template."""
    edit = item.edit
    inside = [(p.query, p.target) for p in item.probes if p.axis in ("generality", "portability")]
    outside = [(p.query, p.target) for p in item.probes if p.reference == "baseline"]
    return AlignmentExample(StatedFact.of(edit).said(template), ((edit.query, edit.target), *inside), tuple(outside))


def fit_adapter(
    vlm: VLM, adapter: Adapter, pool: Pool, options: Any, *, seed: int, unfinished: Path | None = None
) -> list[dict[str, float]]:
    """Train the adapter in place and return the losses every 25 steps; raises `NotFiniteError` on divergence."""
    examples = [e for item in pool.items if (e := alignment_example(item, options.template)).outside]
    if not examples:
        raise ValueError(f"lte: none of {len(pool.items)} pool items has an out-of-scope question; one is needed.")
    rng = np.random.default_rng(np.random.SeedSequence([seed, 0x17E]))
    adapter.requires_grad_(True)
    optimizer = torch.optim.AdamW(adapter.parameters(), lr=options.learning_rate, weight_decay=0.0)
    plain: dict[str, Any] = {"history": []}
    try:
        for step in steps_of(
            options.steps, what="fit lte", tensors=adapter.state_dict, optimizers=[optimizer], rng=rng, plain=plain,
            unfinished=unfinished,
        ):  # fmt: skip
            share = min(1.0, (step + 1) / 20) * 0.5 * (1 + math.cos(math.pi * step / options.steps))
            for group in optimizer.param_groups:
                group["lr"] = options.learning_rate * max(share, 0.01)
            parts = gradient_of(
                vlm, lambda: _step_losses(vlm, adapter, examples, options.batch, rng),
                optimizers=[optimizer], rng=rng, plain=plain, what="lte", step=step,
            )  # fmt: skip
            torch.nn.utils.clip_grad_norm_(adapter.parameters(), 1.0)
            optimizer.step()
            if step % 25 == 0 or step == options.steps - 1:
                plain["history"].append({"step": step} | {k: float(v.detach()) for k, v in parts.items()})
    finally:
        adapter.requires_grad_(False)
    return plain["history"]


def _step_losses(
    vlm: VLM, adapter: Adapter, examples: Sequence[AlignmentExample], batch: int, rng: np.random.Generator
) -> dict[str, Tensor]:
    """Return the losses of one step on a random batch."""
    chosen = [examples[i] for i in rng.permutation(len(examples))[:batch]]
    groups = questions(chosen, rng)
    asked = [pair for group in groups.values() for pair in group]
    hidden = vlm.hidden([p for p, _ in asked], adapter.first, [t for _, t in asked])
    new = len(groups["reliability"]) + len(groups["generality"])
    with torch.no_grad():
        old = vlm.resume(hidden.take(range(new, len(asked))), answers_only=True)
    with vlm.swap(adapter.weights()):
        logits = vlm.resume(hidden, grad=True, answers_only=True)
        # The graph is complete here: going back needs no exchanged weight.
    losses = [answer_loss(logits[i], hidden.target_ids[i]) for i in range(new)]
    losses += [divergence(old[i - new], logits[i]) for i in range(new, len(asked))]
    out, at = {}, 0
    for name, group in groups.items():
        weight = 0.5 if name in ("stated", "plain") else 1.0
        out[name] = weight * torch.stack(losses[at : at + len(group)]).mean()
        at += len(group)
    return out


def questions(chosen: Sequence[AlignmentExample], rng: np.random.Generator) -> dict[str, list[_Question]]:
    """Return one prompt with its answer per example and kind."""
    out: dict[str, list[_Question]] = {"reliability": [], "generality": [], "stated": [], "plain": []}
    for e in chosen:
        other = chosen[int(rng.integers(len(chosen)))]
        told = e.said if rng.random() < 0.5 else other.said
        out["reliability"].append(_after(e.said, *e.inside[0]))
        out["generality"].append(_after(e.said, *_one(e.inside[1:] or e.inside, rng)))
        out["stated"].append(_after(told, *_one(e.outside, rng)))
        query, answer = _one(e.outside if rng.random() < 0.5 else e.inside, rng)
        out["plain"].append((Prompt.of(query), answer))
    return out


def _one(pairs: Sequence[tuple[Query, str]], rng: np.random.Generator) -> tuple[Query, str]:
    return pairs[int(rng.integers(len(pairs)))]


def _after(said: str, query: Query, answer: str) -> _Question:
    return after([said], query), answer
