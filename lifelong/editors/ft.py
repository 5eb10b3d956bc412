"""FT-L: fine-tune one weight matrix of the language model on every edit, one after another.

Knows edits and the model's parameters; it does not route, so an edit may change any answer. LiveEdit's baseline
(arXiv 2411.15432, section 5): `down_proj` of the last layer, AdamW, answer tokens only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from lifelong.editor import Answerer, Editor, EditorOptions, Route, State
from lifelong.ops import answer_loss, bytes_of, descend, weight_of
from streams.types import Edit, Query

if TYPE_CHECKING:
    from lifelong.models.vlm import VLM


class FtOptions(EditorOptions):
    """Settings of FT-L; defaults are LiveEdit's (weight decay is AdamW's own)."""

    layer: float = Field(
        default=1.0, ge=0, le=1, description="depth of the tuned layer as a fraction; 1 is the last layer"
    )
    module: str = Field(default="mlp.down_proj", description="module inside that layer whose weight is tuned")
    learning_rate: float = Field(default=1e-3, gt=0)
    weight_decay: float = Field(default=0.01, ge=0)
    steps: int = Field(default=25, ge=1)
    stop_loss: float = Field(default=1e-2, ge=0, description="stop below this loss (nats per answer token)")
    norm: float | None = Field(
        default=None, gt=0, description="largest change of one element against the base; none: free"
    )


class FineTuning(Editor):
    """Constrained or free fine-tuning of one layer (arXiv 2411.15432; with `norm`: arXiv 2012.00363)."""

    Options = FtOptions
    routed: ClassVar[bool] = False
    options: FtOptions

    def __init__(self, vlm: VLM, options: FtOptions | None = None, *, seed: int = 0) -> None:
        super().__init__(vlm, options, seed=seed)
        self.layer = vlm.layer_at(self.options.layer)
        base = weight_of(vlm.submodule(self.layer, self.options.module))
        self.name = vlm.name_of(base)
        self.base = base.detach().clone()
        self.weight = self.base.clone()

    def edit(self, edits: Sequence[Edit]) -> None:
        """Tune the weight on the batch; a non-finite loss or weight raises `ValueError` and changes nothing."""
        if not edits:
            return
        hidden = self.vlm.hidden([e.query for e in edits], self.layer, [e.target for e in edits])
        weight = self.weight.clone().requires_grad_()

        def loss_of() -> Tensor:
            with self.vlm.swap({self.name: weight}):
                rows = self.vlm.resume(hidden, grad=True, answers_only=True)
            pairs = zip(rows, hidden.target_ids, strict=True)
            return torch.stack([answer_loss(*pair) for pair in pairs]).mean()

        descend(
            torch.optim.AdamW([weight], lr=self.options.learning_rate, weight_decay=self.options.weight_decay),
            loss_of,
            steps=self.options.steps,
            done=lambda loss: loss < self.options.stop_loss,
            what=f"ft, edit {', '.join(e.id for e in edits)}",
            after=lambda: self._project(weight),
        )
        self.weight = weight.detach()
        self.revision += 1

    def _project(self, weight: Tensor) -> None:
        bound = self.options.norm
        if bound is None:
            return
        with torch.no_grad():
            weight.copy_(torch.clamp(weight, self.base - bound, self.base + bound))

    @contextmanager
    def applied(self, queries: Sequence[Query], routes: Sequence[Route]) -> Iterator[Answerer]:
        """Answer with the tuned weight swapped in."""
        with self.vlm.swap({self.name: self.weight}):
            yield self.vlm.answerer(queries, from_layer=self.layer)

    def nbytes(self) -> int:
        """Return the bytes of the tuned weight, whatever the number of edits."""
        return bytes_of([self.weight])

    def state(self) -> State:
        """Return the tuned weight."""
        return State({"weight": self.weight}, {"revision": self.revision})

    def load(self, state: State) -> None:
        """Go on from a tuned weight."""
        super().load(state)
        self.weight = state.tensors["weight"].to(self.base).clone()
