"""The pretrained backbone in Hugging Face form: LLaVA of an EfficientNet-Lite0 tower, a projector and SmolLM2.

Knows the architecture, the chat template, the tokenizer's use and the processor. Does not know where weights lie.
"""

from __future__ import annotations

from typing import Any

from transformers import GenerationConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration, LlavaProcessor
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from lifelong.models.smol.tower import SmolVisionConfig

SMOL_TOKENS = SmolVisionConfig.tokens
# A token that SmolLM2 was given for another use and that no text of ours has: so its vocabulary stays as it is.
SMOL_IMAGE = "<empty_output>"
# SmolLM2's own turns, without the system's turn that it writes by default (23 tokens in every prompt). Pictures come
# first in a turn, whatever the order of its parts.
SMOL_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' }}"
    "{% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}"
    "{% for p in message['content'] %}{% if p['type'] == 'image' %}{{ '<empty_output>' }}{% endif %}{% endfor %}"
    "{% for p in message['content'] %}{% if p['type'] == 'text' %}{{ p['text'] }}{% endif %}{% endfor %}"
    "{% endif %}"
    "{{ '<|im_end|>\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def smol_config(text: LlamaConfig, tokenizer: Any, vision: SmolVisionConfig | None = None) -> LlavaConfig:
    """Return the LLaVA configuration of a language model's configuration; its words stay tied."""
    config = LlavaConfig(
        vision_config=vision or SmolVisionConfig(),
        text_config=text,
        image_token_index=tokenizer.convert_tokens_to_ids(SMOL_IMAGE),
        image_seq_length=SMOL_TOKENS,
        vision_feature_select_strategy="full",
        vision_feature_layer=-1,
        tie_word_embeddings=True,
    )
    config.pad_token_id, config.eos_token_id = tokenizer.pad_token_id, tokenizer.eos_token_id
    return config


def smol_model(config: LlavaConfig) -> LlavaForConditionalGeneration:
    """Return a randomly initialised model of a configuration, float32, on the CPU."""
    model = LlavaForConditionalGeneration(config)
    model.generation_config = GenerationConfig(
        pad_token_id=config.pad_token_id, eos_token_id=config.eos_token_id, do_sample=False
    )
    return model


def smol_processor(tokenizer: Any) -> LlavaProcessor:
    """Return the processor for texts with any number of pictures, each resized to 128 x 128 pixels."""
    side = {"height": SmolVisionConfig.image_size, "width": SmolVisionConfig.image_size}
    images = CLIPImageProcessorPil(
        size=side, crop_size=side, do_center_crop=False, image_mean=[0.5] * 3, image_std=[0.5] * 3
    )
    return LlavaProcessor(
        image_processor=images,
        tokenizer=tokenizer,
        patch_size=SmolVisionConfig.image_size,  # one patch and the other tokens: LLaVA's way of counting them
        num_additional_image_tokens=SMOL_TOKENS - 1,
        vision_feature_select_strategy="full",
        chat_template=SMOL_TEMPLATE,
        image_token=SMOL_IMAGE,
    )
