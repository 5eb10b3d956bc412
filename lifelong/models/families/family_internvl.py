"""InternVL: a picture is cut into tiles of which four neighbours become one token."""

from __future__ import annotations

from transformers import InternVLConfig, InternVLForConditionalGeneration, Qwen2Config

from lifelong.models.families.building import Parts, byte_tokenizer, llama_like, turns

_SPECIAL = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<IMG_CONTEXT>", "<img>", "</img>", "<video>",
)  # fmt: skip
_TEMPLATE = turns(
    ask="<|im_start|>user\n",
    asked="<|im_end|>\n",
    answer="<|im_start|>assistant\n",
    answered="<|im_end|>\n",
    image="<IMG_CONTEXT>\n",
)


def make_internvl() -> Parts:
    """Return InternVL."""
    vision = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": [32, 32],
        "patch_size": [8, 8],
    }
    model = InternVLForConditionalGeneration(
        InternVLConfig(
            vision_config=vision,  # type: ignore[arg-type]
            text_config=Qwen2Config(**llama_like()),
            image_token_id=3,
            image_seq_length=4,
            tie_word_embeddings=False,
        )
    )
    model.generation_config.eos_token_id = 2  # type: ignore[union-attr]
    tokenizer = byte_tokenizer(
        _SPECIAL, pad="<|endoftext|>", end="<|im_end|>", context_image_token="<IMG_CONTEXT>",
        start_image_token="<img>", end_image_token="</img>", video_token="<video>",
    )  # fmt: skip
    images = {
        "image_processor_type": "GotOcr2ImageProcessor",
        "size": {"height": 32, "width": 32},
        "crop_to_patches": True,
        "min_patches": 1,
        "max_patches": 4,
        "processor_class": "InternVLProcessor",
    }
    return Parts(model, tokenizer, images, {"processor_class": "InternVLProcessor", "image_seq_length": 4}, _TEMPLATE)
