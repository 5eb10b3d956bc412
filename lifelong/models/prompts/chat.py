"""The words of a prompt: chat template, and token ids without the processor where its image tokens are known.

A processor replaces each image mark by as many image tokens as the image has features; once that is known (and the
processor has confirmed it for prompts with so many images), the tokenizer alone gives the same ids much faster. Knows
nothing about pixels or models.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from lifelong.models.prompts.marks import UnreadableTextError
from streams.text import printable

_FRAME, _WORST = 1 << 20, 16  # characters that a template may write around a prompt, and for one of its own


class Chat:
    """Writes prompts with a processor's chat template and turns them into ids."""

    def __init__(self, processor: Any, published: str | None = None) -> None:
        self.template = template_of(processor) or published
        if not self.template:
            raise ValueError(
                f"{type(processor).__name__} has no chat template, which prompts are written with; give a model whose"
                " folder has one (chat_template.jinja), such as the instruction-tuned variant."
            )
        self.processor, self.tokenizer = processor, processor.tokenizer
        mark = getattr(processor, "image_token", None)
        self.mark = None if mark is None else str(mark)
        self._confirmed: dict[int, bool] = {}

    def text(self, parts: Sequence[str | int]) -> str:
        """Return the text of one user turn and the start of the answer; a number stands for so many images."""
        content: list[dict[str, str]] = []
        for part in parts:
            if isinstance(part, str):
                content.append({"type": "text", "text": part})
            else:
                content.extend({"type": "image"} for _ in range(part))
        text = self.rendered([{"role": "user", "content": content}])
        if len(text) > _FRAME + _WORST * sum(len(part) for part in parts if isinstance(part, str)):
            raise UnreadableTextError(f"The model's chat template makes {len(text):,} characters of this prompt.")
        return text

    def rendered(self, messages: Sequence[Mapping[str, Any]], *, asks: bool = True) -> str:
        """Return turns as the template writes them, with the start of an answer where it `asks` for one.

        Raises `UnreadableTextError` with what the template says.
        """
        write = self.processor.apply_chat_template
        try:
            return write(list(messages), chat_template=self.template, tokenize=False, add_generation_prompt=asks)
        except Exception as error:  # a program of the model's folder: it may raise whatever it likes
            why = " ".join(str(error).split()) or type(error).__name__
            raise UnreadableTextError(f"The model's chat template fails on this prompt: {printable(why)}") from error

    def ids(self, text: str) -> list[int]:
        """Return the ids of a written text without pictures by the tokenizer alone."""
        return self.tokenizer(text, add_special_tokens=self.adds_special(text))["input_ids"]

    def adds_special(self, text: str) -> bool:
        """Whether the tokenizer should add its special tokens: not where the template has written the first."""
        bos = self.tokenizer.bos_token
        return not (bos and text.startswith(bos))

    def quick_ids(self, text: str, counts: Sequence[int]) -> Tensor | None:
        """Return the ids of a text whose images have so many tokens each; None until `confirm` has allowed it."""
        return self._expanded(text, counts) if self._confirmed.get(len(counts), False) else None

    def confirm(self, text: str, counts: Sequence[int], ids: Tensor, *, plain: bool) -> None:
        """Compare with the processor's ids; `plain` says that it gave nothing else that belongs to the tokens.

        One difference is enough to use the processor from then on for prompts with so many images.
        """
        if self._confirmed.get(len(counts), True):
            own = self._expanded(text, counts) if plain else None
            self._confirmed[len(counts)] = own is not None and torch.equal(own, ids)

    def _expanded(self, text: str, counts: Sequence[int]) -> Tensor | None:
        if counts or (self.mark and self.mark in text):
            pieces = text.split(self.mark) if self.mark else [text]
            if len(pieces) != len(counts) + 1:
                return None
            assert self.mark is not None
            marks = [*(self.mark * n for n in counts), ""]
            text = "".join(piece + mark for piece, mark in zip(pieces, marks, strict=True))
        return torch.tensor(self.ids(text), dtype=torch.long)


def template_of(processor: Any) -> Any:
    """Return a folder's chat template, the processor's or the tokenizer's; None where there is none."""
    own = getattr(processor, "chat_template", None)
    return own or getattr(processor.tokenizer, "chat_template", None)
