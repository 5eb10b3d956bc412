"""KE: a hypernetwork that reads an edit in words and turns its gradient into a weight change (arXiv 2104.08164).

Knows edits, a model's linear modules and what hypernetwork editors share; nothing of probes, clocks or panels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from lifelong.editing.contract import EditorOptions, State
from lifelong.editing.ops import weight_of
from lifelong.editing.settled import unused
from lifelong.editing.weights.hypernet import drawer, gradient_factors, lessons_of, losses_of, train_hypernet
from lifelong.editing.weights.regions import ABOUT, RunningWeights, find_region, layers_from, unread_of_region
from lifelong.editing.weights.weight_editor import WeightEditor
from lifelong.editors.ke.network import Hypernetwork, size_of
from streams.types import Edit, Pool

if TYPE_CHECKING:
    from lifelong.models.vlm import VLM

CHECK_STEPS = 50


class KeOptions(EditorOptions):
    """Settings of KE; defaults are VLKEB's port, with fewer and larger training steps."""

    first_layer: float = Field(default=0.906, ge=0, le=1, description="depth of the lowest edited layer; 29 of 32")
    module: str = Field(default="language", description=f"what is edited: {ABOUT}; language is `targets`")
    targets: tuple[str, ...] = Field(
        default=("mlp.down_proj", "mlp.up_proj"), min_length=1, description="parts of a layer for module=language"
    )
    hidden: int = Field(default=128, ge=1, description="width of the LSTM in each direction")
    condition: int = Field(default=1024, ge=1, description="width of what is read off an edit's words")
    head: int = Field(default=128, ge=1, description="hidden width of each matrix's head")
    max_scale: float = Field(
        default=100.0,
        gt=0,
        description="largest gate of a change (VLKEB 1, too little for a small model's gradients)",
    )
    edit_scale: float = Field(default=1.0, gt=0, description="of every change at edit time; trained with 1")
    constraint: Literal["kl", "norm"] = Field(
        default="kl", description="what the margin bounds: KL on questions to leave alone (paper) or |dW| (VLKEB)"
    )
    margin: float = Field(default=1e-3, ge=0, description="bound at the beginning of training")
    margin_floor: float = Field(default=1e-3, ge=0, description="the bound shrinks no further; VLKEB with norm: 1e-7")
    margin_decay: float = Field(
        default=0.8, gt=0, le=1, description="of the bound while over 90 % of edits are right"
    )
    dual_rate: float = Field(default=0.1, ge=0, description="step of the multiplier (dual ascent); 0: free")
    learning_rate: float = Field(default=3e-4, gt=0, description="centred RMSprop")
    warm_up: float = Field(default=1 / 30, ge=0, lt=1, description="share of steps with a rising learning rate")
    clip: float = Field(default=1.0, gt=0, description="largest norm of a training gradient")
    steps: int = Field(default=800, ge=1, description="optimiser steps of fit (VLKEB: 30,000 of one edit)")
    batch: int = Field(default=12, ge=1, description="edits a training step, each with weights of its own")
    pool: int = Field(default=3000, ge=2, description="training items asked of the stream")


class KnowledgeEditor(WeightEditor):
    """KnowledgeEditor, a constrained hypernetwork (arXiv 2104.08164; multimodal port: VLKEB, arXiv 2403.07350).

    There is no expert and no route: each edit adds its own change to the live weights (section 3.2),
    W <- W + max_scale sigmoid(eta) (grad W * softmax(alpha) gamma^T + softmax(beta) delta^T),
    with alpha, beta (out,), gamma, delta (in,) and a scalar eta per matrix, all read off a BiLSTM over the embeddings
    of "old answer >> new answer || question"; grad W is that of -log p(answer) at the live weights. `fit` trains the
    LSTM and one head per matrix on NLL(edit, rewordings, pictures) + a (C - margin), with a >= 0 by dual ascent and C
    the KL to the base on questions to leave alone (or the norm of the change); the margin shrinks while most edits
    succeed. Memory: the edited weights, whatever the number of edits; an edit is one decoded answer, one forward and
    one backward pass; a query costs nothing extra. In a long stream changes made for the base add up on weights that
    the network never saw: it decays.
    Deviations: the embeddings are the model's own and stay frozen; the accuracy that shrinks the margin is the
    training batches' of the last 50 steps; a training step takes `batch` edits with weights of their own, not one.
    """

    Options = KeOptions
    searched = {"edit_scale": (1e-4, 3e-4, 0.001, 0.003, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 1.5)}
    published = {}
    depths = ("first_layer",)
    trains = True
    options: KeOptions

    def __init__(self, vlm: VLM, options: KeOptions | None = None, *, seed: int = 0) -> None:
        super().__init__(vlm, options, seed=seed)
        o = self.options
        self.region = find_region(vlm, o.module, layers_from(vlm, o.first_layer), o.targets)
        linear = self.region.linear()
        self.parameters = {name: vlm.name_of(weight_of(m)) for name, m in linear.items()}
        self.weights = RunningWeights(vlm, {self.parameters[name]: weight_of(m) for name, m in linear.items()})
        shapes = {name: (int(m.weight.shape[0]), int(m.weight.shape[1])) for name, m in linear.items()}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network = Hypernetwork(
                vlm.width, shapes, hidden=o.hidden, condition=o.condition, head=o.head, max_scale=o.max_scale
            ).to(vlm.device).eval().requires_grad_(False)  # fmt: skip

    # Training

    def fit(self, pool: Pool) -> None:
        """Train the hypernetwork on the pool's edits, each applied alone to the base."""
        o = self.options
        lessons = lessons_of(pool, self.region, "ke")
        old = self.vlm.generate([x.edit.query for x in lessons])
        said = {id(x): words for x, words in zip(lessons, old, strict=True)}
        rng = np.random.default_rng(np.random.SeedSequence([self.seed, 0x4B45]))
        now: dict[str, Any] = {"multiplier": 0.0, "margin": o.margin, "right": []}
        draw = drawer(lessons, o.batch, rng, now)

        def loss_of(step: int) -> Tensor:
            chosen = draw()
            edits = [x.edit for x in chosen]
            questions = self.region.questions([e.query for e in edits], [e.target for e in edits])
            found, _ = gradient_factors(self.region, questions, "ke")
            change = self.network(found, self._sentences(edits, [said[id(x)] for x in chosen]))
            losses = losses_of(self.region, change, chosen, rng)
            cost = torch.stack(list(losses.local.values())).mean()
            if o.constraint == "norm":
                cost = torch.stack([size_of(f) for f in change.values()]).sum(0).mean()
            loss = torch.stack(list(losses.same.values())).mean() + now["multiplier"] * (cost - now["margin"])
            now["multiplier"] = max(0.0, now["multiplier"] + o.dual_rate * (float(cost.detach()) - now["margin"]))
            now["right"].append(losses.right)
            if len(now["right"]) == CHECK_STEPS:
                if np.mean(now["right"]) > 0.9:
                    now["margin"] = max(o.margin_floor, now["margin"] * o.margin_decay)
                now["right"].clear()
            return loss

        def share(step: int) -> float:
            return min(1.0, (step + 1) / max(1.0, o.warm_up * o.steps))

        optimizer = torch.optim.RMSprop(self.network.parameters(), lr=o.learning_rate, centered=True)
        train_hypernet(
            self.vlm, self.network, optimizer, loss_of, steps=o.steps, clip=o.clip, share=share, rng=rng, plain=now,
            unfinished=self.unfinished, what="ke",
        )  # fmt: skip
        self.load_fitted(self.fitted())  # rounded, as it is kept

    @classmethod
    def settles(cls, options: KeOptions, vlm: VLM) -> KeOptions:
        """Return the options without those that the edited modules do not read."""
        return unused(super().settles(options, vlm), unread_of_region(options.module))

    @classmethod
    def fit_options(cls, options: EditorOptions) -> Mapping[str, Any]:
        """Return all options but the one that only editing reads."""
        return options.model_dump(mode="json", exclude={"edit_scale"})

    def fitted(self) -> State:
        """Return the hypernetwork in half precision."""
        return State({k: v.half() for k, v in self.network.state_dict().items()}, {"matrices": list(self.parameters)})

    def load_fitted(self, state: State) -> None:
        """Take over a hypernetwork."""
        self.network.load_state_dict({k: t.float() for k, t in state.tensors.items()}, strict=True)

    # Editing

    def _sentences(self, edits: Sequence[Edit], old: Sequence[str]) -> list[Tensor]:
        """Return the embeddings (tokens, width) of what the hypernetwork reads of each edit."""
        table = self.vlm.embeddings().detach()
        texts = [f"{said} >> {e.target} || {e.query.prompt}" for e, said in zip(edits, old, strict=True)]
        ids = [self.vlm.token_ids(text) for text in texts]
        return [table[torch.tensor(one, device=table.device)].float() for one in ids]

    def edit(self, edits: Sequence[Edit]) -> dict[str, str]:
        """Add the batch's change to the live weights; a collapse raises `CollapseError` and changes nothing."""
        reached = [e for e in edits if self.region.reaches(e.query)]
        if reached:
            self._change(reached, f"ke, edit {', '.join(e.id for e in reached)}")
        self.revision += bool(edits)
        return self.region.passed_over(edits)

    def _change(self, edits: Sequence[Edit], what: str) -> None:
        queries = [e.query for e in edits]
        questions = self.region.questions(queries, [e.target for e in edits])
        with self.weights.swapped():
            old = self.vlm.generate(queries)
            found, _ = gradient_factors(self.region, questions, what)
        with torch.no_grad():
            change = self.network(found, self._sentences(edits, old))
            new = {self.parameters[name]: self.options.edit_scale * f.dense() for name, f in change.items()}
        self.weights.take({n: w + new[n].to(w.dtype) for n, w in self.weights.now.items()}, what)
