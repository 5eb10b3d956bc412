"""What every table's columns mean, in the words of the modules that define them; knows docstrings alone."""

from __future__ import annotations

import inspect
import re

from lifelong.log import facts, stream_tables

_HEAD = re.compile(r"^(\w+): ", re.MULTILINE)


def columns_told() -> dict[str, str]:
    """Return a text about each table by its name, for a page that goes with data: what a row is, then its columns.

    >>> columns_told()["timed"].splitlines()[0]
    'one latency sample, one query or batch at a time, uncached'
    """
    found: dict[str, str] = {}
    for module in (facts, stream_tables):
        for paragraph in (inspect.getdoc(module) or "").split("\n\n"):
            head = _HEAD.match(paragraph)
            if head:
                found[head[1]] = paragraph[head.end() :].strip()
    return found
