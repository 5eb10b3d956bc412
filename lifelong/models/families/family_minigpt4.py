"""MiniGPT-4, whose class is this project's own: prompts are tokenised in pieces, and an answer ends at a text."""

from __future__ import annotations

from typing import Any

from transformers import Blip2QFormerConfig, Blip2VisionConfig, LlamaConfig

from lifelong.models.families.building import VOCABULARY, Parts, llama_like
from lifelong.models.minigpt4.model import MiniGPT4Config, MiniGPT4ForConditionalGeneration
from lifelong.models.minigpt4.processor import END_TEXT, IMAGE_MARK, PIECES_TEMPLATE, tokenizer_of
from lifelong.models.minigpt4.vocabulary import LLAMA_BOS, LLAMA_EOS, LLAMA_UNK, Piece, merge_table

_QUERIES = 4


def _vocabulary() -> dict[str, Any]:
    """Return Llama's kind of vocabulary: control tokens, bytes, letters, and the end of an answer as one token."""
    control = [Piece(text, 0.0, False) for text in (LLAMA_UNK, LLAMA_BOS, LLAMA_EOS)]
    bytes_ = [Piece(f"<0x{byte:02X}>", 0.0, False) for byte in range(256)]
    merged = [Piece(text, -float(i), True) for i, text in enumerate(("##", "\u2581##", f"\u2581{END_TEXT}"))]
    letters = [Piece(letter, -1e3, True) for letter in ("\u2581", *map(chr, range(33, 127)))]
    return merge_table([*control, *bytes_, *merged, *letters]) | {
        "byte_fallback": True, "unk_token": LLAMA_UNK, "fuse_unk": True,
    }  # fmt: skip


def make_minigpt4() -> Parts:
    """Return MiniGPT-4 on a Llama; its Q-Former looks at a picture in every second layer."""
    tokenizer = tokenizer_of(_vocabulary(), (), VOCABULARY)
    vision = Blip2VisionConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, image_size=32, patch_size=16
    )
    former = Blip2QFormerConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, encoder_hidden_size=32,
        cross_attention_frequency=2,
    )  # fmt: skip
    text = LlamaConfig(**llama_like(bos_token_id=1, eos_token_id=2))
    config = MiniGPT4Config(
        vision_config=vision.to_dict(), qformer_config=former.to_dict(), text_config=text.to_dict(),
        num_query_tokens=_QUERIES, image_token_id=int(tokenizer.convert_tokens_to_ids(IMAGE_MARK)),  # type: ignore[arg-type]
    )  # fmt: skip
    model = MiniGPT4ForConditionalGeneration(config)
    ends: Any = model.generation_config
    ends.bos_token_id, ends.stop_strings = tokenizer.bos_token_id, [END_TEXT]
    ends.eos_token_id = [*tokenizer(END_TEXT, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
    images = {
        "image_processor_type": "BlipImageProcessor",
        "size": {"height": 32, "width": 32},
        "processor_class": "MiniGPT4Processor",
    }
    processor = {"processor_class": "MiniGPT4Processor", "num_query_tokens": _QUERIES}
    return Parts(model, tokenizer, images, processor, PIECES_TEMPLATE)
