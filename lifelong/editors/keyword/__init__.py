"""Retrieval without learning: the edit about the same picture whose question shares most letters is stated.

Knows queries and edits; it encodes nothing, changes no weight and no hidden state.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from lifelong.editing.contract import Answerer, Editor, Keys, Route, State
from lifelong.editing.facts.statement import StatedFact, StatementOptions, stated
from lifelong.editing.questions import EditedQuestions
from lifelong.editors.keyword.trigrams import NO_TRIGRAM, TrigramIndex, padded_rows, trigrams
from streams.types import Edit, Query, digest_of

if TYPE_CHECKING:
    from lifelong.models.vlm import VLM

_NO_PICTURE = bytes(8)


class KeywordOptions(StatementOptions):
    """Settings of the router; each is a least share of common trigrams (Jaccard index), 1: the same words."""

    threshold: float = Field(
        default=0.2, gt=0, le=1, description="least share of trigrams in common with an edit of the same picture"
    )
    text_threshold: float = Field(default=0.45, gt=0, le=1, description="the same where neither has a picture")
    other_picture: float = Field(
        default=1.0, gt=0, le=1, description="the same where the edit has another picture, or only one of the two any"
    )


class Keyword(Editor):
    """Retrieved edits in the prompt by picture content and letter trigrams (reference: the floor of all routers).

    An expert is an edit's words and the digest of its picture. A query is compared by J, the share of letter trigrams
    that its question has in common with an edit's (Jaccard index). First come the edits of the very same picture (no
    picture is one, too): the nearest of them, where J reaches `threshold` (without a picture `text_threshold`); else
    the nearest of all others, where J reaches `other_picture`. Of equally near edits the one stored first wins. The
    edit is stated before the question, as `rag` states it. The score of a route is J, plus 1 for the same picture.
    Nothing is trained, calibrated or encoded.

    Memory per edit: its words, 8 bytes for its picture, and 8 for each trigram of its question. A query costs one
    count over the edits that share a trigram with it, and a prompt longer by one statement.

    It finds a rephrased question about the identical picture, which is what T-Gen asks; another picture of the same
    subject it knows by the very same words only, and so it takes a stranger asked in these words for the subject.
    """

    Options = KeywordOptions
    searched = {
        "threshold": (0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5),
        "text_threshold": (0.3, 0.4, 0.5, 0.6, 0.8),
        "other_picture": (0.7, 0.8, 0.9, 1.0),
    }
    removes = True
    replaces = True
    append_only = True
    lasting = True
    options: KeywordOptions

    def __init__(self, vlm: VLM, options: KeywordOptions | None = None, *, seed: int = 0) -> None:
        super().__init__(vlm, options, seed=seed)
        self.facts: dict[str, StatedFact] = {}
        self.pictures: dict[str, bytes] = {}
        self.index = TrigramIndex()
        self.questions = EditedQuestions()

    def edit(self, edits: Sequence[Edit]) -> None:
        """Store each edit; a newer one of a question replaces the older one."""
        for edit in edits:
            self.remove(self.questions.older(edit))
            self._store(edit.id, StatedFact.of(edit), _picture(edit.query))
            self.questions.add(edit)

    def _store(self, edit_id: str, fact: StatedFact, picture: bytes) -> None:
        self.index.add(edit_id, trigrams(fact.question), picture)
        self.facts[edit_id], self.pictures[edit_id] = fact, picture

    def encode(self, queries: Sequence[Query]) -> Keys:
        """Return `trigrams` (n, COUNTED) uint64, a question's own, then `NO_TRIGRAM`, and `picture` (n, 8) uint8."""
        pictures = b"".join(map(_picture, queries))
        rows = np.frombuffer(pictures, dtype=np.uint8).reshape(len(queries), len(_NO_PICTURE))
        return Keys({"trigrams": padded_rows([trigrams(q.prompt) for q in queries]), "picture": rows})

    def route(self, keys: Keys) -> list[Route]:
        """Return the nearest edit of each query, the same picture's first, where it shares enough trigrams.

        `best` is by how much the nearest exceeds its threshold.
        """
        return [
            self._route(codes[codes != NO_TRIGRAM], row.tobytes())
            for codes, row in zip(keys["trigrams"], keys["picture"], strict=True)
        ]

    def _route(self, codes: np.ndarray, picture: bytes) -> Route:
        o = self.options
        same, other = self.index.nearest(codes, picture)
        least = o.text_threshold if picture == _NO_PICTURE else o.threshold
        over_same = (same.jaccard if same is not None else 0.0) - least
        over_other = (other.jaccard if other is not None else 0.0) - o.other_picture
        best = max(over_same, over_other) if self.facts else None
        if same is not None and over_same >= 0:
            return Route((same.id,), (1 + same.jaccard,), best=best)
        if other is not None and over_other >= 0:
            return Route((other.id,), (other.jaccard,), best=best)
        return Route(best=best)

    @contextmanager
    def applied(self, queries: Sequence[Query], routes: Sequence[Route]) -> Iterator[Answerer]:
        """Answer each query after its routed fact; a query without a route is asked as it is."""
        yield self.vlm.answerer(stated(queries, routes, self.facts, self.options.template))

    def remove(self, ids: Sequence[str]) -> None:
        """Forget edits; one that is not stored any more (replaced) is passed over."""
        self.questions.drop(ids)
        for edit_id in ids:
            self.index.remove(edit_id)
            self.facts.pop(edit_id, None)
            self.pictures.pop(edit_id, None)

    def nbytes(self) -> int:
        """Return the bytes of words, pictures' digests and trigrams."""
        return sum(fact.nbytes() + len(_NO_PICTURE) for fact in self.facts.values()) + self.index.nbytes()

    def bank_len(self) -> int:
        """Return the number of stored edits."""
        return len(self.facts)

    def holds(self, edit_id: str) -> bool:
        """Return whether an edit is stored."""
        return edit_id in self.facts

    def state(self) -> State:
        """Return the words and the picture of every edit, and their questions."""
        edits = [[i, f.question, f.answer, self.pictures[i].hex()] for i, f in self.facts.items()]
        return State({}, {"revision": self.revision, "edits": edits, "questions": self.questions.table()})

    def load(self, state: State) -> None:
        """Go on from a state; trigrams are taken of the words again."""
        super().load(state)
        self.facts, self.pictures, self.index = {}, {}, TrigramIndex()
        for edit_id, question, answer, picture in state.meta["edits"]:
            self._store(edit_id, StatedFact(question, answer), bytes.fromhex(picture))
        self.questions.load(state.meta["questions"])


def _picture(query: Query) -> bytes:
    """Return 8 bytes that identify the content of a query's picture; zeros where it has none."""
    return bytes.fromhex(digest_of("picture", query.image.digest)) if query.image is not None else _NO_PICTURE
