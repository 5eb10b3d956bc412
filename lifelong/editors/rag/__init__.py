"""Retrieval in the prompt: the nearest stored edit is stated as a new fact before the question.

Knows queries, edits and frozen encoders; it changes no weight and no hidden state. The in-context family of
SERAC's memory, IKE and LTE (arXiv 2305.12740, 2402.11905) with retrieval by image and text instead of text alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pydantic import Field

from lifelong.editing.contract import Answerer, EditorOptions, Keys, Route, State
from lifelong.editing.facts.book import KeyKind
from lifelong.editing.facts.fact_editor import BookOptions, FactEditor
from lifelong.editing.facts.statement import stated
from lifelong.editing.settled import key_options_unused, unused
from streams.types import Pool, Query

if TYPE_CHECKING:
    from lifelong.models.vlm import VLM

_UNFITTED = 0.85
"""The cosine above which an edit is in scope when neither the options nor `fit` gave a threshold."""

WEIGHTS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""The shares of the image that `fit` tries."""


class RagOptions(BookOptions):
    """Settings of the retriever."""

    keys: KeyKind = Field(default="both", description="what edits and queries are compared by")
    image_weight: float | None = Field(
        default=None, gt=0, lt=1, description="share of the image in the cosine of keys=both; none: calibrated by fit"
    )
    k: int = Field(default=1, ge=1, description="at most so many edits are stated")
    threshold: float | None = Field(
        default=None, ge=-1, le=1, description="least cosine in scope; none: calibrated by fit"
    )


class Rag(FactEditor):
    """Retrieved edits in the prompt (reference; retrieval as in LTE, arXiv 2402.11905, section 3.2).

    An expert is an edit's words. A query is routed to the at most k stored edits whose frozen encodings of words and
    picture, weighed and (encoder width,) long, reach a cosine with its own; they are stated before it. `fit` sets the
    picture's weight and the thresholds; nothing else is trained.

    Memory per edit: its key (encoder width floats) and its words. A query costs one encoding, N products and a prompt
    longer by k statements.
    """

    Options = RagOptions
    searched = {
        "k": (1, 2),
        "keys": ("both", "text", "image"),
        "encoder": ("base", "minilm"),
        "threshold": (None, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 0.98),
    }
    options: RagOptions

    def __init__(self, vlm: VLM, options: RagOptions | None = None, *, seed: int = 0) -> None:
        super().__init__(vlm, options, seed=seed)
        o = self.options
        self.open_book(o, o.image_weight or 0.5)
        self.thresholds = {"image": _UNFITTED, "text": _UNFITTED}

    def fit(self, pool: Pool) -> None:
        """Calibrate the image's weight and the thresholds, one for queries with a picture, one for those without.

        The weight is the one whose threshold tells most queries with a picture right. The options `image_weight` and
        `threshold` overrule what is found here.
        """
        fixed = self.options.keys != "both" or self.options.image_weight is not None
        found = {}
        for weight in (self.book.weight,) if fixed else WEIGHTS:
            self.book.weight = weight
            found[weight] = self.book.calibrated(pool, _UNFITTED)
        self.book.weight = max(found, key=lambda w: found[w]["image"].right)
        self.thresholds = {kind: threshold.least for kind, threshold in found[self.book.weight].items()}

    @classmethod
    def settles(cls, options: RagOptions, vlm: VLM) -> RagOptions:
        """Return the options without those that the keys do not read."""
        return unused(super().settles(options, vlm), key_options_unused(options.keys, options.capacity))

    @classmethod
    def fit_options(cls, options: EditorOptions) -> Mapping[str, Any]:
        """Return the options that decide what `fit` learns."""
        return options.model_dump(mode="json", include={"keys", "image_weight", "encoder", "image_encoder"})

    @classmethod
    def pool_wanted(cls, options: RagOptions) -> str:
        """Return what is left to calibrate: the threshold, and with keys=both the image's weight."""
        left = ["editor.threshold"] if options.threshold is None else []
        left += ["editor.image_weight"] if options.keys == "both" and options.image_weight is None else []
        return f"calibrates {' and '.join(left)} (or give {'both' if len(left) > 1 else 'it'})" if left else ""

    def fitted(self) -> State:
        """Return the calibrated weight and thresholds."""
        return State({}, {"image_weight": self.book.weight, "thresholds": self.thresholds})

    def load_fitted(self, state: State) -> None:
        """Take over a calibrated weight and thresholds."""
        if self.options.keys == "both":
            self.book.weight = float(state.meta["image_weight"])
        self.thresholds = {name: float(state.meta["thresholds"][name]) for name in ("image", "text")}

    def route(self, keys: Keys) -> list[Route]:
        """Return the at most k nearest edits whose cosine reaches the threshold."""
        o = self.options
        least = self.thresholds if o.threshold is None else dict.fromkeys(self.thresholds, o.threshold)
        return self.book.route(keys, o.k, least)

    @contextmanager
    def applied(self, queries: Sequence[Query], routes: Sequence[Route]) -> Iterator[Answerer]:
        """Answer each query after its routed facts; a query without a route is asked as it is."""
        yield self.vlm.answerer(stated(queries, routes, self.book.facts, self.options.template))
