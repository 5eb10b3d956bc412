"""Stored facts found again by cosine: what editors share that put retrieved edits into the prompt.

Knows edits, queries, frozen encoders and the bank; nothing of what is done with a fact that was found.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from lifelong.bank import Bank, Eviction
from lifelong.editing.contract import Keys, Route, State
from lifelong.editing.facts.statement import StatedFact
from lifelong.editing.questions import EditedQuestions
from lifelong.models.encoders import image_encoder, text_encoder
from streams.types import Edit, Pool, Probe, Query

if TYPE_CHECKING:
    from lifelong.models.vlm import VLM

KeyKind = Literal["text", "image", "both"]
_IN_SCOPE = ("reliability", "generality")


class Threshold(NamedTuple):
    """The least cosine in scope, and the mean share of in-scope and out-of-scope queries that it tells right."""

    least: float
    right: float


class FactBook:
    """Facts by edit id in a bank whose keys are text embeddings, picture embeddings, or both.

    With `keys="both"` the inner product of a stored key and a query's key is (1 - image_weight) x text cosine +
    image_weight x picture cosine; for a query without a picture it is the text cosine alone. With `answers` the
    stored text is prompt and target, else the prompt. Memory per edit: the key and the words; a query costs one
    product with N keys.
    """

    def __init__(
        self,
        vlm: VLM,
        *,
        keys: KeyKind = "text",
        encoder: str = "base",
        pictures: str = "base",
        image_weight: float = 0.5,
        answers: bool = False,
        capacity: int | None = None,
        eviction: Eviction = "never",
        index: str = "flat",
    ) -> None:
        self.text = None if keys == "image" else text_encoder(encoder, vlm)
        self.image = None if keys == "text" else image_encoder(pictures, vlm)
        self.weight = {"text": 0.0, "image": 1.0, "both": image_weight}[keys]
        self.answers = answers
        self.width = sum(e.width for e in (self.text, self.image) if e is not None)
        self.bank = Bank(self.width, metric="ip", capacity=capacity, eviction=eviction, index=index)
        self.facts: dict[str, StatedFact] = {}
        self.questions = EditedQuestions()

    def __len__(self) -> int:
        return len(self.facts)

    def add(self, edits: Sequence[Edit]) -> list[str]:
        """Store edits, a newer one of a question for the older one; return what is gone (replaced, evicted)."""
        gone = []
        for edit in edits:
            key, older = self.stored([edit]), self.questions.older(edit)
            self.remove(older)
            evicted = self.bank.add([edit.id], key)
            for old in evicted:
                del self.facts[old]
            self.questions.drop(evicted)
            gone += [*older, *evicted]
            self.facts[edit.id] = StatedFact.of(edit)
            self.questions.add(edit)
        return gone

    def stored(self, edits: Sequence[Edit]) -> np.ndarray:
        """Return the keys (n, width) under which edits are stored."""
        texts = [f"{e.query.prompt} {e.target}" if self.answers else e.query.prompt for e in edits]
        weights = np.full((len(edits), 2), [1 - self.weight, self.weight], dtype=np.float32)
        return self._embed(texts, [e.query for e in edits], weights)

    def keys(self, queries: Sequence[Query]) -> Keys:
        """Return `key` (n, width) and `image` (n, 1), 1 for queries with a picture."""
        seen = np.array([[q.image is not None] for q in queries], dtype=np.float32).reshape(-1, 1)
        # A stored text has weight 1 - w: without a picture to add, the text cosine counts in full.
        full = 1 / (1 - self.weight) if self.image is not None and self.text is not None else 1.0
        weights = np.concatenate([np.where(seen > 0, 1.0, full), np.ones_like(seen)], axis=1).astype(np.float32)
        return Keys({"key": self._embed([q.prompt for q in queries], queries, weights), "image": seen})

    def _embed(self, texts: Sequence[str], queries: Sequence[Query], weights: np.ndarray) -> np.ndarray:
        parts = []
        if self.text is not None:
            parts.append(self.text.encode(texts) * weights[:, :1])
        if self.image is not None:
            image = np.zeros((len(queries), self.image.width), dtype=np.float32)
            at = [i for i, q in enumerate(queries) if q.image is not None]
            if at:
                image[at] = self.image.encode([q.image for q in queries if q.image is not None])
            parts.append(image * weights[:, 1:])
        return np.concatenate(parts, axis=1).astype(np.float32)

    def route(self, keys: Keys, k: int, least: Mapping[str, float] | None = None) -> list[Route]:
        """Return the at most k nearest edits that reach `least` (for queries with an `image`, with `text` only).

        Scores and `best` are cosines.
        """
        if not len(self.facts) or not len(keys):
            return [Route()] * len(keys)
        found = self.bank.search(keys["key"], min(k, len(self.facts)), keys.memo("key"))
        revisions = self.bank.revision_of(np.maximum(found.rows, 0).reshape(-1)).reshape(found.rows.shape)
        floors = [-np.inf if least is None else least["image" if s else "text"] for s in keys["image"][:, 0]]
        routes = []
        for i, floor in enumerate(floors):
            hits = np.flatnonzero((found.scores[i] >= floor) & (found.rows[i] >= 0))
            ids, scores = tuple(found.ids[i][j] for j in hits), tuple(float(found.scores[i, j]) for j in hits)
            best = float(found.scores[i, 0]) if found.rows[i, 0] >= 0 else None
            routes.append(Route(ids, scores, revisions=tuple(int(revisions[i, j]) for j in hits), best=best))
        return routes

    def remove(self, ids: Sequence[str]) -> None:
        """Forget edits; one that is not stored any more (replaced or evicted) is passed over."""
        self.bank.remove([edit_id for edit_id in ids if self.facts.pop(edit_id, None) is not None])
        self.questions.drop(ids)

    def nbytes(self) -> int:
        """Return the bytes of keys and words."""
        return self.bank.nbytes() + sum(f.nbytes() for f in self.facts.values())

    def state(self) -> State:
        """Return the bank and the words of every edit."""
        facts = [[edit_id, f.question, f.answer] for edit_id, f in self.facts.items()]
        return State.joined({"facts": facts, "questions": self.questions.table()}, bank=self.bank.state())

    def load(self, state: State) -> None:
        """Go on from a state."""
        self.bank.load(state.part("bank"))
        self.facts = {edit_id: StatedFact(question, answer) for edit_id, question, answer in state.meta["facts"]}
        self.questions.load(state.meta["questions"])

    def calibrated(self, pool: Pool, otherwise: float, *, alone: bool = False) -> dict[str, Threshold]:
        """Return the cosines that best tell a pool's in-scope from its out-of-scope probes, by kind of query.

        In scope: reliability and generality probes that find their own edit among all of the pool's. Out of scope:
        probes whose reference is the baseline. `otherwise` is the threshold of a kind that the pool has no sample of.
        With `alone` a probe meets its own edit only: for keys that many edits share (questions about pictures in the
        same words), where the nearest of all is another's as often as not.
        """
        probes = [p for item in pool.items for p in item.probes if p.reference == "baseline" or p.axis in _IN_SCOPE]
        thresholds = {"image": Threshold(otherwise, 0.0), "text": Threshold(otherwise, 0.0)}
        if not probes:
            return thresholds
        inside = np.array([p.reference != "baseline" for p in probes])
        ids, stored = [item.edit.id for item in pool.items], self.stored([item.edit for item in pool.items])
        keys = self.keys([p.query for p in probes])["key"]
        if alone:
            place = {edit_id: i for i, edit_id in enumerate(ids)}
            scores = (keys * stored[[place[p.edit_id] for p in probes]]).sum(1)
        else:
            bank = Bank(self.width, metric="ip")
            bank.add(ids, stored)
            found = bank.search(keys, 1)
            own = np.array([got[0] == p.edit_id for p, got in zip(probes, found.ids, strict=True)])
            scores = np.where(inside & ~own, -2.0, found.scores[:, 0])  # another's edit: wrong above every threshold
        kinds = np.array([_kind(p) for p in probes])
        for kind in thresholds:
            here = kinds == kind
            if (here & inside).any() and (here & ~inside).any():
                thresholds[kind] = separating(scores[here & inside], scores[here & ~inside])
        return thresholds


def _kind(probe: Probe) -> str:
    return "image" if probe.query.image is not None else "text"


def separating(inside: np.ndarray, outside: np.ndarray) -> Threshold:
    """Return the score with the greatest mean share of both samples on its right side, and that share.

    Of equally good scores it is the middle of the widest gap.

    >>> separating(np.array([0.9, 0.8]), np.array([0.1, 0.4]))
    Threshold(least=0.6, right=1.0)
    """
    scores = np.unique(np.concatenate([inside, outside]).astype(np.float64))
    cuts = np.concatenate([scores[:1], (scores[:-1] + scores[1:]) / 2])
    gaps = np.concatenate([[0.0], np.diff(scores)])
    kept = 1 - np.searchsorted(np.sort(inside), cuts) / len(inside)
    refused = np.searchsorted(np.sort(outside), cuts) / len(outside)
    right = np.round((kept + refused) / 2, 9)
    best = int(np.lexsort((gaps, right))[-1])
    return Threshold(round(float(cuts[best]), 6), float(right[best]))
