"""Qwen3-VL: what the vision tower saw at several depths is added to the first layers of the decoder."""

from __future__ import annotations

from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

from lifelong.models.families.building import Parts, llama_like
from lifelong.models.families.family_qwen2_vl import QWEN_ENDS, QWEN_MARKS, QWEN_TEMPLATE, qwen_images, qwen_tokenizer


def make_qwen3_vl() -> Parts:
    """Return Qwen3-VL with features added after decoder layers 0, 1 and 2."""
    text = llama_like(
        rope_parameters={
            "rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 1e4, "mrope_interleaved": True,
        }
    )  # fmt: skip
    vision = {
        "depth": 4,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_heads": 2,
        "patch_size": 8,
        "out_hidden_size": 32,
        "num_position_embeddings": 64,
        "deepstack_visual_indexes": [0, 1, 2],
    }
    model = Qwen3VLForConditionalGeneration(
        Qwen3VLConfig(vision_config=vision, text_config=text, **QWEN_MARKS)  # type: ignore[arg-type]
    )
    model.generation_config.eos_token_id = QWEN_ENDS  # type: ignore[union-attr]
    images = qwen_images("Qwen2VLImageProcessor", "Qwen3VLProcessor")
    return Parts(model, qwen_tokenizer(), images, None, QWEN_TEMPLATE)
