"""MELO: blocks of a dynamic LoRA, one per batch of edits, chosen by a database of clusters (arXiv 2312.11795).

Knows queries, edits, banks and the model's hooks; nothing of probes, clocks or panels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from lifelong.bank import Bank
from lifelong.editing.contract import Answerer, Editor, IndexOptions, Keys, Route, State
from lifelong.editing.ops import (
    adder,
    answer_losses,
    answers_exact,
    descend,
    edit_generator,
    finite_keys,
    fresh_factors,
    widths_of,
)
from lifelong.editing.questions import EditedQuestions, ReeditOptions, newest, passed_over
from lifelong.editing.radius_bank import nearness
from lifelong.editors.melo.clusters import Clusters
from streams.types import Edit, Query

if TYPE_CHECKING:
    from lifelong.models.vlm import VLM


class MeloOptions(ReeditOptions, IndexOptions):
    """Settings of MELO; as published for GPT2-XL, the decoder among its models (key at layer 35 of 48)."""

    key_layer: float = Field(default=0.73, ge=0, lt=1, description="depth of the layer whose output is the key")
    key_module: str = Field(default="mlp.up_proj", description="module inside that layer; its output is the key")
    layers: int = Field(default=2, ge=1, description="how many layers above the key's carry LoRA")
    module: str = Field(default="mlp.up_proj", description="module inside those layers that LoRA is beside")
    turn: int = Field(default=4, ge=1, description="edits that share one block (published: 4, for T5 100)")
    rank: int = Field(default=2, ge=1, description="rank of one block")
    radius: float = Field(default=0.5, gt=0, description="initial radius of a cluster, Euclidean (T5: 75)")
    learning_rate: float | None = Field(
        default=None, gt=0, description="Adam; none: the published 1e-3 for a model 1600 wide, in inverse proportion"
    )
    halve: int = Field(default=20, ge=1, description="steps after which the learning rate halves")
    steps: int = Field(default=50, ge=1)
    stop_loss: float = Field(default=0.0, ge=0, description="stop when every token is right and below this (nats)")

    def rate(self, width: int) -> float:
        """Return Adam's learning rate for a model of a width."""
        return 1e-3 * 1600 / width if self.learning_rate is None else self.learning_rate


class Melo(Editor):
    """Neuron-indexed dynamic LoRA (arXiv 2312.11795).

    An expert is a block: `rank` rows of LoRA beside `module` in each of `layers` layers, trained on one batch of
    `turn` edits, W x + B_b A_b x with A uniform and B zero at first, and frozen after it. A query routes to the
    nearest cluster centre by the key module's output at its last prompt token; inside the cluster's radius it gets
    the block of the nearest member, at every token and decode step, elsewhere none. Nothing is trained beforehand.

    Shapes: key (d_ff,); a block holds (rank, width) and (d_ff, rank) per layer. Memory: 2 d_ff + 2 floats per edit
    (member and, at most, centre) and layers rank (width + d_ff) per batch. A query costs one search over the centres
    and one over the members of a single cluster.

    The failure mode are conflicts: a key near a cluster with another answer halves that cluster's radius, and members
    outside it are forgotten for good.

    Deviations: labels are equal when their tokens are, not when the sums of their tokens are (the released code takes
    unlike answers for one, and then joins them); the module is the up-projection of a gated MLP, for GPT2-XL's
    `c_fc`; where fewer layers lie above the key's than `layers`, fewer carry LoRA, and the key's is at most the last
    but one; one rate fits every width. The cluster rule is the published one, near-ties with it: an edit with exactly
    the key of another and another answer hides both. So a newer edit of a question drops the older one before it is
    placed (`supersede="keep"`: it does not, as published).
    """

    Options = MeloOptions
    searched = {
        "radius": (0.5, 5.0, 25.0, 50.0, 75.0, 150.0, 300.0),
        "key_layer": (0.0, 0.17, 0.34, 0.5, 0.73),
        "learning_rate": (0.002, 0.00625, 0.02, 0.06, 0.2),
        "rank": (2, 4, 8),
    }
    published = {"supersede": "keep"}
    depths = ("key_layer",)
    removes = True
    replaces = True
    options: MeloOptions

    def __init__(self, vlm: VLM, options: MeloOptions | None = None, *, seed: int = 0) -> None:
        super().__init__(vlm, options, seed=seed)
        o = self.options
        key_layer = max(0, min(vlm.layer_at(o.key_layer), vlm.layers - 2))
        self.key_module = vlm.submodule(key_layer, o.key_module)
        self.first = min(key_layer + 1, vlm.layers - 1)
        self.modules = [vlm.submodule(i, o.module) for i in range(self.first, min(self.first + o.layers, vlm.layers))]
        self.clusters = Clusters(widths_of(self.key_module)[0], o.radius, index=o.index)
        self.blocks = Bank(1)  # never searched: payloads by the number of the block
        self._made = 0
        self.questions = EditedQuestions()

    @classmethod
    def settles(cls, options: MeloOptions, vlm: VLM) -> MeloOptions:
        """Return the options with the learning rate spelt out, and the key's layer below the last one."""
        settled = super().settles(options, vlm)
        layer = max(0, min(vlm.layer_at(options.key_layer), vlm.layers - 2)) / vlm.layers
        return settled.model_copy(update={"learning_rate": options.rate(vlm.width), "key_layer": layer})

    @classmethod
    def turn_of(cls, options: MeloOptions) -> int:
        """Return the edits of one block."""
        return options.turn

    # Editing

    def edit(self, edits: Sequence[Edit]) -> dict[str, str]:
        """Train a block on the batch and place the edits' keys; raises `CollapseError` on a non-finite loss."""
        if not edits:
            return {}
        replacing, given = self.options.supersede == "replace", edits
        edits = newest(given) if replacing else given
        factors = self._train(edits)
        labels = [tuple(int(i) for i in self.vlm.target_ids(e.target)) for e in edits]
        keys = finite_keys(self.encode([e.query for e in edits])["key"], [e.id for e in edits], "melo")
        if replacing:  # whatever fails has failed by now: nothing was changed
            self.remove(list(dict.fromkeys(i for e in edits for i in self.questions.older(e))))
        before = set(self.clusters.cluster_of)
        self.clusters.place([e.id for e in edits], keys, labels, self._made)
        payloads = {name: factor[None] for name, factor in factors.items()}
        self.blocks.add([str(self._made)], np.zeros((1, 1), np.float32), payloads)
        self._made += 1
        for edit in edits:
            self.questions.add(edit)
        if forgotten := before - set(self.clusters.cluster_of):
            self.questions.drop(forgotten)
            self._drop_unused()
        return passed_over(given, edits)

    def _train(self, edits: Sequence[Edit]) -> dict[str, Tensor]:
        """Return the block: `down` (rank, in) and `up` (out, rank) per module, trained on all edits together."""
        o, source = self.options, edit_generator(self.seed, edits[0].id)
        factors: dict[str, Tensor] = {}
        for i, module in enumerate(self.modules):
            out, width = widths_of(module)
            down, up = fresh_factors(o.rank, width, out, source)
            factors |= {f"down{i}": down, f"up{i}": up}
        factors = {n: f.to(self.vlm.device).requires_grad_() for n, f in factors.items()}
        hidden = self.vlm.hidden([e.query for e in edits], self.first, [e.target for e in edits])
        one = torch.zeros(len(edits), 1, dtype=torch.long, device=self.vlm.device)
        right = False

        def loss_of() -> Tensor:
            nonlocal right
            with self._beside({n: f[None] for n, f in factors.items()}, one, one + 1.0):
                rows = self.vlm.resume(hidden, grad=True, answers_only=True)
            right = answers_exact(rows, hidden.target_ids)
            return answer_losses(rows, hidden.target_ids).mean()

        optimizer = torch.optim.Adam(list(factors.values()), lr=o.rate(self.vlm.width))
        halving = torch.optim.lr_scheduler.StepLR(optimizer, o.halve, 0.5)
        descend(
            optimizer,
            loss_of,
            steps=o.steps,
            done=lambda loss: right and loss < o.stop_loss,
            vlm=self.vlm,
            what=f"melo, edits {', '.join(e.id for e in edits)}",
            after=halving.step,
        )
        return {n: f.detach().cpu() for n, f in factors.items()}

    @contextmanager
    def _beside(self, factors: dict[str, Tensor], experts: Tensor, weights: Tensor) -> Iterator[None]:
        with ExitStack() as stack:
            for i, module in enumerate(self.modules):
                hook = adder(factors[f"down{i}"], factors[f"up{i}"], experts, weights)
                stack.enter_context(self.vlm.hook(module, hook, pointwise=True))
            yield

    # Answering

    def encode(self, queries: Sequence[Query]) -> Keys:
        """Return `key`, (n, d_ff): the key module's output at the last prompt token."""
        keys = np.zeros((len(queries), self.clusters.centres.width), np.float32)
        with torch.no_grad():
            for i, states in enumerate(self.vlm.capture(queries, self.key_module)):
                keys[i] = self.key_module(states[-1:])[0].float().cpu().numpy()
        return Keys({"key": keys})

    def route(self, keys: Keys) -> list[Route]:
        """Return the nearest member of the cluster a key lies in.

        Score and `best` are the negated distance to the nearest centre.
        """
        found = self.clusters.find(keys["key"], keys.memo("key"))
        return [
            Route(best=nearness(d)) if member is None else Route((member,), (-d,), best=-d) for member, d in found
        ]

    @contextmanager
    def applied(self, queries: Sequence[Query], routes: Sequence[Route]) -> Iterator[Answerer]:
        """Answer with each query's block beside the modules; queries outside every cluster see the base."""
        served = torch.tensor([[route.in_scope] for route in routes], dtype=torch.bool)
        blocks = self.clusters.block([route.ids[0] for route in routes if route.in_scope])
        if not blocks:
            yield self.vlm.answerer(queries)
            return
        distinct, numbers = np.unique(blocks, return_inverse=True)
        rows = self.blocks.rows_of([str(b) for b in distinct])
        names = [f"{side}{i}" for i in range(len(self.modules)) for side in ("down", "up")]
        factors = {n: self.blocks.payload(n, rows).to(self.vlm.device) for n in names}
        experts = torch.zeros(len(routes), 1, dtype=torch.long)
        experts[served] = torch.from_numpy(numbers.reshape(-1))
        with self._beside(factors, experts.to(self.vlm.device), served.float().to(self.vlm.device)):
            yield self.vlm.answerer(queries, from_layer=self.first)

    # State

    def remove(self, ids: Sequence[str]) -> None:
        """Take edits out of their clusters, and blocks that serve nobody; one that is not there is passed over."""
        stored = [i for i in ids if i in self.clusters]
        for edit_id in stored:
            self.clusters.remove(edit_id)
        self.questions.drop(ids)
        if stored:
            self._drop_unused()

    def _drop_unused(self) -> None:
        used = set(self.clusters.block(list(self.clusters.cluster_of)))
        self.blocks.remove([b for b in self.blocks.ids() if int(b) not in used])

    def acts_on(self) -> Sequence[str]:
        """Return the names of the modules beside which blocks stand."""
        return [self.vlm.name_of_module(m) for m in self.modules]

    def bytes_for(self, edits: int) -> int:
        """Return the bytes of a centre and a member for each edit, and of a block for each batch."""
        block = sum(self.options.rank * sum(widths_of(module)) for module in self.modules)
        batches = -(-edits // self.options.turn)
        return 4 * (edits * (2 * self.clusters.centres.width + 2) + batches * (block + 1))

    def nbytes(self) -> int:
        """Return the bytes of clusters, members and blocks."""
        return self.clusters.nbytes() + self.blocks.nbytes()

    def bank_len(self) -> int:
        """Return the number of edits that are members of a cluster."""
        return len(self.clusters.cluster_of)

    def routing_banks(self) -> Sequence[Bank]:
        """Return the bank that `route` searches."""
        return [self.clusters.centres]

    def holds(self, edit_id: str) -> bool:
        """Return whether an edit is a member of an entry."""
        return edit_id in self.clusters

    def state(self) -> State:
        """Return clusters and blocks."""
        meta = {"revision": self.revision, "made": self._made, "questions": self.questions.table()}
        return State.joined(meta, clusters=self.clusters.state(), blocks=self.blocks.state())

    def load(self, state: State) -> None:
        """Go on from clusters and blocks."""
        super().load(state)
        self.clusters.load(state.part("clusters"))
        self.blocks.load(state.part("blocks"))
        self._made = int(state.meta["made"])
        self.questions.load(state.meta["questions"])
