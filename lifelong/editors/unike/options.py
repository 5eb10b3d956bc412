"""UniKE's settings, its ablations among them (arXiv 2409.19872). Computes nothing."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from lifelong.editing.facts.statement import StatementOptions
from lifelong.editing.patches.neurons import Activation
from lifelong.editing.patches.training import Teaching
from lifelong.editing.questions import ReeditOptions

FIT = {"layers", "module", "memory", "silent", "inner", "fit_steps", "fit_batch", "fit_rate", "temperature"}


class UnikeOptions(ReeditOptions, StatementOptions):
    """Settings of UniKE; as published, but for `memory` (published 15,000) and `steps`, scaled to a small model."""

    layers: int = Field(default=4, ge=1, description="so many last decoder layers (never the first one)")
    module: str = Field(default="mlp", description="feed-forward module inside a layer")
    attention: str = Field(default="self_attn", description="attention module inside a layer")
    intrinsic: bool = Field(default=True, description="train neurons for every edit; false: external only")
    external: Literal["latent", "in-context", "none"] = Field(
        default="latent", description="how the memory acts: on states, as demonstrations in the prompt, or not"
    )
    pairs: int = Field(default=10, ge=1, description="new neurons of an edit in each layer")
    states: int = Field(default=40, ge=1, description="states of the memory that a query reads in each layer")
    alpha: float | None = Field(
        default=None, ge=0, le=1, description="share of what is read; none: dynamic, from the semantic space"
    )
    zeta: Literal["none", "random", "semantic", "truthful"] = Field(
        default="truthful", description="direction added to new values"
    )
    beta: float = Field(default=0.1, ge=0, description="weight of that direction")
    remember: bool = Field(default=True, description="whether edits join the memory")
    demonstrations: int = Field(default=4, ge=1, description="facts stated in the prompt with external=in-context")
    activation: Activation = Field(default="relu", description="of the new neurons")
    learning_rate: float = Field(default=1e-2, gt=0, description="Adam")
    steps: int = Field(default=100, ge=1)
    check_every: int = Field(default=10, ge=1, description="steps between two looks at whether it may stop")
    stop_loss: float = Field(default=0.1, ge=0, description="stop when every token is right and below this (nats)")
    stop_leak: float = Field(
        default=0.001, ge=0, le=1, description="and when new neurons fire on at most this share of stored states"
    )
    scale: float = Field(default=10.0, gt=0, description="initial amplifier of the random values; it is trained")
    activation_weight: float = Field(default=1.0, ge=0)
    memory_weight: float = Field(default=5.0, ge=0, description="weight of silence on stored states")
    silent: int = Field(default=4096, ge=0, description="stored states of unrelated questions in each layer")
    memory: int = Field(default=4000, ge=2, description="triplets that fit makes")
    inner: int = Field(default=512, ge=2, description="inner width of the encoders")
    fit_steps: int = Field(default=400, ge=1, description="contrastive steps in each layer")
    fit_batch: int = Field(default=256, ge=2)
    fit_rate: float = Field(default=1e-4, gt=0, description="Adam, as published")
    temperature: float = Field(default=0.1, gt=0)

    @model_validator(mode="after")
    def _does_something(self) -> UnikeOptions:
        if not self.intrinsic and (self.external == "none" or not self.remember):
            raise ValueError("intrinsic=false needs external=latent or in-context, and remember=true")
        return self

    def teaching(self) -> Teaching:
        """Return how new neurons are trained."""
        return Teaching(
            self.learning_rate,
            self.steps,
            self.check_every,
            self.stop_loss,
            self.stop_leak,
            self.activation_weight,
            self.memory_weight,
            self.scale,
            self.beta,
        )
