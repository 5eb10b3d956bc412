"""InstructBLIP on Vicuna: its Q-Former reads the question as well, so that a picture's tokens depend on it."""

from __future__ import annotations

from transformers import (
    InstructBlipConfig,
    InstructBlipForConditionalGeneration,
    InstructBlipQFormerConfig,
    InstructBlipVisionConfig,
    LlamaConfig,
)

from lifelong.models.families.building import VOCABULARY, Parts, byte_tokenizer, llama_like, piece_tokenizer
from lifelong.models.families.family_blip2_opt import FORMER_QUERIES


def make_instructblip() -> Parts:
    """Return InstructBLIP; the Q-Former has a tokenizer of its own in a folder of its own."""
    vision = InstructBlipVisionConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=32,
        patch_size=16,
    )
    former = InstructBlipQFormerConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        encoder_hidden_size=32,
    )
    model = InstructBlipForConditionalGeneration(
        InstructBlipConfig(
            vision_config=vision,
            qformer_config=former,
            text_config=LlamaConfig(**llama_like()),
            num_query_tokens=FORMER_QUERIES,
            image_token_index=4,
        )
    )
    tokenizer = piece_tokenizer(("<unk>", "<s>", "</s>", "<pad>", "<image>"), pad="<pad>", end="</s>", start="<s>")
    words = byte_tokenizer(("[PAD]", "[CLS]", "[SEP]"), pad="[PAD]", end="[SEP]", start="[CLS]", starts=True)
    images = {
        "image_processor_type": "BlipImageProcessor",
        "size": {"height": 32, "width": 32},
        "processor_class": "InstructBlipProcessor",
    }
    processor = {"processor_class": "InstructBlipProcessor", "num_query_tokens": FORMER_QUERIES}
    return Parts(model, tokenizer, images, processor, more={"qformer_tokenizer": words})
