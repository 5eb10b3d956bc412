"""Training a scope classifier on a pool: which questions lie in an edit's scope, and the cross-entropy of saying so.

Knows pool items and the classifier; nothing of banks, editors or answers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lifelong.editing.ops import NotFiniteError
from lifelong.editing.pools import inside_of, outside_of
from lifelong.editing.scope.classifier import CHUNK, ScopeClassifier, ScopeFeatures, padded, squared_distances
from lifelong.editing.training import share_of, steps_of
from streams.types import ImageRef, Pool, PoolItem, Query

NEAREST = 1e-3
"""The least squared distance a loss sees: below it the logarithm of 1 - rho would run away."""


@dataclass(frozen=True)
class ScopeTraining:
    """How a classifier is trained: steps of Adam, edits a step, learning rate, strangers counted per query."""

    steps: int
    batch: int
    rate: float
    scale: float = 1.0
    hardest: int = 8
    reads_target: bool = True


@dataclass(frozen=True)
class _Example:
    """One pool item as row numbers: its edit, its target's words, and the questions inside and outside its scope."""

    edit: int
    target: int
    inside: tuple[int, ...]
    outside: tuple[int, ...]
    fact: tuple[str, str]
    prompt: str


class _Table:
    """Frozen features of everything that training reads, each computed once; pictures in half precision."""

    def __init__(self, features: ScopeFeatures, pool: Pool, *, words_only: bool) -> None:
        self.asked: list[Query] = []
        self.texts: dict[str, int] = {}
        self.refs: dict[str, ImageRef] = {}
        self._rows: dict[str, int] = {}
        self.image_width = features.image_width
        self.examples = [self._example(item, words_only) for item in pool.items]
        self.text_of = torch.tensor([self.texts[q.prompt] for q in self.asked])
        self.words = features.words(list(self.texts))
        self.patches: dict[str, Tensor] = {}
        if not words_only:
            refs = list(self.refs.values())
            for low in range(0, len(refs), CHUNK):
                part = refs[low : low + CHUNK]
                found = zip(part, features.patches(part), strict=True)
                self.patches |= {ref.digest: rows.half() for ref, rows in found}

    def _example(self, item: PoolItem, words_only: bool) -> _Example:
        edit = item.edit
        inside = tuple(self._row(p.query) for p in inside_of(item))
        outside = tuple(self._row(p.query) for p in outside_of(item, words_only=words_only))
        target = self.texts.setdefault(edit.target, len(self.texts))
        fact = (edit.subject, edit.relation)
        return _Example(self._row(edit.query), target, inside, outside, fact, edit.query.prompt)

    def _row(self, query: Query) -> int:
        if query.digest not in self._rows:
            self._rows[query.digest] = len(self.asked)
            self.asked.append(query)
            self.texts.setdefault(query.prompt, len(self.texts))
            if query.image is not None:
                self.refs.setdefault(query.image.digest, query.image)
        return self._rows[query.digest]

    def keys(self, classifier: ScopeClassifier, rows: Sequence[int], targets: Sequence[int] | None = None) -> Tensor:
        """Return z of some rows; `targets` are rows of words."""
        images = [self.asked[r].image for r in rows]
        parts = [None if image is None else self.patches.get(image.digest) for image in images]
        told = None if targets is None else self.words[list(targets)]
        return classifier(self.words[self.text_of[list(rows)]], *padded(parts, self.image_width), told)


def fit_scope(
    classifier: ScopeClassifier,
    features: ScopeFeatures,
    pool: Pool,
    how: ScopeTraining,
    *,
    seed: int,
    what: str,
    unfinished: Path | None = None,
) -> list[dict[str, float]]:
    """Train a classifier in place by binary cross-entropy and return the losses every 25 steps.

    Per edit one question inside and one outside its own scope (the papers' pairs), and the questions of the step's
    other edits as further outside ones, of which the `hardest` nearest count for each question; the three means add
    up. A text-only classifier is not asked what words cannot tell: another edit's question in the same words, or a
    question about a picture under the same relation. Raises `ValueError` for fewer than two usable items and
    `NotFiniteError` on divergence.
    """
    words_only = classifier.fusion == "text"
    table = _Table(features, pool, words_only=words_only)
    usable = [e for e in table.examples if e.inside]
    if len(usable) < 2:
        raise ValueError(f"{what}: {len(usable)} of {len(pool.items)} pool items have a question in scope; 2 needed.")
    rng = np.random.default_rng(np.random.SeedSequence([seed, 0x5C0BE]))
    classifier.float().train().requires_grad_(True)
    optimizer = torch.optim.AdamW(classifier.parameters(), lr=how.rate, weight_decay=0.01)
    plain: dict[str, Any] = {"history": []}
    try:
        for step in steps_of(
            how.steps, what=f"fit {what}: scope", tensors=classifier.state_dict, optimizers=[optimizer], rng=rng,
            plain=plain, unfinished=unfinished,
        ):  # fmt: skip
            optimizer.param_groups[0]["lr"] = how.rate * share_of(step, how.steps)
            losses = _losses(classifier, table, _draw(usable, how.batch, rng), how, rng, words_only=words_only)
            total = torch.stack(list(losses.values())).sum()
            if not bool(torch.isfinite(total)):
                raise NotFiniteError(f"{what}: the scope loss is {float(total)} at step {step}; lower learning_rate.")
            optimizer.zero_grad(set_to_none=True)
            total.backward()
            nn.utils.clip_grad_norm_(classifier.parameters(), 1.0)
            optimizer.step()
            if step % 25 == 0 or step == how.steps - 1:
                plain["history"].append({"step": step} | {name: float(v.detach()) for name, v in losses.items()})
    finally:
        classifier.eval().requires_grad_(False)
    return plain["history"]


def _draw(examples: Sequence[_Example], n: int, rng: np.random.Generator) -> list[_Example]:
    """Draw examples whose facts differ: two targets of one fact would each be the other's false stranger."""
    out: dict[tuple[str, str], _Example] = {}
    for i in rng.permutation(len(examples)):
        out.setdefault(examples[i].fact, examples[i])
        if len(out) == n:
            break
    return list(out.values())


def _one(rows: Sequence[int], rng: np.random.Generator) -> int:
    return rows[int(rng.integers(len(rows)))]


def _losses(
    classifier: ScopeClassifier,
    table: _Table,
    chosen: Sequence[_Example],
    how: ScopeTraining,
    rng: np.random.Generator,
    *,
    words_only: bool,
) -> dict[str, Tensor]:
    n = len(chosen)
    inside = [_one(e.inside, rng) for e in chosen]
    outside = [_one(e.outside, rng) if e.outside else e.edit for e in chosen]
    asked = [*inside, *outside]
    targets = [e.target for e in chosen] if how.reads_target else None
    edits = table.keys(classifier, [e.edit for e in chosen], targets)
    apart = how.scale * squared_distances(edits, table.keys(classifier, asked))
    own = torch.tensor([bool(e.outside) for e in chosen])
    strange = ~torch.eye(n, dtype=torch.bool).repeat(1, 2) & torch.cat([torch.ones(n, dtype=torch.bool), own])[None]
    strange &= ~_untellable(table, chosen, asked, words_only=words_only)
    nearest = apart.masked_fill(~strange, math.inf).topk(min(how.hardest, n), dim=0, largest=False).values
    losses = {"inside": apart[:, :n].diagonal().mean()}
    for name, distances in (("outside", apart[:, n:].diagonal()[own]), ("strangers", nearest[nearest.isfinite()])):
        if len(distances):
            losses[name] = -torch.log(-torch.expm1(-distances.clamp(min=NEAREST))).mean()
    return losses


def _untellable(table: _Table, chosen: Sequence[_Example], asked: Sequence[int], *, words_only: bool) -> Tensor:
    """Return which (edit, question) pairs cannot be told apart by what the classifier sees, (n, questions) bool."""
    edits = np.array([e.edit for e in chosen])[:, None]
    same = edits == np.array(asked)[None]
    if words_only:
        prompts = np.array([e.prompt for e in chosen], dtype=object)[:, None]
        same |= prompts == np.array([table.asked[r].prompt for r in asked], dtype=object)[None]
        # Questions come as one block inside and one outside, each in the order of `chosen`.
        relations = np.array([e.fact[1] for e in chosen], dtype=object)
        pictured = np.array([table.asked[r].image is not None for r in asked])
        pictured[len(chosen) :] = False
        asking = np.tile(relations, 2)
        same |= (relations[:, None] == asking[None]) & (relations[:, None] != "") & pictured[None]
    return torch.from_numpy(same.astype(bool))
