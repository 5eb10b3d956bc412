"""FT-L: fine-tune one weight matrix of the language model on every edit, one after another.

Knows edits and the model's parameters; it does not route, so an edit may change any answer. LiveEdit's baseline
(arXiv 2411.15432, section 5): `down_proj` of the last layer, AdamW, answer tokens only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from pydantic import Field

from lifelong.editing.contract import EditorOptions
from lifelong.editing.settled import unused
from lifelong.editing.weights.regions import ABOUT, RunningWeights, find_region, fine_tune, on_vision
from lifelong.editing.weights.weight_editor import WeightEditor
from streams.types import Edit

if TYPE_CHECKING:
    from lifelong.models.vlm import VLM


class FtOptions(EditorOptions):
    """Settings of FT-L; defaults are LiveEdit's (weight decay is AdamW's own)."""

    layer: float = Field(
        default=1.0, ge=0, le=1, description="depth of the tuned layer as a fraction; 1 is the last layer"
    )
    module: str = Field(default="mlp.down_proj", description=f"what is tuned: {ABOUT}; language is mlp.down_proj")
    learning_rate: float = Field(default=1e-3, gt=0)
    weight_decay: float = Field(default=0.01, ge=0)
    steps: int = Field(default=25, ge=1)
    stop_loss: float = Field(default=1e-2, ge=0, description="stop below this loss (nats per answer token)")
    norm: float | None = Field(
        default=None, gt=0, description="largest change of one element against the base; none: free"
    )


class FineTuning(WeightEditor):
    """Constrained or free fine-tuning of one layer (arXiv 2411.15432; with `norm`: arXiv 2012.00363).

    There is no expert and no route: all edits share one weight W (out, in), and later ones overwrite earlier ones.
    Each edit minimises -log p(answer) over W by AdamW until `stop_loss`; the rest is frozen. Memory: W, whatever the
    number of edits; a query costs nothing extra. `module=vision` tunes the connector instead (MMEdit's region study,
    arXiv 2310.08475): an edit without a picture cannot be learnt there and leaves everything as it is.
    """

    Options = FtOptions
    searched = {
        "learning_rate": (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2),
        "layer": (0.0, 0.17, 0.34, 0.5, 0.67, 1.0),
        "steps": (10, 25, 50),
        "norm": (None, 0.003, 0.01, 0.03),
    }
    published = {}
    depths = ("layer",)
    options: FtOptions

    def __init__(self, vlm: VLM, options: FtOptions | None = None, *, seed: int = 0) -> None:
        super().__init__(vlm, options, seed=seed)
        layer = vlm.layer_at(self.options.layer)
        self.region = find_region(vlm, self.options.module, [layer], ("mlp.down_proj",))
        self.weights = RunningWeights(vlm, self.region.parameters())

    @classmethod
    def settles(cls, options: FtOptions, vlm: VLM) -> FtOptions:
        """Return the options without the layer where the connector is tuned."""
        return unused(super().settles(options, vlm), {"layer"} if on_vision(options.module) else ())

    def edit(self, edits: Sequence[Edit]) -> dict[str, str]:
        """Tune the weights on the batch; a collapse raises `CollapseError` and changes nothing."""
        o = self.options
        passed_over = fine_tune(
            self.region,
            self.weights,
            edits,
            lambda values: torch.optim.AdamW(values, lr=o.learning_rate, weight_decay=o.weight_decay, fused=True),
            steps=o.steps,
            stop_loss=o.stop_loss,
            what="ft",
            norm=o.norm,
        )
        self.revision += bool(edits)
        return passed_over
