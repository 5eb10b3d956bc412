"""Pixtral: a LLaVA whose tower takes pictures in their own resolution and ends each row with a token."""

from __future__ import annotations

from transformers import LlavaConfig, LlavaForConditionalGeneration, MistralConfig, PixtralVisionConfig

from lifelong.models.families.building import Parts, byte_tokenizer, llama_like, turns

PIXTRAL_SPECIAL = ("<unk>", "<s>", "</s>", "<pad>", "[IMG]", "[IMG_BREAK]", "[IMG_END]", "[INST]", "[/INST]")
PIXTRAL_TEMPLATE = turns(start="<s>", ask="[INST]", asked="[/INST]", answer="", answered="</s>", image="[IMG]")
PIXTRAL_IMAGES = {
    "image_processor_type": "PixtralImageProcessor",
    "size": {"longest_edge": 48},
    "patch_size": {"height": 8, "width": 8},
    "processor_class": "PixtralProcessor",
}
PIXTRAL_PROCESSOR = {
    "processor_class": "PixtralProcessor",
    "patch_size": 8,
    "image_token": "[IMG]",
    "image_break_token": "[IMG_BREAK]",
    "image_end_token": "[IMG_END]",
}


def pixtral_tower() -> PixtralVisionConfig:
    """Return the configuration of the tower."""
    return PixtralVisionConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=48,
        patch_size=8,
    )


def make_pixtral() -> Parts:
    """Return Pixtral."""
    model = LlavaForConditionalGeneration(
        LlavaConfig(
            vision_config=pixtral_tower(),
            text_config=MistralConfig(**llama_like(), sliding_window=None),
            image_token_index=4,
            vision_feature_layer=-1,
            vision_feature_select_strategy="full",
        )
    )
    model.generation_config.eos_token_id = 2  # type: ignore[union-attr]
    tokenizer = byte_tokenizer(
        PIXTRAL_SPECIAL, pad="<pad>", end="</s>", start="<s>", starts=True, image_token="[IMG]"
    )
    return Parts(model, tokenizer, PIXTRAL_IMAGES, PIXTRAL_PROCESSOR, PIXTRAL_TEMPLATE)
