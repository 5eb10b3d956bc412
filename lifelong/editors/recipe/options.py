"""The options of RECIPE."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from lifelong.editing.contract import EncoderOptions, IndexOptions


class RecipeOptions(EncoderOptions, IndexOptions):
    """Settings of RECIPE; widths and learning rate are for a small frozen encoder, the rest is as published."""

    keys: Literal["text", "both"] = Field(
        default="text", description="what the router reads: text only, as published, or the question with its picture"
    )
    depth: float = Field(
        default=1 / 3, ge=0, le=1, description="depth of the hidden states that are read with encoder=base"
    )
    width: int = Field(default=512, ge=1, description="width of representations (paper 4096)")
    prompt_tokens: int = Field(default=16, ge=1, description="continuous prompt tokens of an edit (paper 3)")
    sentinel_tokens: int = Field(default=10, ge=1, description="learned tokens of the knowledge sentinel")
    answer_tokens: int = Field(
        default=6, ge=0, description="answer tokens whose embeddings the prompt writer sees; 0: none, as published"
    )
    lead: float | None = Field(
        default=None, description="by how much an edit's score must beat the sentinel's; none: calibrated by fit"
    )
    calibration: float = Field(default=0.1, ge=0, lt=1, description="share of fit's subjects that only calibrate")
    steps: int = Field(default=400, ge=1, description="optimiser steps of the prompt writer's fit")
    routing_steps: int = Field(default=3000, ge=1, description="optimiser steps of the retrieval's fit")
    batch: int = Field(default=16, ge=1, description="edits a step whose prompts are trained; three questions each")
    routing_batch: int = Field(default=24, ge=2, description="edits a step whose retrieval is trained")
    routing_rate: float = Field(default=1e-3, gt=0, description="AdamW, for the retrieval (paper: Adam 1e-5)")
    learning_rate: float = Field(
        default=1e-2,
        gt=0,
        description="AdamW, for what all prompts share; the writer's weights at a part of it",
    )
    half: bool = Field(default=True, description="fit multiplies in bfloat16 (edits stay in float32)")
    pool: int = Field(default=3000, ge=2, description="training items asked of the stream")
