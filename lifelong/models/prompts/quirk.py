"""What a model family may do differently, and how the file that says so is found.

The default is right for nearly every model. A family that differs has a file `quirk_NAME.py` with `MODEL_TYPES`
(values of `model_type` in its configuration or in that of its vision tower) and a subclass of `Quirk`. Whether it is
right is not believed: every model is held to the checks (`lifelong.models.checks`). This file knows no family.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from PIL.Image import Image
from torch import Tensor
from transformers.modeling_outputs import BaseModelOutputWithPooling


class Quirk:
    """Default behaviour: images as they are, parts in order, targets as they are written.

    `template` is the published prompt, as a chat template, of a family whose folders have none, and `answers_after`
    what the published protocol puts before an answer. `most_pictures` is how many a prompt may have. `same_length`
    says that the model counts positions in a way of its own, so that nothing is decoded behind padding; `words_seen`
    that a picture's features depend on the prompt's words. `beside_pixels` are inputs that go with the pixel values,
    `of_answers` the values that an input has at an answer's tokens.
    """

    template: str | None = None
    answers_after = ""
    most_pictures: int | None = None
    same_length = False
    words_seen = False
    beside_pixels: Sequence[str] = ()
    of_answers: Mapping[str, int] = {}

    def tiles(self, image: Image) -> list[Image]:
        """Return the images that the processor is given for one picture, a bounded number; `ImageError` for more."""
        return [image]

    def arrange(self, parts: Sequence[str | int]) -> list[str | int]:
        """Return a prompt's parts in order, text or an image's number; adjoining text is joined by spaces."""
        out: list[str | int] = []
        for part in parts:
            if isinstance(part, str) and out and isinstance(out[-1], str):
                out[-1] = f"{out[-1]} {part}"
            else:
                out.append(part)
        return out

    def target(self, text: str) -> str:
        """Return the text that is tokenised as the answer."""
        return text

    def words(self, processor: Any, text: str, *, special: bool) -> Mapping[str, Any]:
        """Return the inputs of a written prompt without pictures, (1, tokens); `special` adds special tokens."""
        return processor(text=[text], images=None, return_tensors="pt", add_special_tokens=special)

    def handed(self, features: Sequence[Tensor], *, stacked: bool) -> dict[str, Any]:
        """Return the model inputs that carry features (tokens, width) of pictures instead of their pixel values.

        `stacked` says that the model made one tensor of them.
        """
        pooled: Any = torch.stack(list(features)) if stacked else list(features)
        return {"mm_encoder_outputs": {"image": BaseModelOutputWithPooling(pooler_output=pooled)}}

    def plain(self, output: Any) -> bool:
        """Whether the features are all that the vision side gives the decoder (no states of several depths)."""
        return isinstance(output, dict) and {k for k, v in output.items() if v is not None} <= _PLAIN_OUTPUT

    def run(self, model: Any, inputs: Mapping[str, Any]) -> Any:
        """Run the model and return an output with `logits` and `past_key_values`."""
        return model(**inputs)


_PLAIN_OUTPUT = {"last_hidden_state", "pooler_output", "hidden_states", "attentions"}


def find_quirk(config: Any) -> Quirk:
    """Return the behaviour of a model family by the `model_type`s in its configuration."""
    import lifelong.models.prompts

    parts = (config, getattr(config, "vision_config", None), getattr(config, "text_config", None))
    types = {getattr(part, "model_type", None) for part in parts}
    for found in pkgutil.iter_modules(lifelong.models.prompts.__path__):
        if not found.name.startswith("quirk_"):
            continue
        module = importlib.import_module(f"lifelong.models.prompts.{found.name}")
        if types & set(module.MODEL_TYPES):
            kinds = [c for c in vars(module).values() if inspect.isclass(c) and c.__module__ == module.__name__]
            return next(c for c in kinds if issubclass(c, Quirk))()
    return Quirk()
