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

_SCHEME = "check"


@dataclass(frozen=True)
class CheckedCase:
    """A prompt, the answer that is scored after it, and another that differs from it in its last letters."""

    prompt: Prompt
    target: str
    other: str


def drawn(ref: ImageRef) -> Image.Image:
    """Return the picture of a reference `check:WIDTHxHEIGHT/NUMBER`: large areas of colour and some noise."""
    width, height = (int(side) for side in ref.uri.removeprefix(f"{_SCHEME}:").split("/")[0].split("x"))
    seed = int.from_bytes(hashlib.sha256(ref.uri.encode()).digest()[:8], "big")
    chance = np.random.default_rng(seed)
    areas = Image.fromarray(chance.integers(0, 256, (4, 4, 3), dtype=np.uint8)).resize((width, height))
    noise = chance.integers(0, 40, (height, width, 3))
    return Image.fromarray((np.asarray(areas) * 0.8 + noise).astype(np.uint8))


def drawn_ref(width: int, height: int, number: int = 0) -> ImageRef:
    """Return the reference of a picture that `drawn` draws."""
    uri = f"{_SCHEME}:{width}x{height}/{number}"
    return ImageRef(uri, hashlib.sha256(uri.encode()).hexdigest())


_A, _B, _C = drawn_ref(60, 40), drawn_ref(40, 90), drawn_ref(200, 150)

ALL_CASES: Sequence[CheckedCase] = (
    CheckedCase(Prompt((_A, "What is this?")), "Nairobi", "Nairoxy"),
    CheckedCase(Prompt(("What is the capital of Kenya, and of the country that lies north of it?",)), "blue", "bloc"),
    CheckedCase(Prompt((_B, "Who drew it, and when was that?")), "a cat", "a cow"),
    CheckedCase(Prompt(("Why?",)), "7", "8"),
    CheckedCase(Prompt((_C, "What is to be seen here?")), "two owls", "two ants"),
    CheckedCase(Prompt((_B, "Is it old?")), "yes", "yet"),
)
PAIR_CASE = CheckedCase(Prompt((_A, "and", _C, "are two pictures. Which is larger?")), "one", "old")

FEW_CASES: Sequence[CheckedCase] = (ALL_CASES[0], ALL_CASES[3])
"""Those of the short form: the smallest picture, and words alone."""
