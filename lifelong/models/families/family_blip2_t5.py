"""BLIP-2 on T5: an encoder reads the prompt and a decoder writes the answer, which the project does not edit."""

from __future__ import annotations

from transformers import T5Config

from lifelong.models.families.building import VOCABULARY, Parts
from lifelong.models.families.family_blip2_opt import blip2_parts


def make_blip2_t5() -> Parts:
    """Return BLIP-2 on T5."""
    text = T5Config(
        vocab_size=VOCABULARY,
        d_model=32,
        d_kv=16,
        d_ff=64,
        num_layers=4,
        num_decoder_layers=4,
        num_heads=2,
        eos_token_id=1,
    )
    return blip2_parts(text)
