"""T-Patcher's settings, each with its published value or what it is scaled to. Knows nothing else."""

from __future__ import annotations

from pydantic import Field

from lifelong.editing.patches.neurons import Activation
from lifelong.editing.questions import ReeditOptions


class TPatcherOptions(ReeditOptions):
    """Settings of T-Patcher; as published, but for `steps` (published 2,000) and `memory` (published 40,000), which
    are scaled to a model 256 wide on two cores."""

    layer: float = Field(
        default=1.0, ge=0, le=1, description="depth of the patched layer as a fraction; 1 is the last layer"
    )
    module: str = Field(default="mlp", description="feed-forward module inside that layer")
    neurons: int = Field(default=5, ge=1, description="most neurons of one edit, one per wrongly predicted token")
    activation: Activation = Field(default="relu", description="of the new neurons")
    learning_rate: float = Field(default=1e-2, gt=0, description="Adam")
    steps: int = Field(default=200, ge=1)
    check_every: int = Field(default=25, ge=1, description="steps between two looks at whether it may stop")
    stop_loss: float = Field(default=0.1, ge=0, description="stop when every token is right and below this (nats)")
    stop_leak: float = Field(
        default=0.001, ge=0, le=1, description="and when a new neuron fires on at most this share of stored states"
    )
    scale: float = Field(default=10.0, gt=0, description="initial amplifier of the random values; it is trained")
    activation_weight: float = Field(default=1.0, ge=0, description="weight of firing on the edit")
    memory_weight: float = Field(default=5.0, ge=0, description="weight of silence on stored states")
    memory: int = Field(default=4096, ge=0, description="stored states of unrelated questions, collected by fit")
