"""IKE: demonstrations of how new facts are to be used, the retrieved edit, then the question (arXiv 2305.12740).

Knows queries, edits, frozen encoders and the pool's demonstrations; it changes no weight and no hidden state.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from pydantic import Field, field_validator

from lifelong.bank import Bank
from lifelong.editing.contract import Answerer, EditorOptions, Keys, Route, State
from lifelong.editing.facts.book import KeyKind
from lifelong.editing.facts.fact_editor import BookOptions, FactEditor
from lifelong.editing.facts.statement import StatedFact, after
from lifelong.editing.settled import key_options_unused, unused
from lifelong.editors.ike.demonstrations import PATTERN, forms_of
from lifelong.models.encoders import text_encoder
from streams.types import Edit, Pool, Prompt, Query

if TYPE_CHECKING:
    from lifelong.models.vlm import VLM


DEMONSTRATIONS = 8
"""As many as are shown where no option says: a quarter of the paper's."""
ROOM = 3 / 4
"""The share of the model's context for demonstrations and the edit; the question with its picture gets the rest."""


class IkeOptions(BookOptions):
    """Settings of IKE."""

    demonstrations: int = Field(default=DEMONSTRATIONS, description="demonstrations before the edit, at least one")
    keys: KeyKind = Field(default="text", description="what queries and edits are compared by; text is as published")
    image_weight: float = Field(
        default=0.5, gt=0, lt=1, description="share of the picture in the cosine of keys=both"
    )
    threshold: float | None = Field(
        default=None,
        ge=-1,
        le=1,
        description="least cosine in scope; none: every query gets its nearest edit, as published",
    )
    pool: int = Field(
        default=512, ge=1, description="training items asked of the stream, each with its demonstrations"
    )

    @field_validator("demonstrations")
    @classmethod
    def _demonstrates(cls, value: int) -> int:
        if value < 1:
            raise ValueError("ike shows at least one demonstration; what shows none is editor=rag, with equal keys")
        return value


class Ike(FactEditor):
    """In-context knowledge editing (arXiv 2305.12740, sections 3 and 4).

    An expert is the statement of one edit with its k demonstrations. It routes by the cosine of the query's text to
    the stored edits' prompts, top-1. Nothing is trained: `fit` keeps the pool's demonstrations, the memory that the
    paper retrieves from: C = (c_1 .. c_k), each c_i a new fact with a question and its answer: the fact's own prompt
    (copy), a rephrased one with the new answer (update), or another one with its old answer (retain), 1 : 3 : 4. They
    are chosen once per edit, cos(c_1, f) < .. < cos(c_k, f): the nearest stands next to the edit. Prompt: C, f, q.

    Memory per edit: its key (encoder width), its words and its choice of k. A query costs N products, and a prompt
    longer by k demonstrations and the edit: many times the question's own length at any N.
    Deviations: the paper is told which fact a query is about; a stream of edits has to find it, so the top-1 of the
    bank is taken, always (a wrong or irrelevant fact then stands in the prompt: locality falls, as published), or
    only above `threshold`. Pictures go with the question only. The default encoder is the model itself (paper: a
    sentence encoder, as `encoder="minilm"`). 8 demonstrations are shown, 32 in the paper (6 billion weights). Of some
    33 tokens each, 23 fill the three quarters of the atlas model's 1,024 that they may take; but every one costs a
    model that was taught one or two told facts some of its answers: with the right edit stated (60 edits, teacher
    forced) Rel, T-Gen, M-Gen are .90 .91 .89 after none (which is `rag`) and .75 .73 .74 after eight.
    """

    Options = IkeOptions
    searched = {
        "demonstrations": (1, 2, 4, 8, 16),
        "keys": ("text", "both"),
        "encoder": ("base", "minilm"),
        "threshold": (None, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 0.98),
    }
    published = {}
    options: IkeOptions

    def __init__(self, vlm: VLM, options: IkeOptions | None = None, *, seed: int = 0) -> None:
        super().__init__(vlm, options, seed=seed)
        o = self.options
        self.open_book(o, o.image_weight)
        self.text = text_encoder(o.encoder, vlm)
        context = vlm.lengths.context
        self.room = None if context is None else int(ROOM * context)
        self.demonstrations: list[dict[str, list[str]]] = []  # per pool fact: form -> texts
        self.memory = Bank(self.text.width, metric="ip")
        self.chosen: dict[str, tuple[str, ...]] = {}  # edit id -> its demonstrations, in the order of the prompt

    def fit(self, pool: Pool) -> None:
        """Keep the pool's demonstrations and embed their facts; no weight is learnt."""
        facts = [StatedFact.of(item.edit) for item in pool.items]
        self.demonstrations = [forms_of(item, self.options.template) for item in pool.items]
        self._remember(torch.from_numpy(self._embed(facts)))

    def _embed(self, facts: Sequence[StatedFact]) -> np.ndarray:
        return self.text.encode([f.said(self.options.template) for f in facts])

    def _remember(self, keys: torch.Tensor) -> None:
        self.memory = Bank(self.text.width, metric="ip")
        self.memory.add([str(i) for i in range(len(keys))], keys.numpy())

    @classmethod
    def settles(cls, options: IkeOptions, vlm: VLM) -> IkeOptions:
        """Return the options without those that neither keys nor demonstrations read."""
        off = key_options_unused(options.keys, options.capacity)
        return unused(super().settles(options, vlm), off - {"encoder"} if options.demonstrations else off)

    @classmethod
    def fit_options(cls, options: EditorOptions) -> Mapping[str, Any]:
        """Return the options that decide what is kept."""
        return options.model_dump(mode="json", include={"encoder", "template"})

    @classmethod
    def pool_wanted(cls, options: IkeOptions) -> str:
        """Return what demonstrations are taken from."""
        return "takes its demonstrations from one"

    def fitted(self) -> State:
        """Return the demonstrations and their facts' embeddings."""
        keys = self.memory.keys_of(np.arange(len(self.memory)))
        return State({"keys": torch.from_numpy(keys)}, {"demonstrations": self.demonstrations})

    def load_fitted(self, state: State) -> None:
        """Take over demonstrations."""
        self.demonstrations = [dict(forms) for forms in state.meta["demonstrations"]]
        self._remember(state.tensors["keys"].float())

    def edit(self, edits: Sequence[Edit]) -> None:
        """Store each edit with its demonstrations, which follow from its words; one may replace another.

        Raises `ValueError` where `fit` has kept no demonstrations: what shows none is another editor.
        """
        if not len(self.memory):
            raise ValueError("ike has no demonstrations: `fit` takes them from a pool (what shows none is `rag`).")
        self.chosen |= self._choose({e.id: StatedFact.of(e) for e in edits})
        for gone in self.book.add(edits):
            del self.chosen[gone]

    def _choose(self, facts: Mapping[str, StatedFact]) -> dict[str, tuple[str, ...]]:
        """Return k demonstrations for each fact, those of the nearest one last; their forms follow `PATTERN`."""
        if not facts:
            return {}
        k = min(self.options.demonstrations, len(self.memory))
        found = self.memory.search(self._embed(list(facts.values())), k)
        chosen = zip(facts.items(), found.rows, strict=True)
        return {i: self._that_fit(fact, list(map(self._shown, rows, range(k))))[::-1] for (i, fact), rows in chosen}

    def _that_fit(self, fact: StatedFact, texts: Sequence[str]) -> tuple[str, ...]:
        """Return as many of the first texts as the model can read before a fact and a question, at least one."""
        if self.room is None:
            return tuple(texts)
        lengths = [len(self.vlm.token_ids(text)) for text in (fact.said(self.options.template), *texts)]
        ends = list(accumulate(lengths))[1:]  # tokens up to and with each text
        return tuple(texts[: max(1, sum(end <= self.room for end in ends))])

    def _shown(self, row: int, rank: int) -> str:
        forms = self.demonstrations[row]
        texts = forms.get(PATTERN[rank % len(PATTERN)]) or forms["copy"]
        return texts[rank // len(PATTERN) % len(texts)]

    def route(self, keys: Keys) -> list[Route]:
        """Return the nearest edit of each query, if it reaches the threshold."""
        least = self.options.threshold
        return self.book.route(keys, 1, None if least is None else {"image": least, "text": least})

    @contextmanager
    def applied(self, queries: Sequence[Query], routes: Sequence[Route]) -> Iterator[Answerer]:
        """Answer each query after its edit's demonstrations and the edit itself."""
        pairs = zip(queries, routes, strict=True)
        yield self.vlm.answerer([self.prompt(q, r.ids[0]) if r.in_scope else q for q, r in pairs])

    def prompt(self, query: Query, edit_id: str) -> Prompt:
        """Return the prompt of a query that is served by an edit."""
        return after([*self.chosen[edit_id], self.book.facts[edit_id].said(self.options.template)], query)

    def remove(self, ids: Sequence[str]) -> None:
        """Forget edits; one that is not stored any more is passed over."""
        super().remove(ids)
        for edit_id in ids:
            self.chosen.pop(edit_id, None)

    def nbytes(self) -> int:
        """Return the bytes of keys, words and choices (8 each); the demonstrations themselves do not grow."""
        return super().nbytes() + 8 * sum(map(len, self.chosen.values()))

    def load(self, state: State) -> None:
        """Go on from a state."""
        super().load(state)
        self.chosen = self._choose(self.book.facts)
