"""What a model family may do differently, and how the file that says so is found.

The default is right for nearly every model. A family that differs has a file `quirk_NAME.py` with `MODEL_TYPES`
(values of `model_type` in its configuration or in that of its vision tower) and a subclass of `Quirk`. This file
knows no family.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Sequence
from typing import Any

from PIL.Image import Image


class Quirk:
    """Default behaviour: images as they are, parts in order, targets as they are written."""

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
