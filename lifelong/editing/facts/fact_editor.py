"""Editors whose memory is a book of facts: the part of the contract that they share (`book.FactBook`).

Knows the book; nothing of how a fact that was found is told to the model.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from lifelong.bank import Bank, Eviction
from lifelong.editing.contract import Editor, EncoderName, EncoderOptions, IndexOptions, Keys, State
from lifelong.editing.facts.book import FactBook, KeyKind
from lifelong.editing.facts.statement import StatementOptions
from streams.types import Edit, Query


class BookOptions(EncoderOptions, StatementOptions, IndexOptions):
    """Settings of an editor with a book of facts: how it finds them, how many it keeps, how it states one."""

    keys: KeyKind = Field(default="text", description="what queries and edits are compared by")
    image_encoder: EncoderName = Field(default="base", description="frozen encoder of pictures: base or path:FOLDER")
    capacity: int | None = Field(default=None, ge=1, description="most edits kept; none: all")
    eviction: Eviction = Field(default="never", description="what makes room in a full bank")


class FactEditor(Editor):
    """Stores edits as facts in `book` and finds them again; a subclass opens the book, routes and answers."""

    removes = True
    replaces = True
    trains = True
    append_only = True
    lasting = True
    book: FactBook

    def open_book(self, options: BookOptions, image_weight: float, *, answers: bool = False) -> None:
        """Begin with an empty book; what it stores never changes, unless entries may be evicted."""
        self.lasting = options.capacity is None
        self.book = FactBook(
            self.vlm, keys=options.keys, encoder=options.encoder, pictures=options.image_encoder,
            image_weight=image_weight, answers=answers, capacity=options.capacity, eviction=options.eviction,
            index=options.index,
        )  # fmt: skip

    def edit(self, edits: Sequence[Edit]) -> None:
        """Store each edit; a newer one of a question replaces the older one."""
        self.book.add(edits)

    def encode(self, queries: Sequence[Query]) -> Keys:
        """Return `key` (n, width) and `image` (n, 1), 1 for queries with a picture."""
        return self.book.keys(queries)

    def remove(self, ids: Sequence[str]) -> None:
        """Forget edits; one that is not stored any more (replaced or evicted) is passed over."""
        self.book.remove(ids)

    def bytes_for(self, edits: int) -> int:
        """Return the bytes of a key for each edit, without its words."""
        most = self.book.bank.capacity
        return 4 * self.book.bank.width * (edits if most is None else min(edits, most))

    def nbytes(self) -> int:
        """Return the bytes of keys and words."""
        return self.book.nbytes()

    def bank_len(self) -> int:
        """Return the number of stored edits."""
        return len(self.book)

    def routing_banks(self) -> Sequence[Bank]:
        """Return the bank that `route` searches."""
        return [self.book.bank]

    def state(self) -> State:
        """Return the bank and the words of every edit."""
        return State.joined({"revision": self.revision}, book=self.book.state())

    def load(self, state: State) -> None:
        """Go on from a state."""
        super().load(state)
        self.book.load(state.part("book"))
