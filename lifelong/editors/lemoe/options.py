"""LEMoE's settings (arXiv 2406.20030). Computes nothing."""

from __future__ import annotations

from pydantic import Field

from lifelong.editing.questions import ReeditOptions


class LemoeOptions(ReeditOptions):
    """Settings of LEMoE; as published for LLaMA-2-7B (layer 18 of 32), widths those of LiveEdit's port."""

    layer: float = Field(default=0.5625, ge=0, le=1, description="depth of the layer with the mixture as a fraction")
    module: str = Field(default="mlp", description="module inside that layer that the experts stand beside")
    per_expert: int = Field(default=20, ge=1, description="edits that share one expert")
    window: int = Field(
        default=1,
        ge=1,
        description="experts made of one batch, its edits put in order by clustering; 1: as they come",
    )
    rank: int = Field(default=32, ge=1, description="inner width of an expert")
    top_k: int = Field(default=1, ge=1, description="experts that serve one query")
    scale: float = Field(default=1.0, gt=0, description="weight of the mixture beside the module (lambda)")
    route_width: int = Field(default=256, ge=1, description="width of anchors and of the projection to them")
    unit: bool = Field(default=True, description="anchors and values of unit length; false: raw inner products")
    temperature: float = Field(default=0.02, gt=0, description="divides the scores of unit anchors and values")
    pool: int = Field(default=1000, ge=2, description="training questions asked of the stream, for the whitening")
    shrink: float = Field(
        default=0.1, gt=0, description="share of the mean variance added to every direction before whitening"
    )
    anchor_weight: float = Field(default=1.0, ge=0, description="weight of the loss that ties a batch to its anchor")
    learning_rate: float | None = Field(
        default=None, gt=0, description="AdamW; none: the published 2e-4 for a model 4096 wide, in inverse proportion"
    )
    steps: int = Field(default=100, ge=1)
    stop_loss: float = Field(default=0.03, ge=0, description="stop when every token is right and below this in all")

    def rate(self, width: int) -> float:
        """Return AdamW's learning rate for a model of a width."""
        return 2e-4 * 4096 / width if self.learning_rate is None else self.learning_rate
