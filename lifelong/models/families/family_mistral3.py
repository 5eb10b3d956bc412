"""Mistral-3: Pixtral's tower, four neighbours of which become one token."""

from __future__ import annotations

from transformers import Mistral3Config, Mistral3ForConditionalGeneration, MistralConfig

from lifelong.models.families.building import Parts, byte_tokenizer, llama_like
from lifelong.models.families.family_pixtral import (
    PIXTRAL_IMAGES,
    PIXTRAL_PROCESSOR,
    PIXTRAL_SPECIAL,
    PIXTRAL_TEMPLATE,
    pixtral_tower,
)


def make_mistral3() -> Parts:
    """Return Mistral-3."""
    model = Mistral3ForConditionalGeneration(
        Mistral3Config(
            vision_config=pixtral_tower(),
            text_config=MistralConfig(**llama_like(), sliding_window=None),
            image_token_index=4,
            spatial_merge_size=2,
            tie_word_embeddings=False,
        )
    )
    model.generation_config.eos_token_id = 2  # type: ignore[union-attr]
    tokenizer = byte_tokenizer(
        PIXTRAL_SPECIAL, pad="<pad>", end="</s>", start="<s>", starts=True, image_token="[IMG]"
    )
    return Parts(model, tokenizer, PIXTRAL_IMAGES, PIXTRAL_PROCESSOR | {"spatial_merge_size": 2}, PIXTRAL_TEMPLATE)
