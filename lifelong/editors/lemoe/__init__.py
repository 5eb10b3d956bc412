"""LEMoE: a mixture of experts beside one MLP, a frozen expert per batch of edits, routed by anchors (2406.20030).

Knows queries, edits, banks and the model's hooks; nothing of probes, clocks or panels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from lifelong.bank import Bank
from lifelong.editing.contract import Answerer, Editor, Keys, Route, State
from lifelong.editing.ops import (
    adder,
    answer_losses,
    answers_exact,
    descend,
    edit_generator,
    finite_keys,
    fresh_factors,
)
from lifelong.editing.questions import EditedQuestions, newest, passed_over
from lifelong.editing.settled import unused
from lifelong.editors.lemoe.gating import clustered, gates, whitening
from lifelong.editors.lemoe.options import LemoeOptions
from streams.types import Edit, Pool, Query

if TYPE_CHECKING:
    from lifelong.models.vlm import VLM


class Lemoe(Editor):
    """Mixture-of-experts adaptor with key-value anchor routing (arXiv 2406.20030).

    An expert is a small MLP, up SiLU(down x), beside `module`: W x + lambda sum_k g_k f_k(x) at every token, trained
    on one batch of edits and then frozen with its anchor. A query's value v = W_up SiLU(W_down x), x the mean of its
    input embeddings (words and image), meets every anchor; g = softmax over all anchors, of which the top k serve.
    `fit` learns the whitening of x, a part of W_down, from questions of the pool.

    Shapes: value and anchor (route_width,); down (rank, width), up (width, rank). Memory: 2 rank width +
    route_width floats per `per_expert` edits. A query costs one product with all anchors (N / per_expert of them)
    and the k experts it gets. There is no scope: every query gets an expert once there is one.

    Two things decay with the edits: gates shrink as more anchors share the softmax, and an anchor that was trained
    against those before it does not know the edits that those serve. A batch is an expert even if it is short of
    edits, so nothing ever waits. One edit cannot be taken out of its expert: a newer edit of its question is heard
    for certain only where all edits of that expert were replaced, which is then dropped (`supersede="keep"`: never,
    as published). Of a batch with two edits of one question the newer one is learnt.

    Deviations: the projection is a whitening and a draw from the seed, frozen before the first edit (one that is
    trained with the experts moves under frozen anchors, which LiveEdit's port shows; without whitening the values of
    all questions are alike and the first anchor gets most of them); an anchor begins as the mean value of its batch,
    and a loss -log g is added to the answer's, whose gradient through the gate alone hardly moves it; anchors and
    values have unit length: with `unit=False` a long anchor gets queries that are near another. Experts are of inner
    width 32 as in LiveEdit's port (paper: a whole MLP). Ordering edits by clusters needs edits to order: `window` > 1
    waits for that many experts' worth.
    """

    Options = LemoeOptions
    searched = {
        "learning_rate": (1e-3, 3.2e-3, 1e-2, 3e-2, 1e-1),
        "layer": (0.17, 0.34, 0.5625, 0.67, 0.84),
        "temperature": (0.005, 0.01, 0.02, 0.05, 0.1),
        "shrink": (0.02, 0.1, 0.5, 2.0),
    }
    published = {"unit": False, "anchor_weight": 0.0, "supersede": "keep"}
    depths = ("layer",)
    trains = True
    options: LemoeOptions

    def __init__(self, vlm: VLM, options: LemoeOptions | None = None, *, seed: int = 0) -> None:
        super().__init__(vlm, options, seed=seed)
        o = self.options
        self.layer = vlm.layer_at(o.layer)
        self.module = vlm.submodule(self.layer, o.module)
        source = torch.Generator().manual_seed(seed)
        self.down = torch.randn(o.route_width, vlm.width, generator=source) / vlm.width**0.5
        self.up = torch.randn(o.route_width, o.route_width, generator=source) / o.route_width**0.5
        self.mean, self.white = torch.zeros(vlm.width), torch.eye(vlm.width)
        self.bank = Bank(o.route_width, metric="ip")
        self.members: dict[str, tuple[str, ...]] = {}
        self.expert_of: dict[str, str] = {}
        self.questions = EditedQuestions()
        self._made = 0

    @classmethod
    def settles(cls, options: LemoeOptions, vlm: VLM) -> LemoeOptions:
        """Return the options with the learning rate spelt out, without a temperature that divides nothing."""
        rate = {"learning_rate": options.rate(vlm.width)}
        off = () if options.unit else ("temperature",)
        return unused(super().settles(options, vlm), off).model_copy(update=rate)

    @classmethod
    def turn_of(cls, options: LemoeOptions) -> int:
        """Return the edits of all experts of one window."""
        return options.per_expert * options.window

    # What fit learns

    def fit(self, pool: Pool) -> None:
        """Learn the whitening from the questions of the pool's edits and of what they must not change."""
        asked = [q for i in pool.items for q in (i.edit.query, *(p.query for p in i.probes if p.axis == "locality"))]
        queries = list(dict.fromkeys(asked))[: 2 * self.options.pool]
        if len(queries) > 1:
            self.mean, self.white = whitening(self._inputs(queries), self.options.shrink)

    @classmethod
    def fit_options(cls, options: LemoeOptions) -> Mapping[str, Any]:
        """Return what decides the whitening."""
        return {"pool": options.pool, "shrink": options.shrink}

    def fitted(self) -> State:
        """Return the whitening."""
        return State({"mean": self.mean, "white": self.white}, {})

    def load_fitted(self, state: State) -> None:
        """Take over a whitening."""
        self.mean, self.white = state.tensors["mean"].clone(), state.tensors["white"].clone()

    # Editing

    def edit(self, edits: Sequence[Edit]) -> dict[str, str]:
        """Train an expert for each group of the batch; raises `CollapseError` on a non-finite loss or weight."""
        known = [e.id for e in edits if e.id in self.expert_of]
        if known:
            raise ValueError(f"Edits {known} already have an expert; an edit is learnt once.")
        if not edits:
            return {}
        given = edits
        edits = newest(given) if self.options.supersede == "replace" else given
        values = finite_keys(self.encode([e.query for e in edits])["value"], [e.id for e in edits], "lemoe")
        for group in clustered(values, self.options.per_expert, self.seed):
            self._edit_group([edits[i] for i in group], torch.from_numpy(values[group]))
        return passed_over(given, edits)

    def _edit_group(self, edits: Sequence[Edit], values: Tensor) -> None:
        replaced = {i for edit in edits for i in self.questions.older(edit)}
        replaced = replaced if self.options.supersede == "replace" else set()
        idle = self._only_of(replaced)
        anchor, down, up = self._train(edits, values, [name for name in self.members if name not in idle])
        self._retire(replaced, idle)
        expert = f"expert-{self._made}"
        self._made += 1
        self.bank.add([expert], anchor[None].numpy(), {"down": down[None], "up": up[None]})
        self.members[expert] = tuple(e.id for e in edits)
        self.expert_of |= {e.id: expert for e in edits}
        for edit in edits:
            self.questions.add(edit)

    def _only_of(self, replaced: set[str]) -> set[str]:
        """Return the experts that serve no edit that is still asked for, once some are replaced."""
        touched = {self.expert_of[i] for i in replaced}
        return {x for x in touched if all(i in replaced or i not in self.questions for i in self.members[x])}

    def _retire(self, replaced: set[str], idle: set[str]) -> None:
        self.questions.drop(replaced)
        self.bank.remove(sorted(idle))
        for expert in idle:
            for edit_id in self.members.pop(expert):
                del self.expert_of[edit_id]

    def _train(self, edits: Sequence[Edit], values: Tensor, others: Sequence[str]) -> tuple[Tensor, Tensor, Tensor]:
        """Return anchor (route_width,), down (rank, width) and up (width, rank) after training beside `others`."""
        o, device = self.options, self.vlm.device
        down, up = fresh_factors(o.rank, self.vlm.width, self.vlm.width, edit_generator(self.seed, edits[0].id))
        trained = [t.to(device).requires_grad_() for t in (self._sized(values.mean(0)), down, up)]
        anchor, down, up = trained
        values = values.to(device)
        frozen = torch.from_numpy(self.bank.keys_of(self.bank.rows_of(others))).to(device)
        hidden = self.vlm.hidden([e.query for e in edits], self.layer, [e.target for e in edits])
        own = torch.zeros(len(edits), 1, dtype=torch.long, device=device)
        right = False

        def loss_of() -> Tensor:
            nonlocal right
            scores = values @ torch.cat([frozen, anchor[None]]).T / self._heat
            share = scores.log_softmax(-1)[:, -1:]
            beside = adder(down[None], up[None], own, share.exp() * o.scale, F.silu)
            with self.vlm.hook(self.module, beside, pointwise=True):
                rows = self.vlm.resume(hidden, grad=True, answers_only=True)
            right = answers_exact(rows, hidden.target_ids)
            return answer_losses(rows, hidden.target_ids).mean() - o.anchor_weight * share.mean()

        def keep_length() -> None:
            with torch.no_grad():
                anchor.copy_(self._sized(anchor))

        descend(
            torch.optim.AdamW(trained, lr=o.rate(self.vlm.width)),
            loss_of,
            steps=o.steps,
            done=lambda loss: right and loss < o.stop_loss,
            vlm=self.vlm,
            what=f"lemoe, edits {', '.join(e.id for e in edits)}",
            after=keep_length,
        )
        return anchor.detach().cpu(), down.detach().cpu(), up.detach().cpu()

    @property
    def _heat(self) -> float:
        return self.options.temperature if self.options.unit else 1.0

    def _sized(self, vectors: Tensor) -> Tensor:
        return F.normalize(vectors, dim=-1) if self.options.unit else vectors

    # Answering

    def encode(self, queries: Sequence[Query]) -> Keys:
        """Return `value` (n, route_width): the projection of the mean input embedding."""
        values = np.zeros((len(queries), self.options.route_width), np.float32)
        for i, one in enumerate(self._inputs(queries) if queries else ()):
            inner = self.down @ (self.white @ (one - self.mean))
            values[i] = self._sized(self.up @ F.silu(inner)).numpy()
        return Keys({"value": values})

    def _inputs(self, queries: Sequence[Query]) -> Tensor:
        """Return mean input embeddings, (n, width), scaled to unit mean square."""
        rows = self.vlm.capture(queries, self.vlm.decoder_layer(0))
        means = torch.stack([states.float().mean(0).cpu() for states in rows])
        return means / means.square().mean(-1, keepdim=True).sqrt().clamp_min(1e-12)

    def route(self, keys: Keys) -> list[Route]:
        """Return the members of the top k experts with their gates; scores and `best` are those of the anchors."""
        if not self.members or not len(keys):
            return [Route()] * len(keys)
        found = self.bank.search(keys["value"], len(self.members), keys.memo("value"))
        best, share = gates(torch.from_numpy(found.scores) / self._heat, self.options.top_k)
        routes = []
        for names, row, numbers, weights in zip(found.ids, found.scores, best.tolist(), share.tolist(), strict=True):
            each = [(self.members[names[j]], float(row[j]), w) for j, w in zip(numbers, weights, strict=True)]
            ids = tuple(i for members, _, _ in each for i in members)
            scores = tuple(s for members, s, _ in each for _ in members)
            gate = tuple(w for members, _, w in each for _ in members)
            routes.append(Route(ids, scores, gate, group=len(ids) > 1, best=float(row[0])))
        return routes

    @contextmanager
    def applied(self, queries: Sequence[Query], routes: Sequence[Route]) -> Iterator[Answerer]:
        """Answer with the routed experts beside the module; before the first batch everyone sees the base."""
        chosen = [{self.expert_of[i]: w for i, w in zip(r.ids, r.weights, strict=True)} for r in routes]
        names = sorted({name for row in chosen for name in row})
        if not names:
            yield self.vlm.answerer(queries)
            return
        number, k = {name: j for j, name in enumerate(names)}, max(map(len, chosen))
        experts, weights = torch.zeros(len(chosen), k, dtype=torch.long), torch.zeros(len(chosen), k)
        for i, row in enumerate(chosen):
            experts[i, : len(row)] = torch.tensor([number[name] for name in row])
            weights[i, : len(row)] = torch.tensor(list(row.values()))
        rows, device = self.bank.rows_of(names), self.vlm.device
        down, up = (self.bank.payload(name, rows).to(device) for name in ("down", "up"))
        hook = adder(down, up, experts.to(device), weights.to(device) * self.options.scale, F.silu)
        with self.vlm.hook(self.module, hook, pointwise=True):
            yield self.vlm.answerer(queries, from_layer=self.layer)

    # State

    def acts_on(self) -> Sequence[str]:
        """Return the name of the module beside which experts stand."""
        return [self.vlm.name_of_module(self.module)]

    def bytes_for(self, edits: int) -> int:
        """Return the bytes of an expert for each batch."""
        o = self.options
        return 4 * -(-edits // o.per_expert) * (2 * o.rank * self.vlm.width + o.route_width)

    def nbytes(self) -> int:
        """Return the bytes of anchors and experts."""
        return self.bank.nbytes()

    def bank_len(self) -> int:
        """Return the number of experts."""
        return len(self.members)

    def routing_banks(self) -> Sequence[Bank]:
        """Return the bank that `route` searches."""
        return [self.bank]

    def holds(self, edit_id: str) -> bool:
        """Return whether an edit is a member of an entry."""
        return edit_id in self.expert_of

    def state(self) -> State:
        """Return anchors, experts and their members."""
        members = [[name, list(ids)] for name, ids in self.members.items()]
        meta = {"revision": self.revision, "members": members, "made": self._made}
        return State.joined({**meta, "questions": self.questions.table()}, bank=self.bank.state())

    def load(self, state: State) -> None:
        """Go on from anchors, experts and their members."""
        super().load(state)
        self.bank.load(state.part("bank"))
        self.members = {name: tuple(ids) for name, ids in state.meta["members"]}
        self.expert_of = {i: name for name, ids in self.members.items() for i in ids}
        self.questions.load(state.meta["questions"])
        self._made = int(state.meta["made"])
