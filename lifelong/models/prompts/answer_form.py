"""How a model's chat template writes an answer: with a space before it or none, and what ends it.

Learnt once from what the template makes of a whole conversation. Knows chat templates and tokens; nothing of models,
pictures or editors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lifelong.models.prompts.chat import Chat
from lifelong.models.prompts.marks import Marks, UnreadableTextError

_WORDS = ("Paris", "a cat", "7", "blue owls")
_QUESTION, _NEXT = "What is it?", "And then?"


@dataclass(frozen=True)
class AnswerForm:
    """What stands before an answer's words, `prefix`, and the token that ends it, `end_id`.

    `written` says whether the template told the prefix: some write no answers, and then nothing stands before them.
    """

    prefix: str
    end_id: int
    written: bool


def form_of(chat: Chat, marks: Marks, end_ids: Sequence[int], published: str = "") -> AnswerForm:
    """Return how answers are written; `end_ids` are the tokens that end one, the usual one first.

    `published` is what the protocol of a family whose template writes no answers puts before them.
    """
    end = next((e for e in (_end(chat, word, end_ids) for word in _WORDS) if e is not None), end_ids[0])
    for write in (_by_template, _after(published)):
        for prefix in ("", " "):
            told = [_begins(chat, marks, prefix, word, write(chat, word)) for word in _WORDS]
            if any(told) and all(t is not False for t in told):
                return AnswerForm(prefix, end, write is _by_template)
    return AnswerForm("", end, False)


def _by_template(chat: Chat, word: str) -> str:
    try:
        return chat.rendered(_answered(word), asks=False)
    except UnreadableTextError:
        return ""


def _after(published: str):  # noqa: ANN202
    return lambda chat, word: chat.rendered([_turn("user", _QUESTION)]) + published + word


def _begins(chat: Chat, marks: Marks, prefix: str, word: str, told: str) -> bool | None:
    """Whether `told` goes on after a question with this prefix and a word; None where it does not tell."""
    before, whole = chat.ids(chat.rendered([_turn("user", _QUESTION)])), chat.ids(told)
    if whole[: len(before)] != before or word not in told:
        return None
    ids = marks.plain_ids(prefix + word)
    return whole[len(before) :][: len(ids)] == ids


def _end(chat: Chat, word: str, end_ids: Sequence[int]) -> int | None:
    """Return the first end token that the template writes between an answer and the next turn's words."""
    for turns in ([*_answered(word), _turn("user", _NEXT)], _answered(word)):
        try:
            told = chat.rendered(turns, asks=False)
        except UnreadableTextError:
            continue
        after = told.rpartition(word)[2].partition(_NEXT)[0]
        ids = chat.tokenizer(after, add_special_tokens=False)["input_ids"]
        found = next((i for i in ids if i in end_ids), None)
        if found is not None:
            return int(found)
    return None


def _answered(word: str) -> list[dict[str, object]]:
    return [_turn("user", _QUESTION), _turn("assistant", word)]


def _turn(role: str, words: str) -> dict[str, object]:
    return {"role": role, "content": [{"type": "text", "text": words}]}
