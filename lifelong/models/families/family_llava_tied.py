"""LLaVA-1.5 whose head is its embedding matrix, as that of small decoders is."""

from __future__ import annotations

from transformers import LlamaConfig

from lifelong.models.families.building import Parts, llama_like
from lifelong.models.families.family_llava import llava_parts


def make_llava_tied() -> Parts:
    """Return the model; both configurations say that the weights are tied."""
    return llava_parts(LlamaConfig(**llama_like(tie_word_embeddings=True)), tie_word_embeddings=True)
