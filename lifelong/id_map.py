"""Row numbers by id, in many small dictionaries: one large one would be copied whole, in one go, whenever it grows.

Knows strings and whole numbers. At a million ids such a copy takes over ten milliseconds of one addition.
"""

from __future__ import annotations

from collections.abc import Iterable

PARTS = 256


class IdMap:
    """A mapping from id to row number, without an order."""

    def __init__(self) -> None:
        self._parts: list[dict[str, int]] = [{} for _ in range(PARTS)]
        self._n = 0

    def __len__(self) -> int:
        return self._n

    def __contains__(self, name: str) -> bool:
        return name in self._parts[hash(name) % PARTS]

    def get(self, name: str) -> int | None:
        """Return the row number of an id, None where there is none."""
        return self._parts[hash(name) % PARTS].get(name)

    def put(self, name: str, row: int) -> None:
        """Note the row of an id that is not there yet."""
        self._parts[hash(name) % PARTS][name] = row
        self._n += 1

    def put_all(self, names: Iterable[str], rows: Iterable[int]) -> None:
        """Note the rows of ids that are not there yet."""
        for name, row in zip(names, rows, strict=True):
            self.put(name, row)

    def drop(self, name: str) -> None:
        """Forget an id; raises `KeyError` where it is not there."""
        del self._parts[hash(name) % PARTS][name]
        self._n -= 1
