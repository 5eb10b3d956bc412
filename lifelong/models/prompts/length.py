"""Which prompts a model can take, and how many tokens they have, before any passes it or its vision side.

A picture's tokens depend on its size only, so that one of each size is read. Knows prompts and how they are read.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from lifelong.models.prompts.marks import UnreadableTextError
from streams.types import ImageError, ImageRef, Prompt

if TYPE_CHECKING:
    from lifelong.models.prompts.reader import PromptReader

_TARGETS = 1 << 16  # whose tokens are counted once
_WORST = 12  # tokens of one byte: the longest that normalising makes of a character


class Lengths:
    """Counts prompts as a reader reads them; `context` is how many tokens the model reads, None where not known."""

    def __init__(self, reader: PromptReader, context: int | None) -> None:
        self._reader, self.context = reader, context
        self._frame: int | None = None
        self._of_image: dict[str, int] = {}
        self._of_size: dict[tuple[int, int], int] = {}

        @lru_cache(_TARGETS)  # few answers have many questions
        def answer(target: str, end_id: int, _prefix: str) -> int:
            return len(reader.target_ids(target, end_id))

        self._answer = answer

    def unaskable(self, prompt: Prompt, target: str, end_id: int, *, pictures: bool = True) -> str:
        """Return why the model cannot take a prompt with a target, '' where it can; `pictures` as for `beyond`."""
        try:
            self._reader.check(prompt)
            answer = self._answer(target, end_id, self._reader.prefix)
            if self.context is None:
                return ""
            length = self.beyond(prompt, self.context - answer, pictures=pictures)
        except (UnreadableTextError, ImageError) as error:
            return str(error).rstrip(".")
        return f"{length:,} tokens and {answer:,} of the answer, this model reads {self.context:,}" if length else ""

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

    def tokens(self, prompt: Prompt) -> int:
        """Return how many tokens a prompt has, those of its pictures included; a picture is opened."""
        words = [part for part in prompt.parts if not isinstance(part, ImageRef)]
        return self._words(Prompt(tuple(words) or ("x",))) + sum(map(self._picture, prompt.images))

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
