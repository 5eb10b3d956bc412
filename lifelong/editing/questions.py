"""Which stored edits answer which question, so that a newer edit of a question finds those that it replaces.

A question is a prompt and the content of its picture. Knows edits; nothing of banks, payloads or models.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from pydantic import Field

from lifelong.editing.contract import EditorOptions
from streams.types import Edit

Reedit = Literal["replace", "keep"]


class ReeditOptions(EditorOptions):
    """Base of the options of an editor that can drop an older edit, where its published rule keeps it."""

    supersede: Reedit = Field(
        default="replace",
        description="what a newer edit of a question does to the older one: it drops it, so that the newer answer is "
        "given, or it keeps it as published: both then act, and neither answer may come out",
    )


class EditedQuestions:
    """The questions of stored edits. An edit replaces the one that it `supersedes` and all of its own question."""

    def __init__(self) -> None:
        self._question: dict[str, str] = {}  # edit id -> its question's digest, in order of storing
        self._ids: dict[str, dict[str, None]] = {}  # question's digest -> edit ids, oldest first

    def __contains__(self, edit_id: str) -> bool:
        return edit_id in self._question

    def older(self, edit: Edit) -> list[str]:
        """Return the ids of the stored edits that an edit replaces, oldest first."""
        same = self._ids.get(edit.query.digest, {})
        named = [edit.supersedes] if edit.supersedes in self._question else []
        return [i for i in dict.fromkeys([*named, *same]) if i is not None and i != edit.id]

    def add(self, edit: Edit) -> None:
        """Note that an edit is stored."""
        self._question[edit.id] = edit.query.digest
        self._ids.setdefault(edit.query.digest, {})[edit.id] = None

    def drop(self, ids: Iterable[str]) -> None:
        """Note that edits are not stored any more; unknown ones are passed over."""
        for edit_id in ids:
            digest = self._question.pop(edit_id, None)
            if digest is not None:
                del self._ids[digest][edit_id]
                if not self._ids[digest]:
                    del self._ids[digest]

    def table(self) -> list[list[str]]:
        """Return all edits with their questions as plain values, for a state."""
        return [list(pair) for pair in self._question.items()]

    def load(self, table: Iterable[Sequence[str]]) -> None:
        """Hold exactly what a table says."""
        self._question, self._ids = {}, {}
        for edit_id, digest in table:
            self._question[edit_id] = digest
            self._ids.setdefault(digest, {})[edit_id] = None


def passed_over(edits: Sequence[Edit], kept: Sequence[Edit]) -> dict[str, str]:
    """Return why edits of a batch that are not among those `kept` by `newest` are not learnt, by id."""
    ids = {edit.id for edit in kept}
    return {edit.id: "a later edit of its batch replaces it" for edit in edits if edit.id not in ids}


def newest(edits: Sequence[Edit]) -> list[Edit]:
    """Return the edits of a batch that no later one of the same batch replaces, in their order."""
    asked, named = set[str](), set[str]()
    kept: list[Edit] = []
    for edit in reversed(edits):
        if edit.query.digest not in asked and edit.id not in named:
            kept.append(edit)
        asked.add(edit.query.digest)
        named.add(edit.supersedes or "")
    return kept[::-1]
