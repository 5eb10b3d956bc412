"""What a page is put together from, as plain data: tables of cells, figures, sections. Knows neither HTML nor facts.

Every text here is a text: the templates escape it. Numbers are written for readers by `number`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class TableCell:
    """A cell: its text, smaller lines below it, and the number that it is sorted by (None: its text)."""

    text: str
    small: tuple[str, ...] = ()
    value: float | None = None
    grey: bool = False


@dataclass(frozen=True)
class Table:
    """A table: `name` is its place on the page, `csv` its file below `tables/` ('' where there is none).

    `words` says that its cells are sentences, which are set to the left and wrapped; `note` stands below it. Without
    rows its `about` says why.
    """

    name: str
    title: str
    about: str
    heads: tuple[str, ...] = ()
    rows: tuple[tuple[TableCell, ...], ...] = ()
    csv: str = ""
    note: str = ""
    words: bool = False
    kind: str = "table"


@dataclass(frozen=True)
class Sentences:
    """Sentences, one below the other."""

    name: str
    title: str
    lines: tuple[str, ...]
    kind: str = "answers"


@dataclass(frozen=True)
class Text:
    """Lines of text that stand below each other as in a terminal."""

    name: str
    title: str
    text: str
    kind: str = "text"


@dataclass(frozen=True)
class Life:
    """An edit's life: its picture (base64 of a PNG, '' where there is none), what was said, and a row a panel."""

    title: str
    picture: str
    shown: str
    question: str
    before: str
    target: str
    happened: tuple[str, ...]
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    end: str


@dataclass(frozen=True)
class Stories:
    """Lives of edits beside each other."""

    name: str
    title: str
    about: str
    stories: tuple[Life, ...]
    kind: str = "stories"


@dataclass(frozen=True)
class Section:
    """A part of a page with a place in its navigation; its parts have a `kind`, a `name` and a `title`."""

    name: str
    title: str
    lead: str = ""
    parts: tuple[Any, ...] = field(default_factory=tuple)


def cell(value: object, small: Sequence[str] = (), grey: bool = False) -> TableCell:
    """Return a cell of a text or a number, which is written with three digits and sorts as it is."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return TableCell(str(value), tuple(small), None, grey)
    return TableCell(number(value), tuple(small), float(value) if math.isfinite(value) else None, grey)


def number(value: float | int | None) -> str:
    """Write a number with three significant digits; infinity and nan in words.

    >>> number(0.98765), number(12345), number(float("inf")), number(float("nan"))
    ('0.988', '12,345', 'not reached', '–')
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, float) and math.isinf(value):
        return "not reached"
    if isinstance(value, int) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def share(value: float | None) -> str:
    """Write a share with two digits, without the 0 before its point.

    >>> share(0.894), share(1.0), share(0.998), share(float("nan"))
    ('.89', '1.00', '.998', '–')
    """
    if value is None or math.isnan(value):
        return "–"
    digits = 3 if 0.995 <= value < 1 or 0 < value < 0.005 else 2
    return f"{value:.{digits}f}".replace("0.", ".", 1) if abs(value) < 1 else f"{value:.2f}"
