"""LLaVA-OneVision: SigLIP, tiles by the picture's shape, and a Qwen2 decoder."""

from __future__ import annotations

from transformers import (
    LlavaOnevisionConfig,
    LlavaOnevisionForConditionalGeneration,
    Qwen2Config,
    SiglipVisionConfig,
)

from lifelong.models.families.building import Parts, byte_tokenizer, llama_like, turns

_PINPOINTS = [[32, 32], [32, 64], [64, 32], [64, 64]]
_SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<image>", "<video>")
_CHATML = {"ask": "<|im_start|>user\n", "asked": "<|im_end|>\n", "answer": "<|im_start|>assistant\n"}
_TEMPLATE = turns(
    **_CHATML, answered="<|im_end|>\n", image="<image>", answer_begins="<|im_start|>assistant\n", images_first=True
)


def make_llava_onevision() -> Parts:
    """Return LLaVA-OneVision."""
    vision = SiglipVisionConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=3,
        num_attention_heads=2,
        image_size=32,
        patch_size=16,
    )
    model = LlavaOnevisionForConditionalGeneration(
        LlavaOnevisionConfig(
            vision_config=vision,
            text_config=Qwen2Config(**llama_like()),
            image_token_index=3,
            video_token_index=4,
            image_grid_pinpoints=_PINPOINTS,
        )
    )
    tokenizer = byte_tokenizer(
        _SPECIAL, pad="<|endoftext|>", end="<|im_end|>", image_token="<image>", video_token="<video>"
    )
    images = {
        "image_processor_type": "LlavaOnevisionImageProcessor",
        "size": {"height": 32, "width": 32},
        "image_grid_pinpoints": _PINPOINTS,
        "processor_class": "LlavaOnevisionProcessor",
    }
    processor = {
        "processor_class": "LlavaOnevisionProcessor",
        "num_image_tokens": 4,
        "vision_feature_select_strategy": "full",
        "image_token": "<image>",
        "video_token": "<video>",
    }
    return Parts(model, tokenizer, images, processor, _TEMPLATE)
