"""LoRA-FT's settings, and peft's adapter of one linear module.

peft is an optional dependency and is imported when the first adapter is made. Knows no edits and no models.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field
from torch import Tensor, nn

from lifelong.editing.contract import EditorOptions
from lifelong.editing.weights.regions import ABOUT

NAME = "running"


class LoraOptions(EditorOptions):
    """Settings of LoRA-FT; defaults are those of the EasyEdit survey's multimodal port."""

    first_layer: float = Field(
        default=0.0, ge=0, le=1, description="depth of the lowest adapted layer; all above too"
    )
    module: str = Field(default="language", description=f"what is adapted: {ABOUT}; language is `targets`")
    targets: tuple[str, ...] = Field(
        default=("self_attn.q_proj", "self_attn.v_proj"),
        min_length=1,
        description="parts of a layer for module=language; MemEIC's baseline: mlp.down_proj and mlp.up_proj",
    )
    rank: int = Field(default=8, ge=1)
    alpha: float = Field(default=32, gt=0, description="the adapter's output is scaled by alpha / rank")
    dropout: float = Field(default=0.1, ge=0, lt=1, description="of the adapter's input while it is tuned")
    optimizer: Literal["sgd", "adamw"] = "sgd"
    learning_rate: float = Field(default=0.1, gt=0, description="MemEIC's baseline: AdamW at 1e-4, 10 steps")
    decay: float = Field(default=0.9, gt=0, le=1, description="the learning rate is multiplied by this at each step")
    steps: int = Field(default=5, ge=1)
    stop_loss: float = Field(default=0.0, ge=0, description="stop below this loss (nats per answer token); 0: never")


def adapter(module: nn.Module, options: LoraOptions) -> Any:
    """Return peft's LoRA layer around a linear module, which is not put into the model and changes nothing in it."""
    try:
        from peft import LoraConfig
        from peft.tuners.lora import Linear
    except ImportError as error:
        raise ValueError("editor=lora works through the peft library: pip install peft") from error
    config = LoraConfig(r=options.rank, lora_alpha=options.alpha, lora_dropout=options.dropout)  # type: ignore[arg-type]
    layer = Linear(module, NAME, config, r=options.rank, lora_alpha=options.alpha)  # type: ignore[arg-type]
    for side in (layer.lora_A, layer.lora_B):
        side.float()  # what an optimiser steps; peft gives it the type of the weight beside it
    return layer.eval()


def adapter_hook(layer: Any) -> Any:
    """Return a hook that adds what an adapter says to its module's output."""
    down, up = layer.lora_A[NAME], layer.lora_B[NAME]

    def add(module: Any, args: Any, output: Any, layout: Any) -> Tensor:
        read = down(layer.lora_dropout[NAME](args[0].to(down.weight.dtype)))
        return output + (up(read) * layer.scaling[NAME]).to(output.dtype)

    return add
