"""Qwen2.5-VL: Qwen2-VL with windows of attention in the vision tower."""

from __future__ import annotations

from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from lifelong.models.families.building import Parts, llama_like
from lifelong.models.families.family_qwen2_vl import QWEN_ENDS, QWEN_MARKS, QWEN_TEMPLATE, qwen_images, qwen_tokenizer


def make_qwen2_5_vl() -> Parts:
    """Return Qwen2.5-VL."""
    text = llama_like(rope_parameters={"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 1e4})
    vision = {
        "depth": 3,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_heads": 2,
        "patch_size": 8,
        "window_size": 32,
        "fullatt_block_indexes": [1],
        "out_hidden_size": 32,
    }
    model = Qwen2_5_VLForConditionalGeneration(
        Qwen2_5_VLConfig(vision_config=vision, text_config=text, **QWEN_MARKS)  # type: ignore[arg-type]
    )
    model.generation_config.eos_token_id = QWEN_ENDS  # type: ignore[union-attr]
    images = qwen_images("Qwen2VLImageProcessor", "Qwen2_5_VLProcessor")
    return Parts(model, qwen_tokenizer(), images, None, QWEN_TEMPLATE)
