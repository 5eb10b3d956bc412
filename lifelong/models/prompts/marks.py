"""Texts that a tokenizer reads as control tokens, kept apart from the same texts in data.

`</s>` in a question or a target is four characters, not the end of an answer. Data is read by a copy of the tokenizer
that knows its control tokens under other names, which no text has; only what the chat template or an editor writes
(`Control`) is control. Ordinary texts are read by the tokenizer as it is. Knows nothing of pictures or models.
"""

from __future__ import annotations

import copy
import json
import re
import secrets
from collections.abc import Iterable
from functools import cached_property
from typing import Any

from streams.text import printable

_SHOWN = 60  # characters of a text in an error


class UnreadableTextError(ValueError):
    """A text that a model's tokenizer cannot read as text; the message shows it and says why."""


class Marks:
    """The control tokens of a processor: `texts` as they are written, `ids` that no data may become."""

    def __init__(self, processor: Any) -> None:
        self.processor, self.tokenizer = processor, processor.tokenizer
        # What is too long for the model is told before it is asked; a tokenizer's own warning of it helps nobody.
        self.tokenizer.deprecation_warnings["sequence-length-is-longer-than-the-specified-maximum"] = True
        self._added = added = {
            t.content: int(i) for i, t in self.tokenizer.added_tokens_decoder.items() if _is_mark(t)
        }
        own = [str(v) for name, v in vars(processor).items() if name.endswith("_token") and isinstance(v, str) and v]
        self.texts = sorted({*added, *own}, key=lambda text: (-len(text), text))
        # A letter that a tokenizer does not know becomes its unknown token, wherever it comes from.
        self.ids = frozenset(added.values()) - {self.tokenizer.unk_token_id} | {self.tokenizer.eos_token_id} - {None}
        self._normaliser = getattr(getattr(self.tokenizer, "backend_tokenizer", None), "normalizer", None)
        normal = [self._normal(text) for text in self.texts]
        self._any = _one_of(self.texts)
        self._any_normal = _one_of(sorted({*self.texts, *normal}, key=len, reverse=True))
        number = secrets.randbits(64)  # nobody can write what stands for a mark
        self._stand_in = {text: f"\U000f5e70{number}.{k}\U000f5e71" for k, text in enumerate(self.texts)}
        self._name = {text: f"\U000f5e72{number}.{k}\U000f5e71" for k, text in enumerate(self.texts)}
        self._back = {stand_in: text for text, stand_in in self._stand_in.items()}
        self._any_stand_in = _one_of(self._back)

    def found(self, text: str) -> str | None:
        """Return the first control token's text in a text, None for an ordinary text."""
        hit = self._any.search(text)
        if hit is None and self._normaliser is not None:
            hit = self._any_normal.search(self._normal(text))
        return hit.group() if hit else None

    def hidden(self, text: str) -> str:
        """Return a text with something in place of each mark that neither template nor processor knows."""
        return self._any.sub(lambda hit: self._stand_in[hit.group()], text)

    def plain_ids(self, text: str) -> list[int]:
        """Return the token ids of a bare text, none of which is a control token; raises `UnreadableTextError`."""
        mark = self.found(text)
        if mark is None:
            return self.tokenizer(text, add_special_tokens=False)["input_ids"]
        if self._renamed is not None:
            ids = self._renamed(text, add_special_tokens=False)["input_ids"]
        else:
            ids = self.tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        if self.ids.intersection(ids):
            raise UnreadableTextError(self._unreadable(text, mark))
        return ids

    def apart(self, texts: Iterable[str]) -> Any:
        """Return a processor for a prompt whose `texts` have marks and are `hidden` in it.

        Raises `UnreadableTextError`.
        """
        for text in texts:
            mark = self.found(text)
            if mark is not None:
                self.plain_ids(text)
                if self._renamed is None:
                    raise UnreadableTextError(self._unreadable(text, mark))
        processor = copy.copy(self.processor)
        processor.tokenizer = _Apart(self)
        return processor

    def told_apart(self, text: str) -> str:
        """Return a written prompt as the renamed tokenizer reads it: the template's marks by name, data as it was."""
        named = self._any.sub(lambda hit: self._name[hit.group()], text)
        return self._any_stand_in.sub(lambda hit: self._back[hit.group()], named)

    @cached_property
    def _renamed(self) -> Any | None:
        """The tokenizer with its marks renamed, None where it is of a kind that does not allow it."""
        from tokenizers import Tokenizer

        backend = getattr(self.tokenizer, "backend_tokenizer", None)
        if not isinstance(backend, Tokenizer) or not hasattr(self.tokenizer, "_tokenizer"):
            return None
        table = json.loads(backend.to_str())
        for token in table["added_tokens"]:
            if token["content"] in self._name:
                token |= {"content": self._name[token["content"]], "normalized": False}
        vocab = table["model"].get("vocab")
        if isinstance(vocab, dict):
            table["model"]["vocab"] = {self._name.get(text, text): i for text, i in vocab.items()}
        elif isinstance(vocab, list):
            table["model"]["vocab"] = [[self._name.get(text, text), score] for text, score in vocab]
        for key in ("unk_token", "eos_token"):
            if table["model"].get(key) in self._name:
                table["model"][key] = self._name[table["model"][key]]
        renamed = copy.copy(self.tokenizer)
        renamed._tokenizer = Tokenizer.from_str(json.dumps(table))
        same = all(renamed._tokenizer.token_to_id(self._name[text]) == i for text, i in self._added.items())
        return renamed if same else None

    def _normal(self, text: str) -> str:
        return text if self._normaliser is None else self._normaliser.normalize_str(text)

    def _unreadable(self, text: str, mark: str) -> str:
        shown = printable(text if len(text) <= _SHOWN else text[:_SHOWN] + "...")
        return (
            f"The text {shown!r} has {printable(mark)!r}, a control token that this model's tokenizer cannot read as"
            " text; write it in another way or leave the record out."
        )


class _Apart:
    """A tokenizer for one processor call, which tells the template's marks from those of data."""

    def __init__(self, marks: Marks) -> None:
        self._marks = marks

    def __getattr__(self, name: str) -> Any:
        return getattr(self._marks.tokenizer, name)

    def __call__(self, text: Any, *args: Any, **kwargs: Any) -> Any:
        one = isinstance(text, str)
        told = self._marks.told_apart(text) if one else [self._marks.told_apart(t) for t in text]
        return self._marks._renamed(told, *args, **kwargs)  # type: ignore[misc]


def _is_mark(token: Any) -> bool:
    """Whether an added token is control: a special one, or one between brackets; words and spaces that were added
    to a vocabulary stay words and spaces."""
    text = token.content
    return bool(text) and (token.special or (len(text) > 2 and text[0] in "<[{" and text[-1] in ">]}"))


def _one_of(texts: Iterable[str]) -> re.Pattern[str]:
    return re.compile("|".join(map(re.escape, texts)) or "(?!)")
