"""PaliGemma: the prompt's tokens see each other, those of the answer only what is before them. It has no template."""

from __future__ import annotations

from typing import Any

from transformers import GemmaConfig, PaliGemmaConfig, PaliGemmaForConditionalGeneration

from lifelong.models.families.building import Parts, byte_tokenizer, llama_like

_SPECIAL = ("<pad>", "<eos>", "<bos>", "<unk>", "<image>")


def paligemma_parts(text: Any) -> Parts:
    """Return a PaliGemma with a decoder's configuration; its processor adds 1,152 tokens of places to the words."""
    model = PaliGemmaForConditionalGeneration(
        PaliGemmaConfig(
            vision_config={
                "model_type": "siglip_vision_model",
                "hidden_size": 32,
                "intermediate_size": 64,
                "num_hidden_layers": 2,
                "num_attention_heads": 2,
                "image_size": 32,
                "patch_size": 16,
                "projection_dim": 32,
            },  # type: ignore[arg-type]
            text_config=text,
            image_token_index=4,
            projection_dim=32,
        )
    )
    model.generation_config.eos_token_id = 1  # type: ignore[union-attr]
    tokenizer = byte_tokenizer(_SPECIAL, pad="<pad>", end="<eos>", start="<bos>", image_token="<image>")
    images = {
        "image_processor_type": "SiglipImageProcessor",
        "size": {"height": 32, "width": 32},
        "image_seq_length": 4,
        "processor_class": "PaliGemmaProcessor",
    }
    return Parts(model, tokenizer, images, {"processor_class": "PaliGemmaProcessor"})


def make_paligemma() -> Parts:
    """Return PaliGemma."""
    return paligemma_parts(GemmaConfig(**llama_like(vocab_size=1536)))
