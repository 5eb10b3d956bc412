"""How results look in a notebook: one short line, whatever they hold. Knows nothing of what that is."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import fields
from typing import Any, TypeVar

_T = TypeVar("_T")
LONGEST_REPR = 190
_LONGEST_TEXT = 60
_MOST_ITEMS = 6


class Shown(list[_T]):
    """A list of results with a short repr: how many there are, and the first of them."""

    def __repr__(self) -> str:
        first = f"; the first: {self[0]!r}" if self else ""
        return shortened(f"[{len(self)} results{first}]")


def short_repr(self: Any) -> str:
    """Return a dataclass in one line of at most `LONGEST_REPR` characters; to be a class's `__repr__`.

    Of many items only their number is shown, and texts are cut.
    """
    shown = [f"{f.name}={_short(getattr(self, f.name))}" for f in fields(self) if f.repr]
    return shortened(f"{type(self).__name__}({', '.join(shown)})")


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, str):
        return repr(value if len(value) <= _LONGEST_TEXT else value[: _LONGEST_TEXT - 4] + " ...")
    if isinstance(value, Mapping) and len(value) <= _MOST_ITEMS:
        return "{" + ", ".join(f"{key}: {_short(one)}" for key, one in value.items()) + "}"
    if isinstance(value, Collection) and not isinstance(value, bytes):
        plain = len(value) <= _MOST_ITEMS and all(isinstance(one, int | float | str) for one in value)
        return "[" + ", ".join(map(_short, value)) + "]" if plain else f"<{len(value)}>"
    return repr(value) if isinstance(value, int | None) else str(value)


def shortened(text: str) -> str:
    """Return a text in one line of at most `LONGEST_REPR` characters.

    >>> shortened("a" * 300) == "a" * 186 + " ..."
    True
    """
    line = " ".join(text.split())
    return line if len(line) <= LONGEST_REPR else line[: LONGEST_REPR - 4] + " ..."
