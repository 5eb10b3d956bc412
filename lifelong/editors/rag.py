"""Retrieval in the prompt: the nearest stored edit is stated as a new fact before the question.

Knows queries, edits and frozen encoders; it changes no weight and no hidden state. The in-context family of
SERAC's memory, IKE and LTE (arXiv 2305.12740, 2402.11905) with retrieval by image and text instead of text alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import Field, field_validator

from lifelong.bank import Bank
from lifelong.editor import Answerer, Editor, EditorOptions, Keys, Route, State
from lifelong.models.encoders import image_encoder, text_encoder
from streams.types import Edit, Pool, Probe, Prompt, Query

if TYPE_CHECKING:
    from lifelong.models.vlm import VLM

UNFITTED = 0.85
"""The cosine above which an edit is in scope when neither the options nor `fit` gave a threshold."""


IN_SCOPE = ("reliability", "generality")
WEIGHTS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""The shares of the image that `fit` tries."""


@dataclass(frozen=True)
class Fact:
    """The words of a stored edit."""

    prompt: str
    target: str


class RagOptions(EditorOptions):
    """Settings of the retriever."""

    keys: Literal["both", "text", "image"] = Field(
        default="both", description="what edits and queries are compared by"
    )
    image_weight: float | None = Field(
        default=None, gt=0, lt=1, description="share of the image in the cosine of keys=both; none: calibrated by fit"
    )
    encoder: str = Field(default="base", description="text encoder: base (the model itself), minilm or path:FOLDER")
    image_encoder: str = Field(default="base", description="image encoder: base or path:FOLDER")
    k: int = Field(default=1, ge=1, description="at most so many edits are stated")
    capacity: int | None = Field(default=None, ge=1, description="most edits kept; none: all")
    eviction: Literal["never", "fifo"] = Field(default="never", description="what makes room in a full bank")
    threshold: float | None = Field(
        default=None, ge=-1, le=1, description="least cosine in scope; none: calibrated by fit"
    )
    template: str = Field(
        default="New fact: {prompt} It is {target}.", description="how one edit is stated before the query"
    )

    @field_validator("template")
    @classmethod
    def _names_both(cls, value: str) -> str:
        try:
            value.format(prompt="", target="")
        except (KeyError, IndexError, ValueError) as error:
            raise ValueError(f"template={value!r}: only {{prompt}} and {{target}} can be filled in") from error
        if "{prompt}" not in value or "{target}" not in value:
            raise ValueError(f"template={value!r} must contain {{prompt}} and {{target}}")
        return value


def best_threshold(inside: np.ndarray, outside: np.ndarray) -> tuple[float, float]:
    """Return the score that best separates two samples, and the mean of both shares on the right side there.

    Of equally good scores the middle of the widest gap is taken; an empty sample gives `UNFITTED` and 0.

    >>> best_threshold(np.array([0.9, 0.8]), np.array([0.1, 0.4]))
    (0.6, 1.0)
    """
    if not len(inside) or not len(outside):
        return UNFITTED, 0.0
    scores = np.unique(np.concatenate([inside, outside]).astype(np.float64))
    cuts = np.concatenate([scores[:1], (scores[:-1] + scores[1:]) / 2])
    gaps = np.concatenate([[0.0], np.diff(scores)])
    kept = 1 - np.searchsorted(np.sort(inside), cuts) / len(inside)
    refused = np.searchsorted(np.sort(outside), cuts) / len(outside)
    quality = np.round((kept + refused) / 2, 9)
    best = int(np.lexsort((gaps, quality))[-1])
    return round(float(cuts[best]), 6), float(quality[best])


class Rag(Editor):
    """Retrieved edits in the prompt (reference; retrieval as in LTE, arXiv 2402.11905, section 3.2)."""

    Options = RagOptions
    removes = True
    trains = True
    append_only: ClassVar[bool] = True
    options: RagOptions

    def __init__(self, vlm: VLM, options: RagOptions | None = None, *, seed: int = 0) -> None:
        super().__init__(vlm, options, seed=seed)
        keys = self.options.keys
        self.text = None if keys == "image" else text_encoder(self.options.encoder, vlm)
        self.image = None if keys == "text" else image_encoder(self.options.image_encoder, vlm)
        self.width = sum(encoder.width for encoder in (self.text, self.image) if encoder is not None)
        self.bank = Bank(self.width, metric="ip", capacity=self.options.capacity, eviction=self.options.eviction)
        self.facts: dict[str, Fact] = {}
        self.weight = 0.5 if self.options.image_weight is None else self.options.image_weight
        self.thresholds = {"image": UNFITTED, "text": UNFITTED}

    def fit(self, pool: Pool) -> None:
        """Calibrate the image's weight and the thresholds, one for queries with a picture, one for those without.

        In scope: reliability and generality probes, where they find their own edit. Out of scope: probes whose
        reference is the baseline. The options `image_weight` and `threshold` overrule what is found here.
        """
        edits = [item.edit for item in pool.items]
        probes = [p for item in pool.items for p in item.probes if p.reference == "baseline" or p.axis in IN_SCOPE]
        if not edits or not probes:
            return
        fixed = self.options.keys != "both" or self.options.image_weight is not None
        best = -1.0
        for weight in (self.weight,) if fixed else WEIGHTS:
            thresholds, quality = self._calibrate(edits, probes, weight)
            if quality > best:
                best, self.weight, self.thresholds = quality, weight, thresholds

    def _calibrate(self, edits: list[Edit], probes: list[Probe], weight: float) -> tuple[dict[str, float], float]:
        """Return the thresholds under a weight, and how well queries with a picture are told apart, 0 to 1."""
        bank = Bank(self.width, metric="ip")
        bank.add([e.id for e in edits], self._embed([e.query for e in edits], weight, stored=True))
        found = bank.search(self._embed([p.query for p in probes], weight, stored=False), 1)
        samples: dict[tuple[str, bool], list[float]] = {}
        for probe, ids, score in zip(probes, found.ids, found.scores[:, 0].tolist(), strict=True):
            modality, own = "image" if probe.query.image else "text", probe.reference != "baseline"
            # An edit that is found for another one's query would be wrong above every threshold: it counts as missed.
            scored = score if not own or ids[0] == probe.edit_id else -2.0
            samples.setdefault((modality, own), []).append(scored)
        pairs = {
            m: best_threshold(np.array(samples.get((m, True), [])), np.array(samples.get((m, False), [])))
            for m in self.thresholds
        }
        return {m: threshold for m, (threshold, _) in pairs.items()}, pairs["image"][1]

    def fit_options(self) -> dict[str, Any]:
        """Return the options that decide what `fit` learns."""
        return self.options.model_dump(mode="json", include={"keys", "image_weight", "encoder", "image_encoder"})

    def fitted(self) -> State:
        """Return the calibrated weight and thresholds."""
        return State({}, {"image_weight": self.weight, "thresholds": self.thresholds})

    def load_fitted(self, state: State) -> None:
        """Take over a calibrated weight and thresholds."""
        self.weight = float(state.meta["image_weight"])
        self.thresholds = {name: float(state.meta["thresholds"][name]) for name in ("image", "text")}

    def edit(self, edits: Sequence[Edit]) -> None:
        """Store each edit; one that supersedes another replaces it."""
        for edit in edits:
            if edit.supersedes is not None and edit.supersedes in self.facts:
                self.remove([edit.supersedes])
            for gone in self.bank.add([edit.id], self._embed([edit.query], self.weight, stored=True)):
                del self.facts[gone]
            self.facts[edit.id] = Fact(edit.query.prompt, edit.target)

    def encode(self, queries: Sequence[Query]) -> Keys:
        """Return `key` (n, width), the weighted text and image embeddings, and `image` (n, 1), 1 with a picture.

        The inner product of a stored key and a query's key is the weighted mean of the text and the image cosine;
        for a query without a picture it is the text cosine alone.
        """
        seen = np.array([[q.image is not None] for q in queries], dtype=np.float32).reshape(-1, 1)
        return Keys({"key": self._embed(queries, self.weight, stored=False), "image": seen})

    def _embed(self, queries: Sequence[Query], weight: float, *, stored: bool) -> np.ndarray:
        weight = weight if self.options.keys == "both" else 1.0
        parts = []
        if self.text is not None:
            text = self.text.encode([q.prompt for q in queries])
            if self.image is not None:
                # Stored and asked text multiply to 1 - weight, for a query without a picture to 1.
                asked = [[1.0 if q.image is not None else 1 / (1 - weight)] for q in queries]
                text = text * ((1 - weight) if stored else np.reshape(asked, (-1, 1)))
            parts.append(text)
        if self.image is not None:
            image = np.zeros((len(queries), self.image.width), dtype=np.float32)
            at = [i for i, q in enumerate(queries) if q.image is not None]
            if at:
                image[at] = self.image.encode([q.image for q in queries if q.image is not None])
            parts.append(image * (weight if stored else 1.0))
        return np.concatenate(parts, axis=1).astype(np.float32)

    def route(self, keys: Keys) -> list[Route]:
        """Return the at most k nearest edits whose cosine reaches the threshold."""
        if not len(self.facts) or not len(keys):
            return [Route()] * len(keys)
        found = self.bank.search(keys["key"], min(self.options.k, len(self.facts)), keys.memo("key"))
        revisions = self.bank.revision_of(np.maximum(found.rows, 0).reshape(-1)).reshape(found.rows.shape)
        routes = []
        for i, seen in enumerate(keys["image"][:, 0]):
            least = self.options.threshold
            least = self.thresholds["image" if seen else "text"] if least is None else least
            hits = np.flatnonzero((found.scores[i] >= least) & (found.rows[i] >= 0))
            ids = tuple(found.ids[i][j] for j in hits)
            scores = tuple(float(found.scores[i, j]) for j in hits)
            routes.append(Route(ids, scores, (1.0,) * len(ids), tuple(int(revisions[i, j]) for j in hits)))
        return routes

    @contextmanager
    def applied(self, queries: Sequence[Query], routes: Sequence[Route]) -> Iterator[Answerer]:
        """Answer each query after its routed facts; a query without a route is asked as it is."""
        pairs = zip(queries, routes, strict=True)
        yield self.vlm.answerer([self._prompt(q, r) if r.in_scope else q for q, r in pairs])

    def _prompt(self, query: Query, route: Route) -> Prompt:
        facts = [self.facts[i] for i in route.ids]
        said = [self.options.template.format(prompt=f.prompt, target=f.target) for f in facts]
        return Prompt.of(Query(" ".join([*said, query.prompt]), query.image))

    def remove(self, ids: Sequence[str]) -> None:
        """Forget edits; one that is not stored any more (replaced or evicted) is passed over."""
        stored = [edit_id for edit_id in ids if self.facts.pop(edit_id, None) is not None]
        self.bank.remove(stored)

    def nbytes(self) -> int:
        """Return the bytes of keys and words."""
        return self.bank.nbytes() + sum(len(f.prompt.encode()) + len(f.target.encode()) for f in self.facts.values())

    def bank_len(self) -> int:
        """Return the number of stored edits."""
        return len(self.facts)

    def state(self) -> State:
        """Return the bank and the words of every edit."""
        inner = self.bank.state()
        facts = [[edit_id, f.prompt, f.target] for edit_id, f in self.facts.items()]
        return State(inner.tensors, {"revision": self.revision, "bank": inner.meta, "facts": facts})

    def load(self, state: State) -> None:
        """Go on from a state."""
        super().load(state)
        self.bank.load(State(state.tensors, state.meta["bank"]))
        self.facts = {edit_id: Fact(prompt, target) for edit_id, prompt, target in state.meta["facts"]}
