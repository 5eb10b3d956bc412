"""LLaVA-1.5 whose tokenizer pads on the right, as those of models that were just trained do."""

from __future__ import annotations

from lifelong.models.families.building import Parts
from lifelong.models.families.family_llava import llava_parts


def make_llava_right() -> Parts:
    """Return the model."""
    parts = llava_parts()
    parts.tokenizer.padding_side = "right"
    return parts
