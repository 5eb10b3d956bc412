"""Molmo-2: which patches become one token is told by their numbers, which begin anew with each picture."""

from __future__ import annotations

from transformers import Molmo2Config, Molmo2ForConditionalGeneration

from lifelong.models.families.building import VOCABULARY, Parts, byte_tokenizer, turns

_SPECIAL = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|image|>", "<|video|>", "<im_patch>", "<im_col>",
    "<im_start>", "<low_res_im_start>", "<frame_start>", "<im_end>", "<frame_end>", "<im_low>",
)  # fmt: skip
_TEMPLATE = turns(
    ask="<|im_start|>user\n",
    asked="<|im_end|>\n",
    answer="<|im_start|>assistant\n",
    answered="<|im_end|>\n",
    image="<|image|>",
)


def make_molmo2() -> Parts:
    """Return Molmo-2; the tokens of pictures stand among the ordinary ones."""
    vision = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "image_size": [32, 32],
        "patch_size": 8,
        "num_position_embeddings": 16,
    }
    adapter = {
        "vision_feature_layer": [-1, -2],
        "hidden_size": 32,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "intermediate_size": 64,
        "text_hidden_size": 32,
    }
    text = {
        "hidden_size": 32,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "vocab_size": VOCABULARY,
        "additional_vocab_size": 16,
        "num_hidden_layers": 4,
        "intermediate_size": 64,
        "max_position_embeddings": 4096,
    }
    model = Molmo2ForConditionalGeneration(
        Molmo2Config(
            vision_config=vision,
            adapter_config=adapter,
            text_config=text,
            image_start_token_id=7,
            low_res_image_start_token_id=8,
            image_end_token_id=10,
            image_patch_id=5,
            frame_start_token_id=9,
            frame_end_token_id=11,
        )
    )
    model.generation_config.eos_token_id = 2  # type: ignore[union-attr]
    tokenizer = byte_tokenizer(
        _SPECIAL, pad="<|endoftext|>", end="<|im_end|>", image_token="<|image|>", video_token="<|video|>"
    )
    images = {
        "image_processor_type": "Molmo2ImageProcessor",
        "size": {"height": 32, "width": 32},
        "patch_size": 8,
        "pooling_size": [2, 2],
        "max_crops": 4,
        "overlap_margins": [1, 1],
        "processor_class": "Molmo2Processor",
    }
    return Parts(model, tokenizer, images, {"processor_class": "Molmo2Processor"}, _TEMPLATE)
