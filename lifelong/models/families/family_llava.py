"""LLaVA-1.5: CLIP's penultimate layer through two linear layers into a Llama. Its published template, whole."""

from __future__ import annotations

from typing import Any

from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

from lifelong.models.families.building import Parts, llama_like, piece_tokenizer, turns

_SPECIAL = ("<unk>", "<s>", "</s>", "<pad>", "<image>")
_TEMPLATE = turns(
    ask="USER: ", asked=" ", answer="ASSISTANT: ", answered=" ", image="<image>\n", answer_begins="ASSISTANT:",
    images_first=True,
)  # fmt: skip
_IMAGES = {
    "image_processor_type": "CLIPImageProcessor",
    "size": {"shortest_edge": 32},
    "crop_size": {"height": 32, "width": 32},
    "processor_class": "LlavaProcessor",
}
_PROCESSOR = {
    "processor_class": "LlavaProcessor",
    "patch_size": 16,
    "vision_feature_select_strategy": "default",
    "num_additional_image_tokens": 1,
    "image_token": "<image>",
}


def llava_parts(text: Any = None, *, ends: list[int] | None = None, **config: Any) -> Parts:
    """Return a LLaVA with another decoder's configuration, other end tokens, or other entries in its own."""
    vision = CLIPVisionConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=3,
        num_attention_heads=2,
        image_size=32,
        patch_size=16,
    )
    text = LlamaConfig(**llama_like()) if text is None else text
    model = LlavaForConditionalGeneration(
        LlavaConfig(
            vision_config=vision, text_config=text, image_token_index=4, image_seq_length=4, **config
        )  # the feature layer is the published one, the last but one
    )
    if ends is not None:
        model.generation_config.eos_token_id = ends  # type: ignore[union-attr]
    tokenizer = piece_tokenizer(_SPECIAL, pad="<pad>", end="</s>", start="<s>", image_token="<image>")
    return Parts(model, tokenizer, _IMAGES, _PROCESSOR, _TEMPLATE)


def make_llava() -> Parts:
    """Return LLaVA-1.5."""
    return llava_parts()
