"""PaliGemma 2: PaliGemma on Gemma-2, every second layer of which sees a window."""

from __future__ import annotations

from transformers import Gemma2Config

from lifelong.models.families.building import Parts, llama_like
from lifelong.models.families.family_paligemma import paligemma_parts


def make_paligemma2() -> Parts:
    """Return PaliGemma 2; the window of 4,096 tokens is 48 here."""
    return paligemma_parts(Gemma2Config(**llama_like(vocab_size=1536), sliding_window=48, query_pre_attn_scalar=16))
