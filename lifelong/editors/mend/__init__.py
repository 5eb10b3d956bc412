"""MEND: a trained network turns an edit's gradient into a better weight change (arXiv 2110.11309).

Knows edits, a model's linear modules and what hypernetwork editors share; nothing of probes, clocks or panels.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from pydantic import Field

from lifelong.editing.contract import EditorOptions, State
from lifelong.editing.ops import bytes_of, weight_of
from lifelong.editing.settled import unused
from lifelong.editing.weights.gradient_transform import GradientTransforms, TransformTraining
from lifelong.editing.weights.regions import ABOUT, RunningWeights, find_region, layers_from, unread_of_region
from lifelong.editing.weights.weight_editor import WeightEditor
from streams.types import Edit, Pool

if TYPE_CHECKING:
    from lifelong.models.vlm import VLM


class MendOptions(EditorOptions):
    """Settings of MEND; defaults are EasyEdit's for a 7B LLaVA, with fewer and larger training steps."""

    first_layer: float = Field(default=0.906, ge=0, le=1, description="depth of the lowest edited layer; 29 of 32")
    module: str = Field(default="language", description=f"what is edited: {ABOUT}; language is `targets`")
    targets: tuple[str, ...] = Field(
        default=("mlp.down_proj", "mlp.up_proj"), min_length=1, description="parts of a layer for module=language"
    )
    rank: float = Field(default=0.127, gt=0, le=1, description="rank as a share of in + out; 1920 of 15104")
    rate: float = Field(default=1e-4, gt=0, description="step of every matrix before training; it is learnt")
    average: bool = Field(
        default=False,
        description="the token-weighted mean of all edits' changes instead of their sum (LiveEdit's port)",
    )
    edit_scale: float = Field(default=1.0, gt=0, description="of every change at edit time; trained with 1")
    edit_weight: float = Field(
        default=0.1, ge=0, description="of the loss of reworded questions, and of new pictures"
    )
    local_weight: float = Field(default=1.0, ge=0, description="of the loss of questions to leave alone, each kind")
    learning_rate: float = Field(default=1e-3, gt=0, description="Adam; EasyEdit 1e-6 over 30,000 steps")
    rate_learning_rate: float = Field(default=1e-3, gt=0, description="Adam's for the learned steps")
    clip: float = Field(default=100.0, gt=0, description="largest norm of a training gradient")
    steps: int = Field(default=1000, ge=1, description="optimiser steps of fit")
    batch: int = Field(default=12, ge=1, description="edits a training step, each with weights of its own")
    pool: int = Field(default=3000, ge=2, description="training items asked of the stream")


class Mend(WeightEditor):
    """Model editor networks with gradient decomposition (arXiv 2110.11309).

    There is no expert and no route: each edit adds its own change to the live weights,
    W <- W - rate_W sum_t delta~_t u~_t^T over its tokens t, where (u~, delta~) = g(u, delta) (Eq. 3), u (tokens, in)
    is W's input and delta (tokens, out) the gradient of -log p(answer) at its output, at the live weights. `fit`
    trains g, one per shape of weights (two low-rank residual layers, shared, with a scale and shift per matrix), and
    the rates, on edit_weight NLL(rewordings, pictures) + local_weight KL(base || edited); moments are frozen after.
    Memory: the edited weights, whatever the number of edits (twice that with `average`); an edit is one forward and
    one backward pass, a query costs nothing extra. In a long stream the gradients of the edited model leave the
    moments that g was trained on and the changes add up: it collapses, as published.
    Deviations: the rates begin at -`rate` in W + rate ..., the paper's sign; released code begins at +, uphill, and
    learns the sign. Training rewordings include the edit's own question, a member of its equivalence neighbourhood.
    A training step takes `batch` edits with weights of their own instead of one. `module=vision` edits the connector.
    """

    Options = MendOptions
    searched = {"edit_scale": (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0), "average": (False, True)}
    published = {}
    depths = ("first_layer",)
    trains = True
    options: MendOptions

    def __init__(self, vlm: VLM, options: MendOptions | None = None, *, seed: int = 0) -> None:
        super().__init__(vlm, options, seed=seed)
        o = self.options
        self.region = find_region(vlm, o.module, layers_from(vlm, o.first_layer), o.targets)
        linear = self.region.linear()
        self.parameters = {name: vlm.name_of(weight_of(m)) for name, m in linear.items()}
        self.weights = RunningWeights(vlm, {self.parameters[name]: weight_of(m) for name, m in linear.items()})
        self.transforms = GradientTransforms(self.region, rank=o.rank, rate=o.rate, seed=seed)
        self.sums = {name: torch.zeros_like(w) for name, w in self.weights.now.items()} if o.average else {}
        self.tokens = 0

    # Training

    def fit(self, pool: Pool) -> None:
        """Train the transforms and rates on the pool's edits, each applied alone to the base."""
        o = self.options
        how = TransformTraining(
            o.edit_weight, o.local_weight, o.learning_rate, o.rate_learning_rate, o.clip, o.steps, o.batch
        )
        self.transforms.fit(pool, how, seed=self.seed, what="mend", unfinished=self.unfinished)
        self.load_fitted(self.fitted())  # rounded, as it is kept

    @classmethod
    def settles(cls, options: MendOptions, vlm: VLM) -> MendOptions:
        """Return the options without those that the edited modules do not read."""
        return unused(super().settles(options, vlm), unread_of_region(options.module))

    @classmethod
    def fit_options(cls, options: EditorOptions) -> Mapping[str, Any]:
        """Return all options but those that only editing reads."""
        return options.model_dump(mode="json", exclude={"average", "edit_scale"})

    def fitted(self) -> State:
        """Return the transforms in half precision, with their moments and rates as they are."""
        learnt = {k for k, p in self.transforms.networks.named_parameters() if p.ndim > 1}
        whole = self.transforms.networks.state_dict().items()
        return State(
            {k: (v.half() if k in learnt else v).clone() for k, v in whole},
            {"matrices": list(self.transforms.place)},
        )

    def load_fitted(self, state: State) -> None:
        """Take over transforms."""
        self.transforms.networks.load_state_dict({k: t.float() for k, t in state.tensors.items()}, strict=True)

    # Editing

    def edit(self, edits: Sequence[Edit]) -> dict[str, str]:
        """Add the batch's change to the live weights; a collapse raises `CollapseError` and changes nothing."""
        reached = [e for e in edits if self.region.reaches(e.query)]
        if reached:
            self._change(reached, f"mend, edit {', '.join(e.id for e in reached)}")
        self.revision += bool(edits)
        return self.region.passed_over(edits)

    def _change(self, edits: Sequence[Edit], what: str) -> None:
        with self.weights.swapped():
            changes = self.transforms.changes_of(edits, what)
        steps = {self.parameters[n]: self.options.edit_scale * f.dense() for n, f in changes.items()}
        if not self.options.average:
            self.weights.take({n: w + steps[n].to(w.dtype) for n, w in self.weights.now.items()}, what)
            return
        tokens = sum(len(self.vlm.target_ids(e.target)) for e in edits)
        sums = {n: s + tokens * steps[n].to(s.dtype) for n, s in self.sums.items()}
        total = self.tokens + tokens
        self.weights.take({n: w + sums[n] / total for n, w in self.weights.base.items()}, what)
        self.sums, self.tokens = sums, total

    def nbytes(self) -> int:
        """Return the bytes of the edited weights (and of the sums behind a mean), whatever the number of edits."""
        return super().nbytes() + bytes_of(self.sums.values())

    def mark(self) -> Hashable:
        """Return how often the weights were changed, and the tokens behind a mean."""
        return super().mark(), self.tokens

    def state(self) -> State:
        """Return the edited weights, and the sums behind a mean."""
        sums = State(self.sums, {"tokens": self.tokens})
        return State.joined(weights=super().state(), sums=sums)

    def load(self, state: State) -> None:
        """Go on from edited weights."""
        super().load(state.part("weights"))
        sums = state.part("sums")
        self.tokens = int(sums.meta["tokens"])
        self.sums = {name: sums.tensors[name].to(s).clone() for name, s in self.sums.items()}
