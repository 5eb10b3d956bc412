"""PaliGemma: the prompt's tokens see each other, an answer's only what is before them, and positions begin at 1."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from lifelong.models.prompts.quirk import Quirk

MODEL_TYPES = ("paligemma",)


class PaliGemmaQuirk(Quirk):
    """Its folders have no chat template: the pictures' marks, then the words; the processor adds a newline."""

    template = (
        "{% for m in messages %}{% for p in m.content if p.type == 'image' %}<image>{% endfor %}"
        "{% for p in m.content if p.type == 'text' %}{{ p.text }}{% if not loop.last %} {% endif %}{% endfor %}"
        "{% endfor %}"
    )
    same_length = True
    of_answers = {"token_type_ids": 1}

    def words(self, processor: Any, text: str, *, special: bool) -> Mapping[str, Any]:
        """Return a prompt without a picture as the processor writes those with one, which it insists on."""
        tokenizer = processor.tokenizer
        ids = tokenizer(f"{tokenizer.bos_token}{text}\n", add_special_tokens=False)["input_ids"]
        return {"input_ids": torch.tensor([ids]), "token_type_ids": torch.zeros((1, len(ids)), dtype=torch.long)}
