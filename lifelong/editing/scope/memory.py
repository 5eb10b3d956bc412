"""A memory of edits behind a scope classifier: the machinery that SERAC-like editors share.

A stored edit is a key z of fixed width (`classifier.ScopeClassifier`) and whatever the counterfactual model keeps of
it (`counterfactual.Counterfactual`). Knows queries, edits, keys and routes; nothing of probes, clocks or panels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from pydantic import Field

from lifelong.bank import Bank
from lifelong.editing.contract import (
    Answerer,
    Editor,
    EditorOptions,
    EncoderOptions,
    IndexOptions,
    Keys,
    Route,
    State,
)
from lifelong.editing.facts.statement import StatementOptions
from lifelong.editing.ops import NotFiniteError
from lifelong.editing.questions import EditedQuestions, ReeditOptions
from lifelong.editing.scope.classifier import Fusion, ScopeClassifier, ScopeFeatures, rho
from lifelong.editing.scope.counterfactual import CopyTraining, Counterfactual, CounterfactualCopy
from lifelong.editing.scope.training import ScopeTraining, fit_scope
from lifelong.editing.settled import unused
from streams.types import Edit, Pool, Query

if TYPE_CHECKING:
    from lifelong.models.vlm import VLM

FAINT = 1e-6
"""In the soft mixture a counterfactual answer with less than this share is left out."""
AFTER_FIT = {"threshold", "mixing", "supersede", "capacity", "eviction", "index"}


class ScopeOptions(ReeditOptions, EncoderOptions, StatementOptions, IndexOptions):
    """Settings of a memory behind a scope classifier."""

    edit_side: Literal["prompt+target", "prompt"] = Field(
        default="prompt+target", description="which words of an edit its key is made of; a query's are its prompt"
    )
    width: int = Field(
        128, ge=2, description="columns of the words' and of the picture's part of a key (published 512)"
    )
    scale: float = Field(1.0, gt=0, description="rho = exp(-scale * squared distance)")
    threshold: float = Field(0.5, ge=0, lt=1, description="an edit is in scope above this rho")
    mixing: Literal["hard", "soft"] = Field(
        "hard", description="hard: one model answers; soft: log[(1 - rho) base + rho counterfactual] for every query"
    )
    counterfactual: Literal["trained", "context"] = Field(
        "trained",
        description="what answers in scope: a trained copy of the last layers, or the base reading the edit",
    )
    copied: float = Field(
        1 / 3,
        gt=0,
        le=1,
        description="share of the decoder layers, from the top, that the copy trains (published 1/32)",
    )
    capacity: int | None = Field(default=None, ge=1, description="most edits kept; none: all")
    eviction: Literal["never", "fifo"] = Field("never", description="what makes room in a full bank")
    steps: int = Field(600, ge=1, description="optimiser steps of each trained part (published 50,000 of one edit)")
    batch: int = Field(192, ge=2, description="edits a step of the classifier")
    learning_rate: float = Field(
        1e-3, gt=0, description="of the classifier's heads (published 1e-5 for whole encoders)"
    )
    answer_batch: int = Field(24, ge=1, description="questions a step of the counterfactual model")
    answer_rate: float = Field(3e-4, gt=0, description="learning rate of the counterfactual model")
    pool: int = Field(3000, ge=2, description="training items asked of the stream")


class ScopeMemory(Editor):
    """Edits in a bank of scope keys; in scope the counterfactual model answers, else the base.

    A subclass says which pictures its classifier reads, and how it fuses them with the words (`_reads`).
    """

    Options = ScopeOptions
    searched = {"threshold": (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9), "mixing": ("hard", "soft")}
    # Not copied=1/32: it is another fit, and of six layers it is none.
    published = {"supersede": "keep"}
    removes = True
    replaces = True
    lasting = True
    trains = True
    options: ScopeOptions

    def __init__(self, vlm: VLM, options: ScopeOptions | None = None, *, seed: int = 0) -> None:
        super().__init__(vlm, options, seed=seed)
        o = self.options
        fusion, pictures = self._reads()
        self.features = ScopeFeatures(vlm, o.encoder, pictures)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.classifier = ScopeClassifier(
                self.features.text_width, self.features.image_width, width=o.width, fusion=fusion
            )
        # Double precision: a key must not depend on the batch that it was computed in.
        self.classifier.double().eval().requires_grad_(False)
        self.lasting = o.capacity is None  # else an entry may be evicted
        self.bank = Bank(self.classifier.width, metric="l2", capacity=o.capacity, eviction=o.eviction, index=o.index)
        self.model = self._counterfactual()
        self.questions = EditedQuestions()

    def _reads(self) -> tuple[Fusion, str | None]:
        """Return the fusion and the image encoder; None: the classifier never sees a picture."""
        return "text", None

    def _counterfactual(self) -> Counterfactual:
        """Return what answers queries in scope."""
        o = self.options
        how = CopyTraining(o.steps, o.answer_batch, o.answer_rate)
        share = o.copied if o.counterfactual == "trained" else 0.0
        return CounterfactualCopy(self.vlm, share=share, template=o.template, how=how, what=self._name)

    @property
    def _name(self) -> str:
        return type(self).__name__.lower()

    # Training

    def fit(self, pool: Pool) -> None:
        """Train the scope classifier, then the counterfactual model."""
        o = self.options
        reads = o.edit_side == "prompt+target"
        how = ScopeTraining(o.steps, o.batch, o.learning_rate, o.scale, reads_target=reads)
        fit_scope(
            self.classifier, self.features, pool, how, seed=self.seed, what=self._name, unfinished=self.unfinished
        )
        self.model.fit(pool, seed=self.seed, unfinished=self.unfinished)
        self.load_fitted(self.fitted())  # what a later run loads is rounded, and this one works with the same

    @classmethod
    def settles(cls, options: ScopeOptions, vlm: VLM) -> ScopeOptions:
        """Return the options without the threshold where every query is mixed, and what nothing reads."""
        off = {"threshold"} if options.mixing == "soft" else set()
        off |= {"eviction"} if options.capacity is None else set()
        off |= {"copied", "answer_batch", "answer_rate"} if options.counterfactual == "context" else set()
        return unused(super().settles(options, vlm), off)

    @classmethod
    def fit_options(cls, options: EditorOptions) -> Mapping[str, Any]:
        """Return the options that decide what `fit` learns."""
        return options.model_dump(mode="json", exclude=AFTER_FIT)

    def fitted(self) -> State:
        """Return the classifier's weights and what the counterfactual model learnt, the former in half precision."""
        scope = {n: t.detach().half().contiguous() for n, t in self.classifier.state_dict().items()}
        return State.joined(scope=State(scope, {}), counterfactual=State(self.model.fitted(), {}))

    def load_fitted(self, state: State) -> None:
        """Take over trained weights."""
        # Fits that ship name their parts in the tensors' names only.
        state = State(state.tensors, {"scope": {}, "counterfactual": {}, **state.meta})
        scope = {n: t.double() for n, t in state.part("scope").tensors.items()}
        self.classifier.double().load_state_dict(scope, strict=True)
        self.model.load_fitted(state.part("counterfactual").tensors)

    # Editing

    def edit(self, edits: Sequence[Edit]) -> None:
        """Store each edit's key; raises `NotFiniteError` naming an edit without a finite one."""
        for edit in edits:
            key = self._keys([edit.query], [edit.target])
            if not np.isfinite(key).all():
                raise NotFiniteError(f"{self._name}, edit {edit.id}: its scope key is not finite.")
            self.model.take(edit)  # whatever fails has failed by now: nothing was changed
            if self.options.supersede == "replace":
                self.remove(self.questions.older(edit))
            gone = self.bank.add([edit.id], key)
            self.model.drop(gone)
            self.questions.drop(gone)
            self.questions.add(edit)

    def encode(self, queries: Sequence[Query]) -> Keys:
        """Return `key` (n, width of z): a function of the query and of frozen and trained weights only."""
        return Keys({"key": self._keys(queries)})

    def _keys(self, queries: Sequence[Query], targets: Sequence[str] | None = None) -> np.ndarray:
        out = np.zeros((len(queries), self.classifier.width), dtype=np.float32)
        reads = targets is not None and self.options.edit_side == "prompt+target"
        for start in range(0, len(queries), 256):
            part = slice(start, start + 256)
            chunk = queries[part] if self.classifier.fusion != "text" else [Query(q.prompt) for q in queries[part]]
            words = self.features.words([q.prompt for q in chunk]).double()
            patches, seen = self.features.shown(chunk)
            told = self.features.words(targets[part]).double() if reads and targets is not None else None
            with torch.no_grad():
                out[part] = self.classifier(words, patches.double(), seen, told).numpy()
        return out

    def route(self, keys: Keys) -> list[Route]:
        """Return the nearest edit where its rho exceeds the threshold; its score is rho, and so is `best`."""
        if not len(self.bank) or not len(keys):
            return [Route()] * len(keys)
        o = self.options
        found = self.bank.search(keys["key"], 1, keys.memo("key"))
        distance = torch.from_numpy(found.scores[:, 0].astype(np.float64))
        near = rho(distance.square(), o.scale).tolist()
        revisions = self.bank.revision_of(found.rows[:, 0])
        limit = o.threshold if o.mixing == "hard" else FAINT
        routes = []
        for ids, p, revision in zip(found.ids, near, revisions, strict=True):
            weight = 1.0 if o.mixing == "hard" else p
            inside = p > limit
            routes.append(Route(ids, (p,), (weight,), (int(revision),), best=p) if inside else Route(best=p))
        return routes

    def applied(self, queries: Sequence[Query], routes: Sequence[Route]) -> AbstractContextManager[Answerer]:
        """Return a context in which routed queries are answered by the counterfactual model."""
        return self.model.answering(queries, routes)

    def remove(self, ids: Sequence[str]) -> None:
        """Forget edits; one that is not stored any more (replaced or evicted) is passed over."""
        stored = [edit_id for edit_id in ids if edit_id in self.bank]
        self.bank.remove(stored)
        self.model.drop(stored)
        self.questions.drop(stored)

    # State

    def nbytes(self) -> int:
        """Return the bytes of keys and of what the counterfactual model keeps."""
        return self.bank.nbytes() + self.model.nbytes()

    def bank_len(self) -> int:
        """Return the number of stored edits."""
        return len(self.bank)

    def routing_banks(self) -> Sequence[Bank]:
        """Return the bank that `route` searches."""
        return [self.bank]

    def state(self) -> State:
        """Return the bank, what the counterfactual model keeps, and the edits' questions."""
        meta = {"revision": self.revision, "questions": self.questions.table()}
        return State.joined(meta, bank=self.bank.state(), model=self.model.state())

    def load(self, state: State) -> None:
        """Go on from a state."""
        super().load(state)
        self.bank.load(state.part("bank"))
        self.model.load(state.part("model"))
        self.questions.load(state.meta["questions"])
