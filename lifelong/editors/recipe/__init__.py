"""RECIPE: each edit is a short continuous prompt, retrieved if it beats a knowledge sentinel (arXiv 2405.03279).

Knows queries, edits, banks and the model's embedding layer; nothing of probes, clocks or panels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from lifelong.bank import Bank
from lifelong.editing.contract import Answerer, Editor, EditorOptions, Keys, Route, State
from lifelong.editing.ops import NotFiniteError
from lifelong.editing.questions import EditedQuestions
from lifelong.editors.recipe import train
from lifelong.editors.recipe.modules import RecipeModules
from lifelong.editors.recipe.options import RecipeOptions
from lifelong.editors.recipe.reading import FeatureReader, Slots, float_rows
from lifelong.editors.recipe.table import knowledge_of
from streams.types import Edit, Pool, Query

if TYPE_CHECKING:
    from lifelong.models.vlm import VLM


class Recipe(Editor):
    """Retrieval-augmented continuous prompts for lifelong editing (arXiv 2405.03279, sections 3.2 to 3.4).

    An expert is p = 3 continuous prompt tokens that stand before the question. With x = [pooled; mean; max; min] of a
    frozen encoder's token states (4 h): knowledge r = y + ReLU(W2 y + b2), y = W1 x + b1 of "prompt target", a query
    likewise with its own weights; prompt (p, d) = reshape(W4 (r + ReLU(W3 r + b3)) + b4). It routes by
    q . k / sqrt(width) to the top-1 edit iff that beats the sentinel's score, strictly. `fit` trains both
    representations, the sentinel and the prompt writer: -log likelihood of edit and rephrase, KL(base || edited) of
    local questions, and three contrastive losses (`losses.py`). An edit is one partial forward pass, no gradient.

    Memory per edit: width + p d floats. A query costs N x width products and p more tokens.
    Text-only keys cannot tell apart edits whose prompts are one string; `keys="both"` reads the picture too.
    Deviations: the encoder is the model's own lower layers or, with `encoder="minilm"`, a sentence encoder, frozen,
    not a trained RoBERTa (states are brought to variance 1, as RoBERTa's are); the sentinel's tokens are learned as
    token states, not as the encoder's input; to each prompt token the writer adds a learned sum of the answer's token
    embeddings, since pooled states of a small decoder's lower layers need not tell
    which tokens to write (`answer_tokens=0` is the paper's form); every training edit gets a new target each time,
    and the prompt has 16 tokens: with 3 and one target each nothing general was learnt; with keys of words the
    contrastive losses leave out what words cannot tell apart, or the sentinel learns to beat everything; retrieval is
    trained before the writer, in many cheap steps; an edit must beat the sentinel by what tells most questions of
    held-out subjects right, which may be less than nothing (`lead=0` is the paper's rule); in a template with
    pictures first, the continuous prompt stands after them; a newer edit of a question replaces the older one, of
    which the paper says nothing.
    The released evaluation lets the router read the answer and drops the picture: here it reads the query only.
    """

    Options = RecipeOptions
    searched = {
        "lead": (None, -8.0, -6.0, -4.0, -3.0, -2.0, -1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0),
        "keys": ("text", "both"),
    }
    # Not prompt_tokens=3 and answer_tokens=0: each is another fit, and nothing general is learnt with them.
    published = {"lead": 0.0}
    depths = ("depth",)
    removes = True
    replaces = True
    trains = True
    append_only = True
    lasting = True
    options: RecipeOptions

    def __init__(self, vlm: VLM, options: RecipeOptions | None = None, *, seed: int = 0) -> None:
        super().__init__(vlm, options, seed=seed)
        o = self.options
        self.reader = FeatureReader(vlm, vlm.layer_at(o.depth), pictures=o.keys == "both", encoder=o.encoder)
        self.slots = Slots(vlm, o.prompt_tokens)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.modules = RecipeModules(
                self.reader.width, self.reader.h, rep=o.width, d=vlm.width, prompt_tokens=o.prompt_tokens,
                sentinel_tokens=o.sentinel_tokens, answer_tokens=o.answer_tokens,
            ).to(vlm.device).eval().requires_grad_(False)  # fmt: skip
        self.lead = 0.0
        self.bank = Bank(o.width, metric="ip", index=o.index)
        self.questions = EditedQuestions()

    def fit(self, pool: Pool) -> None:
        """Train every module on the pool's edits and probes."""
        self.lead = train.fit_recipe(
            self.vlm, self.modules, self.reader, self.slots, pool, self.options, seed=self.seed,
            unfinished=self.unfinished,
        )  # fmt: skip
        self.load_fitted(self.fitted())

    @classmethod
    def fit_options(cls, options: EditorOptions) -> Mapping[str, Any]:
        """Return all options but those that only routing reads."""
        return options.model_dump(mode="json", exclude={"lead", "index"})

    def fitted(self) -> State:
        """Return all module weights in half precision, and the lead."""
        weights = {name: t.half().contiguous() for name, t in self.modules.state_dict().items()}
        return State(weights, {"lead": self.lead})

    def load_fitted(self, state: State) -> None:
        """Take over module weights."""
        self.modules.load_state_dict({name: t.float() for name, t in state.tensors.items()}, strict=True)
        self.lead = float(state.meta["lead"])

    def edit(self, edits: Sequence[Edit]) -> None:
        """Write and store each edit's prompt; raises `NotFiniteError` naming an edit without a finite one."""
        x = self.reader.features([knowledge_of(e.query, e.target) for e in edits])
        told = self.reader.answers([e.target for e in edits], self.options.answer_tokens)
        with torch.no_grad():
            reps = self.modules.knowledge(x)
            prompts = self.modules.prompt(reps, told)
        for edit, rep, prompt in zip(edits, reps, prompts, strict=True):
            if not (bool(torch.isfinite(rep).all()) and bool(torch.isfinite(prompt).all())):
                raise NotFiniteError(f"recipe, edit {edit.id}: its continuous prompt is not finite.")
            self.remove(self.questions.older(edit))
            self.bank.add([edit.id], float_rows(rep[None]), {"prompt": prompt[None].float()})
            self.questions.add(edit)

    def encode(self, queries: Sequence[Query]) -> Keys:
        """Return `query` (n, width), over the root of the width, and `sentinel` (n, 1), the score to beat."""
        with torch.no_grad():
            reps = self.modules.query(self.reader.features(queries))
            sentinel = self.modules.scores(reps, self.modules.sentinel())
        scaled = float_rows(reps) / np.float32(np.sqrt(self.options.width))
        return Keys({"query": scaled, "sentinel": float_rows(sentinel)})

    def route(self, keys: Keys) -> list[Route]:
        """Return the nearest edit of each query, if it beats the sentinel; `best` is by how much it does."""
        if not len(self.bank) or not len(keys):
            return [Route()] * len(keys)
        lead = self.lead if self.options.lead is None else self.options.lead
        found = self.bank.search(keys["query"], 1, keys.memo("query"))
        revisions = self.bank.revision_of(found.rows[:, 0])
        routes = []
        for i, (ids, score) in enumerate(zip(found.ids, found.scores[:, 0].tolist(), strict=True)):
            sentinel = float(keys["sentinel"][i, 0])
            inside, best = score > sentinel + lead, score - sentinel
            routes.append(
                Route(ids, (score,), revisions=(int(revisions[i]),), best=best) if inside else Route(best=best)
            )
        return routes

    @contextmanager
    def applied(self, queries: Sequence[Query], routes: Sequence[Route]) -> Iterator[Answerer]:
        """Answer each routed query behind its edit's continuous prompt, the others as they are."""
        inside = [i for i, r in enumerate(routes) if r.in_scope]
        if not inside:
            yield self.vlm.answerer(queries)
            return
        prompts = self.bank.payload("prompt", self.bank.rows_of([routes[i].ids[0] for i in inside]))
        written = dict(zip(inside, prompts, strict=True))
        asked = [self.slots.before(q) if i in written else q for i, q in enumerate(queries)]
        with self.vlm.hook(self.vlm.structure.embedding, self.slots.writer(written)):
            yield self.vlm.answerer(asked)

    def remove(self, ids: Sequence[str]) -> None:
        """Forget edits; one that is not stored any more (replaced) is passed over."""
        self.bank.remove([i for i in ids if i in self.bank])
        self.questions.drop(ids)

    def acts_on(self) -> Sequence[str]:
        """Return the name of the embeddings, which the continuous prompt is written into."""
        return [self.vlm.name_of_module(self.vlm.structure.embedding)]

    def bytes_for(self, edits: int) -> int:
        """Return the bytes of a key and a continuous prompt for each edit."""
        return 4 * edits * (self.options.width + self.options.prompt_tokens * self.vlm.width)

    def nbytes(self) -> int:
        """Return the bytes of representations and continuous prompts."""
        return self.bank.nbytes()

    def bank_len(self) -> int:
        """Return the number of stored edits."""
        return len(self.bank)

    def routing_banks(self) -> Sequence[Bank]:
        """Return the bank that `route` searches."""
        return [self.bank]

    def state(self) -> State:
        """Return the bank and its edits' questions."""
        meta = {"revision": self.revision, "questions": self.questions.table()}
        return State.joined(meta, bank=self.bank.state())

    def load(self, state: State) -> None:
        """Go on from a bank."""
        super().load(state)
        self.bank.load(state.part("bank"))
        self.questions.load(state.meta["questions"])
