"""What a chat template writes around a question, as token numbers: so rows of any model of this kind can be packed.

Knows a tokenizer and its template; no question and no picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lifelong.models.atlas.model import IMAGE_TOKENS

_QUESTION = "QUESTION"


@dataclass(frozen=True)
class Frame:
    """Tokens before the pictures, after the question, at an answer's end, of a picture's part, and padding.

    A picture is `picture_tokens` tokens.
    """

    head: tuple[int, ...]
    close: tuple[int, ...]
    end: int
    image: int
    pad: int
    picture_tokens: int = IMAGE_TOKENS


def frame_of(tokenizer: Any, picture_tokens: int = IMAGE_TOKENS) -> Frame:
    """Return the frame that a tokenizer's chat template writes, for pictures of so many tokens.

    Raises `ValueError` for a template that does not put pictures first, or anything between them and the question.
    """
    mark: str = tokenizer.image_token
    turn = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": _QUESTION}]}]
    text = str(tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True))
    before, found, after = text.partition(mark + _QUESTION)
    if not found:
        raise ValueError(f"The chat template writes {text!r}: expected the picture's mark right before the question.")
    head, close = (tuple(tokenizer(part, add_special_tokens=False)["input_ids"]) for part in (before, after))
    image, pad, end = (tokenizer.convert_tokens_to_ids(t) for t in (mark, tokenizer.pad_token, tokenizer.eos_token))
    return Frame(head, close, end, image, pad, picture_tokens)
