"""BLIP-2 on OPT: a Q-Former gives a fixed number of tokens for a picture; its processor knows no chat template."""

from __future__ import annotations

from typing import Any

from transformers import (
    Blip2Config,
    Blip2ForConditionalGeneration,
    Blip2QFormerConfig,
    Blip2VisionConfig,
    OPTConfig,
)

from lifelong.models.families.building import VOCABULARY, Parts, byte_tokenizer

_SPECIAL = ("<pad>", "</s>", "<image>")
_IMAGES = {
    "image_processor_type": "BlipImageProcessor",
    "size": {"height": 32, "width": 32},
    "processor_class": "Blip2Processor",
}
FORMER_QUERIES = 4


def blip2_parts(text: Any, **processor: Any) -> Parts:
    """Return a BLIP-2 with a decoder's configuration; answers end at a newline, as the published ones do."""
    vision = Blip2VisionConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=32,
        patch_size=16,
    )
    former = Blip2QFormerConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        encoder_hidden_size=32,
    )
    tokenizer = byte_tokenizer(_SPECIAL, pad="<pad>", end="</s>", start="</s>", starts=True)
    model = Blip2ForConditionalGeneration(
        Blip2Config(
            vision_config=vision,
            qformer_config=former,
            text_config=text,
            num_query_tokens=FORMER_QUERIES,
            image_token_index=2,
        )
    )
    model.generation_config.eos_token_id = tokenizer.convert_tokens_to_ids("\u010a")  # type: ignore[union-attr]
    return Parts(
        model,
        tokenizer,
        _IMAGES,
        {"processor_class": "Blip2Processor", "num_query_tokens": FORMER_QUERIES} | processor,
    )


def make_blip2_opt() -> Parts:
    """Return BLIP-2 on OPT."""
    text = OPTConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        ffn_dim=64,
        num_hidden_layers=4,
        num_attention_heads=2,
        word_embed_proj_dim=32,
        max_position_embeddings=2048,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=1,
    )
    return blip2_parts(text)
