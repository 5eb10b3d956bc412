"""Llama-3.2-Vision: some decoder layers attend to the pictures instead of the words."""

from __future__ import annotations

from transformers import AddedToken, MllamaConfig, MllamaForConditionalGeneration

from lifelong.models.families.building import VOCABULARY, Parts, byte_tokenizer, llama_like, turns

_SPECIAL = (
    "<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>", "<|finetune_right_pad_id|>", "<|start_header_id|>",
    "<|end_header_id|>",
)  # fmt: skip
_TEMPLATE = turns(
    start="<|begin_of_text|>",
    ask="<|start_header_id|>user<|end_header_id|>\n\n",
    asked="<|eot_id|>",
    answer="<|start_header_id|>assistant<|end_header_id|>\n\n",
    answered="<|eot_id|>",
    image="<|image|>",
)


def make_mllama() -> Parts:
    """Return Llama-3.2-Vision; layers 1 and 3 attend to pictures, whose mark is the token after the last."""
    text = llama_like(cross_attention_layers=[1, 3], bos_token_id=0, pad_token_id=3)
    text["rope_parameters"] = {"rope_type": "default", "rope_theta": 1e4}
    text.pop("head_dim")
    vision = {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_global_layers": 1,
        "attention_heads": 2,
        "intermediate_size": 64,
        "vision_output_dim": 64,
        "image_size": 32,
        "patch_size": 16,
        "max_num_tiles": 4,
        "intermediate_layers_indices": [0],
        "supported_aspect_ratios": [[1, 1], [1, 2], [1, 3], [1, 4], [2, 1], [2, 2], [3, 1], [4, 1]],
    }
    model = MllamaForConditionalGeneration(
        MllamaConfig(vision_config=vision, text_config=text, image_token_index=VOCABULARY)  # type: ignore[arg-type]
    )
    model.generation_config.eos_token_id = [1, 2]  # type: ignore[union-attr]
    room = [f"<|reserved_{i}|>" for i in range(VOCABULARY - len(_SPECIAL) - 256)]
    tokenizer = byte_tokenizer(
        (*_SPECIAL, *room), pad="<|finetune_right_pad_id|>", end="<|eot_id|>", start="<|begin_of_text|>", starts=True
    )
    tokenizer.add_tokens([AddedToken("<|image|>", normalized=False, special=True)])  # of VOCABULARY, beyond the words
    images = {
        "image_processor_type": "MllamaImageProcessor",
        "size": {"height": 32, "width": 32},
        "max_image_tiles": 4,
        "processor_class": "MllamaProcessor",
    }
    return Parts(model, tokenizer, images, {"processor_class": "MllamaProcessor"}, _TEMPLATE)
