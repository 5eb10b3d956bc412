"""The questions that a model is checked with: words alone, and pictures of several sizes, drawn and not opened.

Knows prompts and pictures; nothing of models.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from streams.types import ImageRef, Prompt

SCHEME = "check"


@dataclass(frozen=True)
class Case:
    """A prompt, the answer that is scored after it, and another that differs from it in its last letters."""

    prompt: Prompt
    target: str
    other: str


def drawn(ref: ImageRef) -> Image.Image:
    """Return the picture of a reference `check:WIDTHxHEIGHT/NUMBER`: large areas of colour and some noise."""
    width, height = (int(side) for side in ref.uri.removeprefix(f"{SCHEME}:").split("/")[0].split("x"))
    seed = int.from_bytes(hashlib.sha256(ref.uri.encode()).digest()[:8], "big")
    chance = np.random.default_rng(seed)
    areas = Image.fromarray(chance.integers(0, 256, (4, 4, 3), dtype=np.uint8)).resize((width, height))
    noise = chance.integers(0, 40, (height, width, 3))
    return Image.fromarray((np.asarray(areas) * 0.8 + noise).astype(np.uint8))


def picture(width: int, height: int, number: int = 0) -> ImageRef:
    """Return the reference of a picture that `drawn` draws."""
    uri = f"{SCHEME}:{width}x{height}/{number}"
    return ImageRef(uri, hashlib.sha256(uri.encode()).hexdigest())


A, B, C = picture(60, 40), picture(40, 90), picture(200, 150)

ALL: Sequence[Case] = (
    Case(Prompt((A, "What is this?")), "Nairobi", "Nairoxy"),
    Case(Prompt(("What is the capital of Kenya, and of the country that lies north of it?",)), "blue", "bloc"),
    Case(Prompt((B, "Who drew it, and when was that?")), "a cat", "a cow"),
    Case(Prompt(("Why?",)), "7", "8"),
    Case(Prompt((C, "What is to be seen here?")), "two owls", "two ants"),
    Case(Prompt((B, "Is it old?")), "yes", "yet"),
)
PAIR = Case(Prompt((A, "and", C, "are two pictures. Which is larger?")), "one", "old")

FEW: Sequence[Case] = (ALL[0], ALL[3])
"""Those of the short form: the smallest picture, and words alone."""
