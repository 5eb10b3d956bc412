"""BLIP-2: a Q-Former's tokens stand before the words, and without a picture the language model is asked by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers.models.blip_2.modeling_blip_2 import BaseModelOutputWithVisionQformerOutputs

from lifelong.models.prompts.quirk import Quirk

MODEL_TYPES = ("blip-2",)


class Blip2Quirk(Quirk):
    """The published prompt of visual question answering, and one picture at most."""

    template = (
        "{% for m in messages %}{% for p in m.content if p.type == 'text' %}Question: {{ p.text }}{% endfor %}"
        "{% endfor %}{% if add_generation_prompt %} Answer:{% endif %}"
    )
    answers_after = " "
    most_pictures = 1

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
        if "mm_encoder_outputs" not in inputs:
            return model.language_model(**inputs)
        return model(pixel_values=None, **inputs).language_model_outputs
