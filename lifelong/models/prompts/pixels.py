"""How much of pictures is held at once: groups of them within a budget of bytes. Knows no model and no prompt."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeVar

from PIL.Image import Image
from torch import Tensor

PIXEL_BYTES = 1 << 28  # 256 MiB: as much as the largest single picture that is opened
VISION_CHUNK = 32  # pictures that pass the vision side together at most

T = TypeVar("T")


def groups(
    items: Iterable[T], bytes_of: Callable[[T], int], budget: int, most: int = VISION_CHUNK
) -> Iterator[list[T]]:
    """Yield items in order, in lists of at most `most` and at most `budget` bytes, or of one larger item.

    Called with pictures that are opened one by one as they are asked for, so that no more of them than one list and
    the next item are held.

    >>> list(groups([3, 4, 9, 1], lambda size: size, 8))
    [[3, 4], [9], [1]]
    """
    group: list[T] = []
    held = 0
    for item in items:
        size = bytes_of(item)
        if group and (len(group) >= most or held + size > budget):
            yield group
            group, held = [], 0
        group.append(item)
        held += size
    if group:
        yield group


def decoded_bytes(images: Iterable[Image]) -> int:
    """Return the bytes that opened pictures take: Pillow keeps four a pixel for RGB."""
    return sum(4 * image.width * image.height for image in images)


def tensor_bytes(values: Mapping[str, Tensor]) -> int:
    """Return the bytes of pixel values, as a processor gives them."""
    return sum(value.nbytes for value in values.values())
