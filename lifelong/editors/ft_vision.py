"""FT-vision: fine-tune the connector between the vision side and the language model, one edit after another.

Knows edits and the model's parameters; it does not route. MMEdit's FT on the vision side (arXiv 2310.08475) and
LiveEdit's FT-M (arXiv 2411.15432, section 5): the Q-Former or the projector, AdamW, answer tokens only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from pydantic import Field

from lifelong.editing.contract import EditorOptions
from lifelong.editing.weights.regions import RunningWeights, find_region, fine_tune
from lifelong.editing.weights.weight_editor import WeightEditor
from streams.types import Edit

if TYPE_CHECKING:
    from lifelong.models.vlm import VLM


class FtVisionOptions(EditorOptions):
    """Settings of FT-vision; defaults are LiveEdit's (weight decay is AdamW's own)."""

    module: str = Field(
        default="vision", pattern=r"^vision(\..+)?$", description="what is tuned: the connector, or vision.NAME"
    )
    learning_rate: float = Field(default=1e-3, gt=0, description="MMEdit on a Q-Former and VLKEB: 1e-4 to 2e-4")
    weight_decay: float = Field(default=0.01, ge=0)
    steps: int = Field(default=25, ge=1)
    stop_loss: float = Field(default=1e-2, ge=0, description="stop below this loss (nats per answer token)")


class VisionFineTuning(WeightEditor):
    """Fine-tuning of the connector (arXiv 2310.08475, FT on the vision side; arXiv 2411.15432, FT-M).

    There is no expert and no route: all edits share the connector's weights and biases, and later ones overwrite
    earlier ones. Each edit minimises -log p(answer) over them by AdamW until `stop_loss`; tower and language model
    are frozen. Questions without a picture never pass here: their answers are the base's, whatever was edited, and an
    edit without a picture cannot be learnt and leaves everything as it is. Memory: the connector, whatever the number
    of edits. A query costs nothing extra, but image features kept from the base serve no more: each is computed anew.
    The connector is everything outside the language model but its largest part, the tower.
    """

    Options = FtVisionOptions
    searched = {
        "learning_rate": (3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2),
        "steps": (2, 5, 10, 25, 50),
        "stop_loss": (0.01, 0.1, 0.5),
    }
    published = {}
    options: FtVisionOptions

    def __init__(self, vlm: VLM, options: FtVisionOptions | None = None, *, seed: int = 0) -> None:
        super().__init__(vlm, options, seed=seed)
        self.region = find_region(vlm, self.options.module, (), ())
        self.weights = RunningWeights(vlm, self.region.parameters())

    def edit(self, edits: Sequence[Edit]) -> dict[str, str]:
        """Tune the connector on the edits with a picture; a collapse raises `CollapseError` and changes nothing."""
        o = self.options
        passed_over = fine_tune(
            self.region,
            self.weights,
            edits,
            lambda values: torch.optim.AdamW(values, lr=o.learning_rate, weight_decay=o.weight_decay),
            steps=o.steps,
            stop_loss=o.stop_loss,
            what="ft_vision",
        )
        self.revision += bool(edits)
        return passed_over
