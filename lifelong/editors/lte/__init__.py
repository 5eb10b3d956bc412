"""LTE: the model is taught to obey a fact before the question; editing is then retrieval (arXiv 2402.11905).

Knows queries, edits, frozen encoders and the model's exchanged weights; nothing of probes, clocks or panels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from pydantic import Field

from lifelong.editing.contract import Answerer, EditorOptions, Keys, Route, State
from lifelong.editing.facts.book import KeyKind
from lifelong.editing.facts.fact_editor import BookOptions, FactEditor
from lifelong.editing.facts.statement import stated
from lifelong.editing.settled import key_options_unused, unused
from lifelong.editors.lte import train
from lifelong.editors.lte.adapter import Adapter
from lifelong.models.vlm import Scored
from streams.types import Pool, Prompt, Query

if TYPE_CHECKING:
    from torch import Tensor

    from lifelong.models.vlm import VLM

_T = TypeVar("_T")
_UNFITTED = 0.3
"""The cosine above which an edit is in scope before `fit` (LiveEdit's port, for an encoder of sentences)."""


class LteOptions(BookOptions):
    """Settings of LTE; rank, steps and learning rate are for a model of six layers."""

    depth: float = Field(
        default=0.0, ge=0, le=1, description="depth below which no layer is trained; 0: all are, as published"
    )
    modules: tuple[str, ...] = Field(
        default=("self_attn.q_proj", "self_attn.v_proj", "mlp.down_proj"),
        min_length=1,
        description="linear parts of a layer",
    )
    rank: int = Field(default=16, ge=1, description="rank of the change of each weight")
    alpha: float = Field(default=32.0, gt=0, description="the change is scaled by alpha / rank")
    active: Literal["always", "in_scope"] = Field(
        default="always",
        description="when the trained weights answer: from the first edit on (published) or in scope",
    )
    keys: KeyKind = Field(default="text", description="what queries and edits are compared by; text is as published")
    image_weight: float = Field(
        default=0.5, gt=0, lt=1, description="share of the picture in the cosine of keys=both"
    )
    threshold: float | None = Field(
        default=None, ge=-1, le=1, description="least cosine in scope; none: calibrated by fit"
    )
    steps: int = Field(default=300, ge=1, description="optimiser steps of fit")
    batch: int = Field(default=12, ge=1, description="edits a step; five questions each")
    learning_rate: float = Field(default=1e-3, gt=0, description="AdamW, with a warm-up and a cosine to a hundredth")
    pool: int = Field(default=1500, ge=1, description="training items asked of the stream")


class Lte(FactEditor):
    """Learning to edit (arXiv 2402.11905): alignment once (section 3.1), then retrieval at each query (section 3.2).

    An expert is the statement of one edit. It routes by the cosine of the query's text to the stored `prompt target`,
    top-1, above a threshold. `fit` trains low-rank changes W + (alpha / rank) B A of the decoder's linear maps, so
    that with the statement before the question in-scope questions get the new answer, and out-of-scope questions, or
    any without a statement, the old one (losses in `train.py`). An edit is one embedding, no gradient.

    Memory per edit: its key (encoder width) and its words. A query costs N products and a prompt longer by one
    statement. The trained weights are active for every query from the first edit on, in scope or not, as in the
    paper: so an edit may change any answer (`routed` is False), and locality is lost where alignment moved the model.
    With `active="in_scope"` queries without a route are the base's, and the editor is a routed one.
    Deviations: low rank instead of all weights; the project's wording of a statement; the threshold is calibrated on
    the pool, each edit alone in the memory (the published one belongs to another encoder); old answers are kept by a
    divergence from the base on the true answer's tokens, as LiveEdit's port does, where the paper trains on the old
    answer's text; the statement holds no picture.
    """

    Options = LteOptions
    searched = {
        "threshold": (None, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 0.98),
        "active": ("always", "in_scope"),
        "encoder": ("base", "minilm"),
    }
    published = {}
    depths = ("depth",)
    routed = False
    options: LteOptions

    def __init__(self, vlm: VLM, options: LteOptions | None = None, *, seed: int = 0) -> None:
        super().__init__(vlm, options, seed=seed)
        o = self.options
        self.open_book(o, o.image_weight, answers=True)
        self.adapter = Adapter(vlm, vlm.layer_at(o.depth), o.modules, rank=o.rank, alpha=o.alpha, seed=seed)
        self.thresholds = {"image": _UNFITTED, "text": _UNFITTED}
        self.weights: dict[str, Tensor] = {}  # the trained weights by name; none before `fit`

    @classmethod
    def routed_by(cls, options: LteOptions) -> bool:
        """Return whether the trained weights act in scope only, so that no answer changes without a route."""
        return options.active == "in_scope"

    def fit(self, pool: Pool) -> None:
        """Align the low-rank changes on the pool, and calibrate the thresholds."""
        train.fit_adapter(self.vlm, self.adapter, pool, self.options, seed=self.seed, unfinished=self.unfinished)
        found = self.book.calibrated(pool, _UNFITTED, alone=self.options.keys == "text")
        self.thresholds = {kind: threshold.least for kind, threshold in found.items()}
        self.load_fitted(self.fitted())

    @classmethod
    def settles(cls, options: LteOptions, vlm: VLM) -> LteOptions:
        """Return the options without those that the keys do not read."""
        return unused(super().settles(options, vlm), key_options_unused(options.keys, options.capacity))

    @classmethod
    def fit_options(cls, options: EditorOptions) -> Mapping[str, Any]:
        """Return the options that decide what `fit` learns."""
        kept = {"threshold", "active", "capacity", "eviction", "index"}
        return options.model_dump(mode="json", exclude=kept)

    def fitted(self) -> State:
        """Return the low-rank changes in half precision, and the thresholds."""
        return State(
            {name: t.half().contiguous() for name, t in self.adapter.state_dict().items()},
            {"thresholds": self.thresholds},
        )

    def load_fitted(self, state: State) -> None:
        """Take over low-rank changes and thresholds."""
        self.adapter.load_state_dict({name: t.float() for name, t in state.tensors.items()}, strict=True)
        self.thresholds = {name: float(state.meta["thresholds"][name]) for name in ("image", "text")}
        self.weights = {name: w.detach() for name, w in self.adapter.weights().items()}

    def acts_on(self) -> Sequence[str]:
        """Return the names of the weights that are trained beforehand."""
        return self.adapter.names

    def route(self, keys: Keys) -> list[Route]:
        """Return the nearest edit of each query, if it reaches the threshold."""
        given = self.options.threshold
        return self.book.route(keys, 1, self.thresholds if given is None else {"image": given, "text": given})

    @contextmanager
    def applied(self, queries: Sequence[Query], routes: Sequence[Route]) -> Iterator[Answerer]:
        """Answer each query after its edit's statement, with the trained weights where they are active."""
        prompts = stated(queries, routes, self.book.facts, self.options.template)
        always = self.options.active == "always" and len(self.book) > 0
        yield _Partly(self.vlm, prompts, self.weights, {i for i, r in enumerate(routes) if always or r.in_scope})


class _Partly:
    """Answers some rows under exchanged weights and the others by the base."""

    def __init__(
        self, vlm: VLM, prompts: Sequence[Query | Prompt], weights: Mapping[str, Tensor], active: set[int]
    ) -> None:
        self.vlm, self.prompts, self.weights, self.active = vlm, prompts, weights, active

    def score(self, targets: Sequence[str], *, top: int = 0) -> list[Scored]:
        """Teacher-force one target per row."""

        def ask(rows: list[int]) -> list[Scored]:
            return self.vlm.score([self.prompts[r] for r in rows], [targets[r] for r in rows], top=top)

        return self._asked(range(len(self.prompts)), ask)

    def generate(self, rows: Sequence[int] | None = None, *, max_tokens: int = 16) -> list[str]:
        """Decode some rows (all by default), in the order given."""

        def ask(rows: list[int]) -> list[str]:
            return self.vlm.generate([self.prompts[r] for r in rows], max_tokens=max_tokens)

        return self._asked(range(len(self.prompts)) if rows is None else rows, ask)

    def _asked(self, rows: Sequence[int], ask: Callable[[list[int]], list[_T]]) -> list[_T]:
        plain, changed = [r for r in rows if r not in self.active], [r for r in rows if r in self.active]
        found = dict(zip(plain, ask(plain), strict=True))
        with self.vlm.swap(self.weights):
            found |= dict(zip(changed, ask(changed), strict=True))
        return [found[r] for r in rows]
