"""The options of LiveEdit."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from lifelong.editing.contract import IndexOptions, StoragePlace
from lifelong.editing.questions import ReeditOptions

ABLATED = ("soft_relative", "soft_absolute", "soft_routing", "prompt_guided", "experts")
UNLEARNT = ("text_only", "faint", "margin", "recall", "supersede", "index", "payloads")
"""What only editing and routing read."""


class LiveEditOptions(ReeditOptions, IndexOptions):
    """Settings of LiveEdit; widths are scaled from the paper's 4096-wide decoder, the rest is as published."""

    depth: float = Field(0.6875, gt=0, lt=1, description="share of decoder layers below the residual (22 of 32)")
    width: int = Field(256, ge=8, description="module width d_m (paper 1024 for a decoder 4096 wide)")
    features: int = Field(4, ge=1, description="feature vectors k of each branch")
    rank: int = Field(8, ge=1, description="rank of an expert (published 4; answers here have up to 15 tokens)")
    heads: int = Field(8, ge=1)
    scale: float = Field(5.0, gt=0, description="experts are divided by scale * sqrt(rank)")
    sentinel_tokens: int = Field(16, ge=1, description="tokens of the sentinel (paper: those of an image)")
    generator: Literal["copying", "paper"] = "copying"
    text_only: Literal["extended", "paper"] = "extended"
    soft_relative: bool = Field(True, description="train soft routing by the relative loss (ablation: false)")
    soft_absolute: bool = Field(True, description="train soft routing by the absolute loss (ablation: false)")
    soft_routing: bool = Field(True, description="weigh the experts kept; false: their plain mean (ablation)")
    faint: float = Field(
        0.01, ge=0, lt=1, description="experts of a smaller soft weight are left out (0: none, as published)"
    )
    margin: float | None = Field(
        None,
        description="added to the sentinel's score in the hard filter; 0: as published, none: what `recall` asks for",
    )
    prompt_guided: bool = Field(True, description="the prompt guides the hard filter's look at the picture")
    experts: bool = Field(True, description="fit trains experts as well; false: routing alone (for lifelong route)")
    steps: int = Field(2400, ge=1, description="optimiser steps of fit")
    batch: int = Field(24, ge=2, description="edits a step whose experts are trained")
    routing_batch: int = Field(128, ge=2, description="edits a step whose features are trained")
    calibration: float = Field(0.1, ge=0, lt=1, description="share of fit's subjects that only set the hard filter")
    recall: float = Field(
        0.99, gt=0, lt=1, description="of their rephrases that the margin of the filter shall let through"
    )
    mixed: float = Field(0.5, ge=0, le=1, description="share of fit's steps whose pictures are mixed in pairs")
    learning_rate: float = Field(1e-3, gt=0, description="AdamW; matrices of the copying generator use Muon")
    half: bool = Field(True, description="fit multiplies in bfloat16 (edits stay in float32)")
    pool: int = Field(3000, ge=2, description="training items asked of the stream")
    payloads: StoragePlace = Field("", description="where experts are kept: RAM, else a device, disk or disk:FOLDER")
