"""A trained scope classifier: how likely a query lies in the scope of an edit (arXiv 2206.06520, 2411.12790).

rho = exp(-scale ||z_edit - z_query||^2), where z is made of one item's own words and picture only, so that a stored
key never moves. Words and pictures pass a frozen encoder and then a trained head (the papers tune the encoder too).
Knows queries, pool items and frozen encoders; nothing of banks, editors or answers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from lifelong.models.encoders import image_encoder, text_encoder
from lifelong.ops import NotFiniteError
from streams.types import ImageRef, Pool, PoolItem, Probe, Prompt, Query

if TYPE_CHECKING:
    from lifelong.models.vlm import VLM

Fusion = Literal["dot", "concatenation", "cross-attention", "text"]
INSIDE = ("reliability", "generality", "specificity")
"""The axes whose questions with the edit's answer lie in its scope."""
PLACES = 4
"""Columns that say where in its picture a patch lies: the sine and cosine of one and two turns."""
CHUNK = 64
LOOK = "What is this?"
NEAREST = 1e-3
"""The least squared distance a loss sees: below it the logarithm of 1 - rho would run away."""


def rho(squared_distance: Tensor, scale: float = 1.0) -> Tensor:
    """Return the probability of being in scope: 1 at distance 0, 0.5 at a squared distance of ln 2 / scale.

    >>> rho(torch.tensor([0.0]))
    tensor([1.])
    """
    return torch.exp(-scale * squared_distance)


def squared_distances(left: Tensor, right: Tensor) -> Tensor:
    """Return all squared Euclidean distances of (n, width) and (m, width): (n, m), differentiable at 0."""
    return (left.square().sum(1)[:, None] + right.square().sum(1)[None] - 2 * left @ right.T).clamp(min=0)


def attend(asking: Tensor, offered: Tensor, values: Tensor, seen: Tensor) -> Tensor:
    """Return softmax(asking offered^T) values per item, over what is seen; zero where an item shows nothing.

    asking (n, width), offered and values (n, patches, width), seen (n, patches) bool; a zero `asking` is the mean.
    """
    scores = torch.einsum("nw,npw->np", asking, offered)
    scores = scores.masked_fill(~seen, -math.inf)
    most = scores.amax(1, keepdim=True)
    shares = torch.exp(scores - torch.where(most.isfinite(), most, torch.zeros_like(most))) * seen
    shares = shares / shares.sum(1, keepdim=True).clamp(min=1e-12)
    return torch.einsum("np,npw->nw", shares, values)


def fuse(fusion: Fusion, text: Tensor, patches: Tensor, seen: Tensor) -> Tensor:
    """Return z: the words alone, or [text; picture], (n, width) or (n, 2 width).

    `dot`: the picture is what the words attend to, softmax(t I^T) I with I the item's own patches. `concatenation`:
    the mean of its patches. With one patch both are that patch. Cross-attention has weights of its own: see
    `ScopeClassifier`.
    """
    if fusion == "text":
        return text
    asking = text if fusion == "dot" else torch.zeros_like(text)
    return torch.cat([text, attend(asking, patches, patches, seen)], 1)


class Head(nn.Module):
    """A linear map with a residual correction that starts at zero, and a trained scale: (..., in) to (..., width)."""

    def __init__(self, given: int, width: int) -> None:
        super().__init__()
        self.straight = nn.Linear(given, width)
        self.up, self.down = nn.Linear(given, 2 * width), nn.Linear(2 * width, width)
        nn.init.normal_(self.straight.weight, std=given**-0.5)
        nn.init.zeros_(self.straight.bias)
        nn.init.zeros_(self.down.weight)
        nn.init.zeros_(self.down.bias)
        # Unrelated items then lie at a squared distance of about 8: rho is about 0.0003.
        self.log_scale = nn.Parameter(torch.tensor(math.log(2 / math.sqrt(width))))

    def forward(self, rows: Tensor) -> Tensor:
        """Return the rows in the space of scope."""
        return self.log_scale.exp() * (self.straight(rows) + self.down(F.gelu(self.up(rows))))


class ScopeClassifier(nn.Module):
    """From frozen features to z: the trained half of the scope classifier."""

    def __init__(self, text_width: int, image_width: int, *, width: int, fusion: Fusion) -> None:
        super().__init__()
        self.fusion: Fusion = fusion
        self.width = width if fusion == "text" else 2 * width
        self.text = Head(text_width, width)
        self.target = nn.Linear(text_width, width, bias=False)
        nn.init.zeros_(self.target.weight)
        if fusion != "text":
            self.image = Head(image_width + PLACES, width)
        if fusion == "cross-attention":
            self.asks, self.offers, self.gives = (nn.Linear(width, width, bias=False) for _ in range(3))

    def forward(self, text: Tensor, patches: Tensor, seen: Tensor, target: Tensor | None = None) -> Tensor:
        """Return z (n, width) of text (n, text width) and patches (n, most, image width + PLACES), seen (n, most).

        The edit's side adds what a linear map, zero at first, makes of the words of its target.
        """
        words = self.text(text)
        if target is not None:
            words = words + self.text.log_scale.exp() * self.target(target)
        if self.fusion == "text":
            return words
        looks = self.image(patches)
        if self.fusion == "cross-attention":
            asked = self.asks(words) / math.sqrt(words.shape[1])
            return torch.cat([words, attend(asked, self.offers(looks), self.gives(looks), seen)], 1)
        return fuse(self.fusion, words, looks, seen)


class ScopeFeatures:
    """The frozen half: words and pictures as rows whose mean square is 1."""

    def __init__(self, vlm: VLM, words: str, pictures: str | None) -> None:
        self.vlm = vlm
        self.encoder = text_encoder(words, vlm)
        self.text_width = self.encoder.width
        self.pictures = image_encoder(pictures, vlm) if pictures not in (None, "base") else None
        self.image_width = self.pictures.width if self.pictures is not None else vlm.width

    def words(self, texts: Sequence[str]) -> Tensor:
        """Return (n, text width)."""
        return torch.from_numpy(self.encoder.encode(texts) * math.sqrt(self.text_width))

    def patches(self, refs: Sequence[ImageRef]) -> list[Tensor]:
        """Return (patches, image width + PLACES) per picture: its tokens as the base reads them, or one of an encoder."""
        if self.pictures is not None:
            rows = torch.from_numpy(self.pictures.encode(refs))
            return [_placed(row[None]) for row in rows]
        out: list[Tensor] = []
        for start in range(0, len(refs), CHUNK):
            hidden = self.vlm.hidden([Prompt((ref, LOOK)) for ref in refs[start : start + CHUNK]], 0)
            pairs = zip(hidden.states, hidden.image, strict=True)
            out += [_placed(s[m.to(s.device)].float().cpu()) for s, m in pairs]
        return out

    def shown(self, queries: Sequence[Query]) -> tuple[Tensor, Tensor]:
        """Return the patches of each query's picture, padded, and which are seen; nothing where there is none."""
        refs = {q.image.digest: q.image for q in queries if q.image is not None}
        found = dict(zip(refs, self.patches(list(refs.values())), strict=True))
        return padded([found[q.image.digest] if q.image is not None else None for q in queries], self.image_width)


def _placed(rows: Tensor) -> Tensor:
    """Scale patches to a mean square of 1 and add the columns that say where each lies."""
    rows = rows / rows.square().mean(1, keepdim=True).sqrt().clamp(min=1e-12)
    at = 2 * math.pi * (torch.arange(len(rows)) + 0.5)[:, None] / len(rows)
    return torch.cat([rows, torch.sin(at), torch.cos(at), torch.sin(2 * at), torch.cos(2 * at)], 1)


def padded(parts: Sequence[Tensor | None], image_width: int) -> tuple[Tensor, Tensor]:
    """Return patches (n, most, image width + PLACES) and which are real; None is an item without a picture."""
    nothing = torch.zeros(0, image_width + PLACES)
    rows = [nothing if part is None else part.float() for part in parts]
    lengths = torch.tensor([len(row) for row in rows], dtype=torch.long)
    most = max(int(lengths.max()) if len(rows) else 0, 1)
    whole = pad_sequence([*rows, torch.zeros(most, image_width + PLACES)], batch_first=True)[:-1]
    return whole, torch.arange(most)[None] < lengths[:, None]


# Training


def inside_of(item: PoolItem) -> list[Probe]:
    """Return the questions of a training item that the edit should answer."""
    return [p for p in item.probes if p.axis in INSIDE and p.reference == "target"]


def outside_of(item: PoolItem, *, words_only: bool = False) -> list[Probe]:
    """Return the questions that it should leave alone; with `words_only` those whose words differ from all inside."""
    same = {item.edit.query.prompt, *(p.query.prompt for p in inside_of(item))} if words_only else set()
    return [p for p in item.probes if p.reference == "baseline" and p.query.prompt not in same]


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
    classifier: ScopeClassifier, features: ScopeFeatures, pool: Pool, how: ScopeTraining, *, seed: int, what: str
) -> list[dict[str, float]]:
    """Train a classifier in place by binary cross-entropy and return the losses every 25 steps.

    Per edit one question inside and one outside its own scope (the papers' pairs), and the questions of the step's
    other edits as further outside ones, of which the `hardest` nearest count for each question; the three means add
    up. A text-only classifier is not asked what words cannot tell: another edit's question in the same words, or a
    question about a picture under the same relation. Raises `ValueError` for fewer than two usable items and
    `NotFiniteError` on divergence.
    """
    from rich.progress import track

    words_only = classifier.fusion == "text"
    table = _Table(features, pool, words_only=words_only)
    usable = [e for e in table.examples if e.inside]
    if len(usable) < 2:
        raise ValueError(f"{what}: {len(usable)} of {len(pool.items)} pool items have a question in scope; 2 needed.")
    rng = np.random.default_rng(np.random.SeedSequence([seed, 0x5C0BE]))
    classifier.float().train().requires_grad_(True)
    optimizer = torch.optim.AdamW(classifier.parameters(), lr=how.rate, weight_decay=0.01)
    history: list[dict[str, float]] = []
    try:
        for step in track(range(how.steps), description=f"fit {what}: scope"):
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
                history.append({"step": step} | {name: float(v.detach()) for name, v in losses.items()})
    finally:
        classifier.eval().requires_grad_(False)
    return history


def share_of(step: int, steps: int) -> float:
    """Return the share of the learning rate at a step: up over 30 steps, then down as a cosine to a hundredth."""
    return min(1.0, (step + 1) / 30) * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * step / steps)))


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
