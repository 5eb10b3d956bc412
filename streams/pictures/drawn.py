"""A picture drawn from a name, in place of one that is not at hand: each name has its own. Knows no file.

It shows nothing: coloured squares that a hash of the name chooses. What is asked about it can be edited, kept and
forgotten as with any picture; what a model knows of the world cannot be seen in it.
"""

from __future__ import annotations

import hashlib

import numpy as np
from PIL import Image

from streams.types import ImageRef, digest_of

_SQUARES, _SIDE = 4, 64  # squares a side, pixels a side
_VERSION = "drawn-1"


def pattern_ref(name: str) -> ImageRef:
    """Return the reference of the picture that stands for a name, such as the path of one that is missing."""
    return ImageRef(f"drawn:{name}", digest_of(_VERSION, name))


def pattern(name: str) -> Image.Image:
    """Return the picture of a name, 64 x 64 pixels.

    >>> pattern("a.jpg") == pattern("a.jpg"), pattern("a.jpg") == pattern("b.jpg")
    (True, False)
    """
    seed = hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()
    colours = np.random.default_rng(list(seed)).integers(0, 256, (_SQUARES, _SQUARES, 3), dtype=np.uint8)
    squares = colours.repeat(_SIDE // _SQUARES, axis=0).repeat(_SIDE // _SQUARES, axis=1)  # (side, side, rgb)
    return Image.fromarray(squares, "RGB")
