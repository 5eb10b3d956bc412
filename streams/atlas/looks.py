"""How alike two drawings look: coarse colours, place by place. Knows no fact and no model."""

from __future__ import annotations

import functools

import numpy as np
from PIL import Image

from streams.atlas.world import World
from streams.pictures.decoding import decode

_SIDE = 8  # places a side that colours are compared at


@functools.lru_cache(maxsize=1 << 14)
def look(world: World, entity: str, rendering: str) -> np.ndarray:
    """Return a drawing's mean colours at 8 x 8 places, (192,), 0-1; KeyError names what the entity has."""
    image = decode(world.image(entity, rendering), f"Image atlas:{entity}/{rendering}")
    small = image.resize((_SIDE, _SIDE), Image.Resampling.BOX)
    return np.asarray(small, dtype=np.float32).ravel() / 255


def difference(world: World, one: tuple[str, str], other: tuple[str, str]) -> float:
    """Return the root mean square difference of two drawings (entity, rendering): 0 for the same one."""
    return float(np.sqrt(np.mean((look(world, *one) - look(world, *other)) ** 2)))
