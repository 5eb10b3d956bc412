"""LLaVA with a Mistral decoder of a window of 12 tokens: what lies further back is not seen."""

from __future__ import annotations

from transformers import MistralConfig

from lifelong.models.families.building import Parts, llama_like
from lifelong.models.families.family_llava import llava_parts


def make_llava_sliding() -> Parts:
    """Return the model."""
    return llava_parts(MistralConfig(**llama_like(), sliding_window=12))
