"""How many tokens prompts have, counted before any of them passes the model or its vision side.

A picture's tokens depend on its size only, so that one of each size is read. Knows prompts and how they are read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from streams.types import ImageRef, Prompt

if TYPE_CHECKING:
    from lifelong.models.prompts.reader import PromptReader

_WORST = 12  # tokens of one byte: the longest that normalising makes of a character


def context_of(config: Any) -> int | None:
    """Return how many tokens a model was made to read at most, None where its configuration does not say."""
    most = getattr(config.get_text_config(), "max_position_embeddings", None)
    return int(most) if isinstance(most, int) and most > 0 else None


class Lengths:
    """Counts prompts as a reader reads them."""

    def __init__(self, reader: PromptReader) -> None:
        self._reader = reader
        self._frame: int | None = None
        self._of_image: dict[str, int] = {}
        self._of_size: dict[tuple[int, int], int] = {}

    def beyond(self, prompt: Prompt, room: int, *, pictures: bool = True) -> int:
        """Return a prompt's tokens where they are more than `room`, else 0; most need not be counted.

        Without `pictures` each counts as one token and is not opened.
        """
        if self._frame is None:
            self._frame = self._words(Prompt(("x",)))
        seen = sum(map(self._picture, prompt.images)) if pictures else len(prompt.images)
        words = [part for part in prompt.parts if not isinstance(part, ImageRef)]
        texts = [part if isinstance(part, str) else part.text for part in words]
        most = sum(1 + (len(t) if t.isascii() else _WORST * len(t.encode("utf-8", "replace"))) for t in texts)
        if self._frame + seen + most <= room:
            return 0
        length = self._words(Prompt(tuple(words) or ("x",))) + seen
        return length if length > room else 0

    def _words(self, prompt: Prompt) -> int:
        return len(self._reader.read([prompt], see=False)[0].ids)

    def _picture(self, image: ImageRef) -> int:
        if image.digest not in self._of_image:
            size = self._reader.open_image(image).size
            if size not in self._of_size:
                alone = self._reader.alone
                encoded, _ = self._reader.process(Prompt((image, "x")))
                self._reader.alone = alone  # counting must not decide in which batches pictures are seen
                self._of_size[size] = len(encoded.ids) - self._words(Prompt(("x",)))
            self._of_image[image.digest] = self._of_size[size]
        return self._of_image[image.digest]
