"""LLaVA-NeXT: a picture is cut into tiles by its shape, so that its number of tokens depends on it."""

from __future__ import annotations

from transformers import CLIPVisionConfig, LlamaConfig, LlavaNextConfig, LlavaNextForConditionalGeneration

from lifelong.models.families.building import Parts, byte_tokenizer, llama_like, turns

_PINPOINTS = [[32, 64], [64, 32], [64, 64]]
_SPECIAL = (
    "<unk>",
    "<|begin_of_text|>",
    "<|eot_id|>",
    "<pad>",
    "<image>",
    "<|start_header_id|>",
    "<|end_header_id|>",
)
_TEMPLATE = turns(
    start="<|begin_of_text|>",
    ask="<|start_header_id|>user<|end_header_id|>\n\n",
    asked="<|eot_id|>",
    answer="<|start_header_id|>assistant<|end_header_id|>\n\n",
    answered="<|eot_id|>",
    image="<image>\n",
    images_first=True,
)  # that of the variant on Llama-3, without its system turn


def make_llava_next() -> Parts:
    """Return LLaVA-NeXT."""
    vision = CLIPVisionConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=3,
        num_attention_heads=2,
        image_size=32,
        patch_size=16,
    )
    model = LlavaNextForConditionalGeneration(
        LlavaNextConfig(
            vision_config=vision,
            text_config=LlamaConfig(**llama_like()),
            image_token_index=4,
            image_grid_pinpoints=_PINPOINTS,
        )
    )
    tokenizer = byte_tokenizer(
        _SPECIAL, pad="<pad>", end="<|eot_id|>", start="<|begin_of_text|>", starts=True, image_token="<image>"
    )
    images = {
        "image_processor_type": "LlavaNextImageProcessor",
        "size": {"shortest_edge": 32},
        "crop_size": {"height": 32, "width": 32},
        "image_grid_pinpoints": _PINPOINTS,
        "processor_class": "LlavaNextProcessor",
    }
    processor = {
        "processor_class": "LlavaNextProcessor",
        "patch_size": 16,
        "vision_feature_select_strategy": "default",
        "num_additional_image_tokens": 1,
        "image_token": "<image>",
    }
    return Parts(model, tokenizer, images, processor, _TEMPLATE)
