"""A tiny random multimodal model of real Hugging Face classes, made in memory, for fast tests.

It knows nothing: its answers are noise, but every code path is that of a large model.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import torch
from PIL import Image
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from lifelong.models.vlm import VLM
from streams.types import ImageRef

SIZE, PATCH, WIDTH, LAYERS = 32, 16, 32, 4
SPECIAL = ["<pad>", "</s>", "<image>", "<answer>"]
TEMPLATE = (
    "{% for m in messages %}{% for p in m['content'] %}"
    "{{ '<image>' if p['type'] == 'image' else p['text'] }}"
    "{% endfor %}{% endfor %}{% if add_generation_prompt %}{{ '<answer>' }}{% endif %}"
)


def tiny_processor(side: int = SIZE, patch: int = PATCH) -> LlavaProcessor:
    """Return a byte-level processor of 260 tokens for images of so many pixels a side: 32 x 32 have 4 tokens."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {token: i for i, token in enumerate([*SPECIAL, *alphabet])}
    core = Tokenizer(models.BPE(vocab=vocab, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token="<pad>",
        eos_token="</s>",
        extra_special_tokens={"image_token": "<image>", "answer_token": "<answer>"},
        clean_up_tokenization_spaces=False,
        chat_template=TEMPLATE,
    )
    size = {"height": side, "width": side}
    images = CLIPImageProcessorPil(size=size, crop_size=size, do_center_crop=False)
    return LlavaProcessor(
        image_processor=images,
        tokenizer=tokenizer,
        patch_size=patch,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=TEMPLATE,
        image_token="<image>",
    )


def tiny_model(processor: LlavaProcessor, seed: int = 0) -> LlavaForConditionalGeneration:
    """Return a LLaVA of 4 decoder layers of width 32 with random weights from `seed`."""
    tokenizer = processor.tokenizer  # type: ignore[attr-defined]
    vision = CLIPVisionConfig(
        hidden_size=WIDTH,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=SIZE,
        patch_size=PATCH,
    )
    text = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=64,
        num_hidden_layers=LAYERS,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=1024,  # a letter is a token here: published answers have up to 558
        pad_token_id=0,
        bos_token_id=None,
        eos_token_id=1,
        # Large enough that the answers of different prompts differ.
        initializer_range=0.3,
    )
    config = LlavaConfig(
        vision_config=vision, text_config=text, image_token_index=2, vision_feature_layer=-1, image_seq_length=4
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = LlavaForConditionalGeneration(config)
    model.generation_config.eos_token_id = 1  # type: ignore[union-attr]
    model.generation_config.pad_token_id = 0  # type: ignore[union-attr]
    return model


def noise_image(ref: ImageRef) -> Image.Image:
    """Return a 32 x 32 picture of noise that depends on the reference's digest only."""
    seed = int.from_bytes(hashlib.sha256(ref.digest.encode()).digest()[:8], "big")
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8))


def tiny_vlm(
    seed: int = 0,
    *,
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
    cache_bytes: int = 1 << 26,
    memory_bytes: int = 0,
) -> VLM:
    """Return the tiny model behind the usual door; it draws noise for every image reference.

    In any type its weights are those drawn in float32, rounded.
    """
    processor = tiny_processor()
    model: Any = tiny_model(processor, seed).to(device, dtype)  # type: ignore[call-overload]
    return VLM(
        model,
        processor,
        name=f"tiny-{seed}",
        open_image=noise_image,
        cache_bytes=cache_bytes,
        memory_bytes=memory_bytes,
    )
