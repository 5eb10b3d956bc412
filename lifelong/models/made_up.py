"""A LLaVA of a published model's shape with random numbers, made in memory, to measure how long things take.

It knows nothing, as the tiny one does; every product has the size that it has in the real model.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration, LlavaProcessor
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from lifelong.models.tiny import TEMPLATE, tiny_processor
from lifelong.models.vlm import VLM
from streams.types import ImageRef


@dataclass(frozen=True)
class LlavaShape:
    """Sizes of a LLaVA: those of CLIP ViT-L/14 at 336 pixels and of a decoder of half a billion weights in all."""

    tower_width: int = 1024
    tower_layers: int = 24
    tower_heads: int = 16
    pixels: int = 336
    patch: int = 14
    width: int = 1024
    layers: int = 12
    heads: int = 16
    inner: int = 2816
    vocabulary: int = 32_064

    @property
    def image_tokens(self) -> int:
        """Tokens of one picture."""
        return (self.pixels // self.patch) ** 2


def made_up_llava(shape: LlavaShape, seed: int = 0) -> VLM:
    """Return a model of a shape behind the usual door; it draws noise for every picture and reads bytes as tokens."""
    tokenizer = tiny_processor().tokenizer  # type: ignore[attr-defined]
    size = {"height": shape.pixels, "width": shape.pixels}
    processor = LlavaProcessor(
        image_processor=CLIPImageProcessorPil(size={"shortest_edge": shape.pixels}, crop_size=size),
        tokenizer=tokenizer,
        patch_size=shape.patch,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=TEMPLATE,
        image_token="<image>",
    )
    vision = CLIPVisionConfig(
        hidden_size=shape.tower_width, intermediate_size=4 * shape.tower_width, image_size=shape.pixels,
        num_hidden_layers=shape.tower_layers, num_attention_heads=shape.tower_heads, patch_size=shape.patch,
    )  # fmt: skip
    text = LlamaConfig(
        vocab_size=shape.vocabulary, hidden_size=shape.width, intermediate_size=shape.inner,
        num_hidden_layers=shape.layers, num_attention_heads=shape.heads, num_key_value_heads=shape.heads,
        pad_token_id=0, bos_token_id=None, eos_token_id=1,
    )  # fmt: skip
    config = LlavaConfig(
        vision_config=vision, text_config=text, image_token_index=2, image_seq_length=shape.image_tokens
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = LlavaForConditionalGeneration(config)
    model.generation_config.eos_token_id = 1  # type: ignore[union-attr]

    def noise(ref: ImageRef) -> Image.Image:
        drawn = np.random.default_rng(list(hashlib.sha256(ref.digest.encode()).digest()[:8]))
        return Image.fromarray(drawn.integers(0, 256, (shape.pixels, shape.pixels, 3), dtype=np.uint8))

    return VLM(model, processor, name=f"made-up-{seed}", digest=f"made-up {shape} {seed}", open_image=noise)
