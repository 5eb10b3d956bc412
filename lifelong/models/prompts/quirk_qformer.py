"""BLIP-2 and InstructBLIP: a Q-Former's tokens stand before the words, and the language model is called by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers.models.blip_2.modeling_blip_2 import BaseModelOutputWithVisionQformerOutputs

from lifelong.models.prompts.quirk import Quirk

MODEL_TYPES = ("blip-2", "instructblip")
_PUBLISHED = (
    "{% for m in messages %}{% for p in m.content if p.type == 'text' %}Question: {{ p.text }}{% endfor %}"
    "{% endfor %}{% if add_generation_prompt %} Answer:{% endif %}"
)
_WORDS_OF_FORMER = ("qformer_input_ids", "qformer_attention_mask")


class QFormerQuirk(Quirk):
    """The published prompt of visual question answering; one picture at most; InstructBLIP's Q-Former reads along."""

    template = _PUBLISHED
    answers_after = " "
    most_pictures = 1
    words_seen = True
    beside_pixels = _WORDS_OF_FORMER

    def handed(self, features: Sequence[Tensor], *, stacked: bool) -> dict[str, Any]:
        """Return the Q-Former's tokens as the model itself would hand them on."""
        pooled: Any = torch.stack(list(features))
        return {"mm_encoder_outputs": {"image": BaseModelOutputWithVisionQformerOutputs(pooler_output=pooled)}}

    def plain(self, output: Any) -> bool:
        """The decoder gets the Q-Former's tokens alone, whatever else is returned."""
        return True

    def run(self, model: Any, inputs: Mapping[str, Any]) -> Any:
        """Run the model where there is a picture, else its language model: without one the model cannot be run."""
        if "pixel_values" in inputs:
            return model(**inputs).language_model_outputs
        given = {name: value for name, value in inputs.items() if name not in _WORDS_OF_FORMER}
        if "mm_encoder_outputs" not in inputs:
            return model.language_model(**given)
        unused = {"qformer_input_ids": None} if model.config.model_type == "instructblip" else {}
        return model(pixel_values=None, **unused, **given).language_model_outputs
