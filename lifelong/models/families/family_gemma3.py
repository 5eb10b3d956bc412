"""Gemma-3: most layers see a window, a picture's tokens see each other, a turn ends with <end_of_turn>."""

from __future__ import annotations

from transformers import Gemma3Config, Gemma3ForConditionalGeneration, Gemma3TextConfig

from lifelong.models.families.building import Parts, byte_tokenizer, llama_like, turns

_SPECIAL = (
    "<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>", "<image_soft_token>",
    "<start_of_image>", "<end_of_image>",
)  # fmt: skip
_TEMPLATE = turns(
    start="<bos>",
    ask="<start_of_turn>user\n",
    asked="<end_of_turn>\n",
    answer="<start_of_turn>model\n",
    answered="<end_of_turn>\n",
    image="<start_of_image>",
)


def make_gemma3() -> Parts:
    """Return Gemma-3 with a window of 12 tokens in three of four layers."""
    text = Gemma3TextConfig(
        **llama_like(), sliding_window=12, query_pre_attn_scalar=16,
        layer_types=["sliding_attention"] * 3 + ["full_attention"],
    )  # fmt: skip
    vision = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 32,
        "patch_size": 8,
    }
    model = Gemma3ForConditionalGeneration(
        Gemma3Config(
            text_config=text,
            vision_config=vision,  # type: ignore[arg-type]
            mm_tokens_per_image=4,
            image_token_index=6,
            boi_token_index=7,
            eoi_token_index=8,
        )
    )
    model.generation_config.eos_token_id = [1, 5]  # type: ignore[union-attr]
    tokenizer = byte_tokenizer(
        _SPECIAL, pad="<pad>", end="<eos>", start="<bos>", starts=True, image_token="<image_soft_token>",
        boi_token="<start_of_image>", eoi_token="<end_of_image>",
    )  # fmt: skip
    images = {
        "image_processor_type": "Gemma3ImageProcessor",
        "size": {"height": 32, "width": 32},
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
        "processor_class": "Gemma3Processor",
    }
    return Parts(model, tokenizer, images, {"processor_class": "Gemma3Processor", "image_seq_length": 4}, _TEMPLATE)
