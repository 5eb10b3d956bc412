"""How results look in a notebook: one short line, whatever they hold. Knows nothing of what that is."""

from __future__ import annotations

from typing import TypeVar

_T = TypeVar("_T")
LONGEST_REPR = 190


class Shown(list[_T]):
    """A list of results with a short repr: how many there are, and the first of them."""

    def __repr__(self) -> str:
        first = f"; first: {self[0]!r}" if self else ""
        return shortened(f"[{len(self)} results{first}]")


def shortened(text: str) -> str:
    """Return a text in one line of at most `LONGEST_REPR` characters; called by `__repr__` of results.

    >>> shortened("a" * 300) == "a" * 186 + " ..."
    True
    """
    line = " ".join(text.split())
    return line if len(line) <= LONGEST_REPR else line[: LONGEST_REPR - 4] + " ..."
