"""WISE's settings (arXiv 2405.14768). Computes nothing."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from lifelong.editing.contract import EditorOptions
from lifelong.editors.wise.memory import DistanceActivation


class WiseOptions(EditorOptions):
    """Settings of WISE; defaults are those published for LLaMA-2-7B (layer 27 of 32)."""

    layer: float = Field(default=0.84, ge=0, le=1, description="depth of the edited layer as a fraction")
    module: str = Field(default="mlp.down_proj", description="linear module inside that layer that has side memories")
    mode: Literal["merge", "retrieve"] = Field(
        default="merge", description="frozen shards become one memory, or one per `merge` edits, chosen by activation"
    )
    shard: int = Field(default=500, ge=1, description="edits after which the live memory is frozen")
    merge: int = Field(default=1000, ge=1, description="edits after which frozen shards are merged")
    density: float = Field(default=0.53, gt=0, le=1, description="share of a change that TIES keeps")
    subspace: float = Field(default=0.2, gt=0, le=1, description="share of the weight's elements a shard may change")
    norm: float = Field(default=1.0, gt=0, description="largest change of one element")
    steps: int = Field(default=70, ge=1)
    learning_rate: float = Field(default=1.0, gt=0, description="plain gradient descent")
    stop_loss: float = Field(default=0.1, ge=0, description="stop when every token is right and below this in all")
    alpha: float = Field(default=5.0, ge=0, description="most that an unrelated query should move")
    beta: float = Field(default=20.0, ge=0, description="least that an edit should move")
    gamma: float = Field(default=10.0, ge=0, description="least gap between both")
    unit: float = Field(
        default=20.0, gt=0, description="norm that the module's unedited output has where alpha to gamma are measured"
    )
    ratio: float = Field(
        default=0.88, gt=0, description="share of the least movement of its own edits from which a memory serves"
    )
    activation: DistanceActivation = Field(default="none", description="applied to outputs before they are compared")
    tokens: int = Field(default=4, ge=1, description="last prompt tokens whose movement counts")
    outside: int = Field(default=256, ge=0, description="unrelated questions kept of the pool (0: none)")

    @model_validator(mode="after")
    def _whole_shards(self) -> WiseOptions:
        if self.merge % self.shard:
            raise ValueError(f"merge={self.merge} must be a multiple of shard={self.shard}: whole shards are merged")
        return self
