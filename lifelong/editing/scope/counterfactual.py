"""The counterfactual model: what answers a query that lies in the scope of a stored edit (arXiv 2206.06520).

`Counterfactual` is all that a scope-routed memory asks of it. `CounterfactualCopy` reads the edit in its prompt, with
a trained copy of the base's last decoder layers. Knows the model, edits and routes; nothing of scope or banks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor

from lifelong.editing.contract import Answerer, Route, State
from lifelong.editing.facts.statement import StatedFact, after
from lifelong.editing.ops import answer_losses
from lifelong.editing.pools import inside_of
from lifelong.editing.scope.mixture import SplitAnswerer
from lifelong.editing.training import gradient_of, share_of, steps_of
from streams.types import Edit, Pool, Prompt, Query

if TYPE_CHECKING:
    from lifelong.models.vlm import VLM


class Counterfactual(Protocol):
    """Keeps what it needs of every edit, by id, and answers queries as edited.

    `answering` gets one route per query: a query without one is answered by the base, the others as their first id
    says. Where a route's weight is below 1 the two answers are mixed: log[(1 - w) base + w counterfactual].
    """

    def fit(self, pool: Pool, *, seed: int, unfinished: Path | None = None) -> list[float]:
        """Learn from a pool and return the loss every 25 steps; raises `NotFiniteError` on divergence."""
        ...

    def fitted(self) -> dict[str, Tensor]:
        """Return what was learnt."""
        ...

    def load_fitted(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over what was learnt."""
        ...

    def take(self, edit: Edit) -> None:
        """Keep what is needed of an edit; raises `CollapseError` and keeps nothing where that is not finite."""
        ...

    def drop(self, ids: Sequence[str]) -> None:
        """Forget edits that are kept."""
        ...

    def answering(self, queries: Sequence[Query], routes: Sequence[Route]) -> AbstractContextManager[Answerer]:
        """Return a context in which the queries are answered."""
        ...

    def nbytes(self) -> int:
        """Return the bytes that grow with the edits."""
        ...

    def state(self) -> State:
        """Return what is kept of the edits."""
        ...

    def load(self, state: State) -> None:
        """Go on from a state."""
        ...


@dataclass(frozen=True)
class CopyTraining:
    """How the copy is trained: steps of Adam, questions a step, learning rate."""

    steps: int
    batch: int
    rate: float


class CounterfactualCopy:
    """The base with its last decoder layers copied and trained to answer by the edit stated in the prompt.

    `share` of the layers, from the top, is copied (0: the base itself reads the edit). Everything below is the base's
    own. `fit` learns the differences of the copied weights from the base's by the likelihood of the answers to
    questions in scope. Kept per edit: its words.
    """

    def __init__(self, vlm: VLM, *, share: float, template: str, how: CopyTraining, what: str) -> None:
        self.vlm, self.template, self.how, self.what = vlm, template, how, what
        count = max(1, round(share * vlm.layers)) if share > 0 else 0
        self.layer = min(vlm.layers - count, vlm.layers - 1)
        parts = [vlm.decoder_layer(i) for i in range(vlm.layers - count, vlm.layers)]
        self.base = {vlm.name_of(p): p for part in parts for p in part.parameters()}
        self.learnt: dict[str, Tensor] = {
            name: torch.zeros_like(p, dtype=torch.float32) for name, p in self.base.items()
        }
        self.copy: dict[str, Tensor] = {name: p.detach() for name, p in self.base.items()}
        self.facts: dict[str, StatedFact] = {}

    # Training

    def fit(self, pool: Pool, *, seed: int, unfinished: Path | None = None) -> list[float]:
        """Train the copy on questions in scope and return the loss (nats per token) every 25 steps."""
        asked = [
            (self.told(p.query, StatedFact.of(item.edit)), p.target) for item in pool.items for p in inside_of(item)
        ]
        if not self.base or not asked:
            return []
        rng = np.random.default_rng(np.random.SeedSequence([seed, 0xC0F]))
        change = {n: torch.zeros_like(p, dtype=torch.float32).requires_grad_() for n, p in self.base.items()}
        # Decay of the differences: the copy returns to the base where the data say nothing.
        optimizer = torch.optim.AdamW(list(change.values()), lr=self.how.rate, weight_decay=0.01)
        plain: dict[str, Any] = {"history": []}
        for step in steps_of(
            self.how.steps, what=f"fit {self.what}: counterfactual model", tensors=lambda: change,
            optimizers=[optimizer], rng=rng, plain=plain, unfinished=unfinished,
        ):  # fmt: skip
            optimizer.param_groups[0]["lr"] = self.how.rate * share_of(step, self.how.steps)
            rows = rng.choice(len(asked), min(self.how.batch, len(asked)), replace=False)

            def losses_of(rows: np.ndarray = rows) -> dict[str, Tensor]:
                return {"loss": self._loss([asked[i] for i in rows], self._moved(change))}

            loss = gradient_of(
                self.vlm, losses_of, optimizers=[optimizer], rng=rng, plain=plain,
                what=f"{self.what}: counterfactual model", step=step,
            )["loss"]  # fmt: skip
            torch.nn.utils.clip_grad_norm_(list(change.values()), 1.0)
            optimizer.step()
            if step % 25 == 0 or step == self.how.steps - 1:
                plain["history"].append(float(loss.detach()))
        self.load_fitted({n: d.detach() for n, d in change.items()})
        return plain["history"]

    def _loss(self, asked: Sequence[tuple[Prompt, str]], weights: Mapping[str, Tensor]) -> Tensor:
        hidden = self.vlm.hidden([p for p, _ in asked], self.layer, [t for _, t in asked])
        with self.vlm.swap(weights):
            rows = self.vlm.resume(hidden, grad=True, answers_only=True)
        return answer_losses(rows, hidden.target_ids).mean()

    def _moved(self, change: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {n: (p.detach().float() + change[n].to(p.device)).to(p.dtype) for n, p in self.base.items()}

    def fitted(self) -> dict[str, Tensor]:
        """Return the differences from the base, in half precision."""
        return {name: change.half().contiguous() for name, change in self.learnt.items()}

    def load_fitted(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over differences from the base."""
        self.learnt = {name: tensors[name].float() for name in self.base}
        with torch.no_grad():
            self.copy = self._moved(self.learnt)

    # Edits

    def take(self, edit: Edit) -> None:
        """Keep an edit's words."""
        self.facts[edit.id] = StatedFact.of(edit)

    def drop(self, ids: Sequence[str]) -> None:
        """Forget edits that are kept."""
        for edit_id in ids:
            del self.facts[edit_id]

    def told(self, query: Query, fact: StatedFact) -> Prompt:
        """Return a query after the statement of an edit; the picture is the query's."""
        return after([fact.said(self.template)], query)

    @contextmanager
    def answering(self, queries: Sequence[Query], routes: Sequence[Route]) -> Iterator[Answerer]:
        """Answer routed queries by the copy, the others by the base, and mix the two where a weight is below 1."""
        pairs = zip(queries, routes, strict=True)
        told = {i: self.told(q, self.facts[r.ids[0]]) for i, (q, r) in enumerate(pairs) if r.in_scope}
        shares = {i: routes[i].weights[0] for i in told}
        layer = self.layer if self.base else None
        yield SplitAnswerer(self.vlm, queries, told, shares, lambda _: self.vlm.swap(self.copy), layer)

    def nbytes(self) -> int:
        """Return the bytes of the words."""
        return sum(fact.nbytes() for fact in self.facts.values())

    def state(self) -> State:
        """Return the words of every edit."""
        return State({}, {"words": [[edit_id, f.question, f.answer] for edit_id, f in self.facts.items()]})

    def load(self, state: State) -> None:
        """Go on from the words of every edit."""
        self.facts = {edit_id: StatedFact(question, answer) for edit_id, question, answer in state.meta["words"]}
