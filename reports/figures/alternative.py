"""What a figure shows, in words for those who do not see it: the numbers behind its caption, from its table.

Knows tables as figures give them: columns of words say what a row is about, `step` or the like where it stands.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from reports.figures.style import Drawn

ALONG = ("step", "age", "bank_len", "share", "window", "x", "from", "age_low", "alike", "false fires")
"""Columns along which a curve runs: the words give its last point."""
_VALUES = (
    "mean", "kept", "harmonic", "auc", "p50_s", "rate", "bank_bytes", "edit_wall_s", "observed", "recall", "value",
    "agreement", "value_s", "published", "right", "lag_mean_s",
)  # fmt: skip
_MOST = 40  # curves whose end is said


def said_in_numbers(drawn: Drawn) -> str:
    """Return the title and, for each curve, where it ends: its value, interval and n as far as the table has them."""
    table = drawn.table
    value = next((name for name in _VALUES if name in table.columns), "")
    if table.is_empty() or not value:
        return f"{drawn.title}. {drawn.caption}"
    words = [name for name, kind in table.schema.items() if kind == pl.String and table[name].n_unique() <= _MOST]
    along = next((name for name in ALONG if name in table.columns and name != value), "")
    known = table.filter(pl.col(value).is_not_null())
    ends = _ends(known, words, along)
    said = [_said(row, words, along, value) for row in ends[:_MOST]]
    more = f"; {len(ends) - _MOST} more in the numbers below" if len(ends) > _MOST else ""
    return f"{drawn.title}, where each curve ends: {'; '.join(said)}{more}."


def _ends(table: pl.DataFrame, words: Sequence[str], along: str) -> list[dict[str, Any]]:
    """Return the last row of each combination of words, in the order in which they stand."""
    ordered = table.sort(along, maintain_order=True, nulls_last=False) if along else table
    last = ordered.group_by(words, maintain_order=False).last() if words else ordered.tail(1)
    order = {tuple(row): i for i, row in enumerate(table.select(words).unique(maintain_order=True).rows())}
    return sorted(last.to_dicts(), key=lambda row: order.get(tuple(row[w] for w in words), 0))


def _said(row: Mapping[str, Any], words: Sequence[str], along: str, value: str) -> str:
    names = " ".join(str(row[w]) for w in words if row[w] not in (None, ""))
    place = f" at {along.replace('_', ' ')} {_short(row[along])}" if along else ""
    ends = [row.get(name) for name in ("low", "high")]
    known = all(isinstance(end, float) and math.isfinite(end) for end in ends)
    interval = f" ({_short(ends[0])} to {_short(ends[1])})" if known else ""
    n = next((f", {name} {row[name]:,}" for name in ("edits", "n", "at risk") if isinstance(row.get(name), int)), "")
    return f"{names}{place} {_short(row[value])}{interval}{n}".strip()


def _short(value: Any) -> str:
    """Write a number with three digits.

    >>> _short(0.12345), _short(1234), _short(None)
    ('0.123', '1,234', 'not known')
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "not known"
    return f"{value:,}" if isinstance(value, int) else f"{value:.3g}"
