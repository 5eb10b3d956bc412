"""The ways of the models that this project trains: square tiles for wide pictures, and images before the text."""

from __future__ import annotations

from collections.abc import Sequence

from PIL.Image import Image

from lifelong.models.prompts.quirk import Quirk
from streams.types import ImageError

MODEL_TYPES = ("atlas_vision", "smol_vision")
MAX_TILES = 32  # of 16 tokens each: half of the model's context


class AtlasQuirk(Quirk):
    """Several things side by side are several images to this model, each with its own tokens."""

    def tiles(self, image: Image) -> list[Image]:
        """Cut a picture that is k times as wide as high into k squares, left to right; `ImageError` for very many."""
        width, height = image.size
        count = max(1, round(width / height))
        if count > MAX_TILES:
            raise ImageError(
                f"{width} x {height} pixels are {count} squares side by side, each a picture to this model, which"
                f" takes {MAX_TILES} at most. Crop it."
            )
        edges = [round(i * width / count) for i in range(count + 1)]
        return (
            [image] if count == 1 else [image.crop((a, 0, b, height)) for a, b in zip(edges, edges[1:], strict=False)]
        )

    def arrange(self, parts: Sequence[str | int]) -> list[str | int]:
        """Images first, in order, then all text as one sentence after another."""
        return [p for p in parts if isinstance(p, int)] + [" ".join(p for p in parts if isinstance(p, str))]
