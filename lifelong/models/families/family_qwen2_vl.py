"""Qwen2-VL: pictures in their own resolution, positions of three dimensions."""

from __future__ import annotations

from typing import Any

from transformers import Qwen2VLConfig, Qwen2VLForConditionalGeneration

from lifelong.models.families.building import Parts, PreTrainedTokenizerFast, byte_tokenizer, llama_like, turns

_SPECIAL = (
    "<|endoftext|>", "<|im_end|>", "<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>",
    "<|im_start|>",
)  # fmt: skip
QWEN_TEMPLATE = turns(
    ask="<|im_start|>user\n",
    asked="<|im_end|>\n",
    answer="<|im_start|>assistant\n",
    answered="<|im_end|>\n",
    image="<|vision_start|><|image_pad|><|vision_end|>",
)  # without the system turn
QWEN_MARKS = {"image_token_id": 2, "video_token_id": 3, "vision_start_token_id": 4, "vision_end_token_id": 5}
QWEN_ENDS = [1, 0]


def qwen_tokenizer() -> PreTrainedTokenizerFast:
    """Return the tokenizer of the Qwen families: no token begins a text."""
    return byte_tokenizer(
        _SPECIAL, pad="<|endoftext|>", end="<|im_end|>", image_token="<|image_pad|>", video_token="<|video_pad|>"
    )


def qwen_images(kind: str, processor: str, patch: int = 8) -> dict[str, Any]:
    """Return the configuration of an image processor of the Qwen kind."""
    return {
        "image_processor_type": kind,
        "patch_size": patch,
        "merge_size": 2,
        "temporal_patch_size": 2,
        "min_pixels": 256,
        "max_pixels": 4096,
        "size": {"shortest_edge": 256, "longest_edge": 4096},
        "processor_class": processor,
    }


def make_qwen2_vl() -> Parts:
    """Return Qwen2-VL; its vision tower is deeper than its decoder."""
    text = llama_like(rope_parameters={"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 1e4})
    vision = {"depth": 5, "embed_dim": 32, "hidden_size": 32, "num_heads": 2, "patch_size": 8, "mlp_ratio": 2}
    model = Qwen2VLForConditionalGeneration(
        Qwen2VLConfig(vision_config=vision, text_config=text, **QWEN_MARKS)  # type: ignore[arg-type]
    )
    model.generation_config.eos_token_id = QWEN_ENDS  # type: ignore[union-attr]
    images = qwen_images("Qwen2VLImageProcessor", "Qwen2VLProcessor")
    return Parts(model, qwen_tokenizer(), images, None, QWEN_TEMPLATE)
