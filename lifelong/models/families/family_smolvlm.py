"""SmolVLM: Idefics3 made small, with a processor that knows videos too."""

from __future__ import annotations

from transformers import LlamaConfig, SmolVLMConfig, SmolVLMForConditionalGeneration

from lifelong.models.families.building import Parts, llama_like
from lifelong.models.families.family_idefics3 import IDEFICS3_VISION, idefics3_parts


def make_smolvlm() -> Parts:
    """Return SmolVLM."""
    config = SmolVLMConfig(
        vision_config=IDEFICS3_VISION,  # type: ignore[arg-type]
        text_config=LlamaConfig(**llama_like()),
        image_token_id=3,
        scale_factor=2,
    )
    return idefics3_parts(SmolVLMForConditionalGeneration(config), "SmolVLM")
