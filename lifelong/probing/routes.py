"""What a panel remembers between panels: routing keys of every probe query, and the last answer to every probe.

Knows nothing about models, scorers' meaning, files or steps. Keys are encoded once per distinct query and kept in
blocks of a fixed size in order of first use; every full block carries the bank's memories, so that routing it again
compares only entries added since. Blocks do not depend on when panels fall, so a resumed run routes as it would have.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby

from lifelong.editing.contract import Editor, Keys, Route
from streams.types import Query

BLOCK_ROWS = 512


@dataclass
class _Block:
    """Up to `BLOCK_ROWS` distinct queries and their keys; `sealed` once full."""

    digests: list[str] = field(default_factory=list)
    parts: list[Keys] = field(default_factory=list)
    sealed: bool = False

    def keys(self) -> Keys:
        """The rows of all parts, joined once; with memories when the block cannot grow any more."""
        if len(self.parts) > 1:
            self.parts = [Keys.concat(self.parts)]
        if len(self.digests) == BLOCK_ROWS and not self.sealed:
            self.parts = [Keys(self.parts[0].arrays, memos={})]
            self.sealed = True
        return self.parts[0]


class RouteBook:
    """The keys of all queries ever asked, and their routes through an editor's bank as it is now."""

    def __init__(self, editor: Editor) -> None:
        self._editor = editor
        self.source: RouteBook | None = None  # a book that has read the same queries: then keys are taken from it
        self._blocks: list[_Block] = []
        self._place: dict[str, tuple[int, int]] = {}

    def __len__(self) -> int:
        return len(self._place)

    def __contains__(self, digest: str) -> bool:
        return digest in self._place

    def encode(self, queries: Iterable[Query]) -> int:
        """Encode the queries not met before, each once and all in one call; returns how many they were."""
        new = {q.digest: q for q in queries if q.digest not in self._place}
        if not new:
            return 0
        digests = list(new)
        keys = self._editor.encode(list(new.values())) if self.source is None else self.source.keys_of(digests)
        start = 0
        while start < len(digests):
            if not self._blocks or len(self._blocks[-1].digests) == BLOCK_ROWS:
                self._blocks.append(_Block())
            block = self._blocks[-1]
            part = range(start, min(len(digests), start + BLOCK_ROWS - len(block.digests)))
            for row in part:
                self._place[digests[row]] = (len(self._blocks) - 1, len(block.digests))
                block.digests.append(digests[row])
            block.parts.append(keys if len(part) == len(digests) else keys.take(part))
            start = part.stop
        return len(digests)

    def keys_of(self, digests: Sequence[str]) -> Keys:
        """Return the keys of some encoded queries, in that order; raises `KeyError` for one that never was."""
        places = [self._place[digest] for digest in digests]
        runs = groupby(places, key=lambda place: place[0])
        return Keys.concat([self._blocks[index].keys().take([row for _, row in run]) for index, run in runs])

    def routes(self, digests: Sequence[str]) -> dict[str, Route]:
        """Return the present routes of some encoded queries.

        When most queries are asked for, whole blocks are routed with their memories; else only the rows needed.
        Raises `KeyError` for a query that was never encoded.
        """
        wanted = dict.fromkeys(digests)
        found: dict[str, Route] = {}
        if 2 * len(wanted) > len(self._place):
            for block in self._blocks:
                found.update(zip(block.digests, self._routed(block.keys()), strict=True))
        else:
            rows: dict[int, list[int]] = {}
            for digest in wanted:
                index, row = self._place[digest]
                rows.setdefault(index, []).append(row)
            for index, taken in rows.items():
                block = self._blocks[index]
                keys = block.keys().take(taken)
                found.update(zip([block.digests[r] for r in taken], self._routed(keys), strict=True))
        return {digest: found[digest] for digest in wanted}

    def _routed(self, keys: Keys) -> list[Route]:
        """Return the routes of key rows, each with its best score."""
        routes = self._editor.route(keys)
        best = self._editor.best_scores(keys, routes)
        return [r if b == r.best else replace(r, best=b) for r, b in zip(routes, best, strict=True)]
