"""Rows of a run or a stream as lines of equal columns; knows nothing of where they come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from streams.text import printable

_WIDEST = 44  # characters of a column; what is longer ends in dots


def row_lines(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> list[str]:
    """Return a heading and one line a row: `columns` maps a row's keys to headings; None is shown as '-'.

    >>> print(*row_lines([{"a": 1, "b": "x"}, {"a": 20, "b": None}], {"a": "step", "b": "said"}), sep="\\n")
    step  said
    1     x
    20    -
    """
    table = [list(columns.values()), *([_cell(row[key]) for key in columns] for row in rows)]
    widths = [max(len(line[place]) for line in table) for place in range(len(columns))]
    return ["  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip() for line in table]


def _cell(value: Any) -> str:
    text = "-" if value is None else printable(str(value))
    return text if len(text) <= _WIDEST else text[: _WIDEST - 3] + "..."
