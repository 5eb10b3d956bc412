"""Random LLaVAs of the shapes of published models, made where they compute: for measurements of time and memory.

They know nothing: their answers are noise, but every pass costs what it costs on the model whose shape it is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any

import torch
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

from lifelong.models.tiny import noise_image, tiny_processor
from lifelong.models.vlm import VLM


@dataclass(frozen=True)
class Shape:
    """A decoder and a vision tower: widths, layers, heads, inner widths, vocabulary, pixels of a picture's side."""

    width: int
    layers: int
    heads: int
    inner: int
    vocabulary: int
    vision_width: int
    vision_layers: int
    vision_heads: int
    vision_inner: int
    side: int
    patch: int
    context: int = 4096


_CLIP_L = (1024, 24, 16, 4096, 336, 14)  # the tower of LLaVA-1.5
SHAPES: Mapping[str, Shape] = MappingProxyType({
    "llava-7b": Shape(4096, 32, 32, 11008, 32064, *_CLIP_L),
    "llava-0.5b": Shape(1024, 12, 16, 2816, 32064, *_CLIP_L),
    "small": Shape(32, 4, 2, 64, 300, 32, 2, 2, 64, 32, 16, 512),
})  # fmt: skip
"""By name: LLaVA-1.5-7B, one with the same tower and a small decoder, and one for tests."""


def shaped_vlm(
    name: str, seed: int = 0, *, dtype: str = "float32", device: str = "cpu", empty: bool = False, **given: Any
) -> VLM:
    """Return a random model of a shape behind the usual door; it draws noise for every picture.

    Its weights are made on the device, of which none is made with `empty`. `given` are further arguments of `VLM`.
    """
    from lifelong.models.weights import DTYPES

    shape = SHAPES[name]
    processor = tiny_processor(shape.side, shape.patch)
    with torch.random.fork_rng(), torch.device("meta" if empty else device):
        torch.manual_seed(seed)
        model: Any = LlavaForConditionalGeneration._from_config(_config(shape), dtype=DTYPES[dtype])
    model.generation_config.eos_token_id, model.generation_config.pad_token_id = 1, 0
    words = f"{name} {seed} {dtype} {sorted(asdict(shape).items())}"
    digest = hashlib.sha256(words.encode()).hexdigest()[:16]
    with nullcontext() if empty else torch.device("cpu"):
        return VLM(
            model, processor, name=f"shaped-{name}", digest=digest, open_image=noise_image,
            home=device if empty else "", **given,
        )  # fmt: skip


def _config(shape: Shape) -> LlavaConfig:
    vision = CLIPVisionConfig(
        hidden_size=shape.vision_width,
        intermediate_size=shape.vision_inner,
        num_hidden_layers=shape.vision_layers,
        num_attention_heads=shape.vision_heads,
        image_size=shape.side,
        patch_size=shape.patch,
    )
    text = LlamaConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.width,
        intermediate_size=shape.inner,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.heads,
        max_position_embeddings=shape.context,
        pad_token_id=0,
        bos_token_id=None,
        eos_token_id=1,
    )
    seen = (shape.side // shape.patch) ** 2
    return LlavaConfig(
        vision_config=vision, text_config=text, image_token_index=2, vision_feature_layer=-2, image_seq_length=seen
    )
