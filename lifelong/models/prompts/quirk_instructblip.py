"""InstructBLIP: BLIP-2 whose Q-Former reads the question too, so that a picture's tokens depend on it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lifelong.models.prompts.quirk_blip2 import Blip2Quirk

MODEL_TYPES = ("instructblip",)


class InstructBlipQuirk(Blip2Quirk):
    """The question for the Q-Former comes with the pixel values, and goes with them."""

    words_seen = True
    beside_pixels = ("qformer_input_ids", "qformer_attention_mask")

    def run(self, model: Any, inputs: Mapping[str, Any]) -> Any:
        """Run the model; with the Q-Former's tokens at hand it needs no question, but its name."""
        own = {"qformer_input_ids": None} if "mm_encoder_outputs" in inputs else {}
        return super().run(model, {**inputs, **own})
