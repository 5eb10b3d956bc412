"""What is said of records that cannot be used: they are refused in one message, or left out in a note.

Knows lines that name file, record, field and reason; nothing of what the records are for.
"""

from __future__ import annotations

from collections.abc import Sequence

from streams.stream import StreamError

_LISTED = 20  # problems that are told one by one
_WAY = "Mend it, or leave it out with --skip-bad (stream.skip_bad=true)."


def left_out(where: str, lines: Sequence[str], bad: int, records: int, *, skip: bool) -> list[str]:
    """Return the note that says which records were left out, nothing where all are good.

    `lines` are all problems, `bad` is the number of records that have some. Unless bad records are to be skipped,
    `StreamError` is raised instead, whose `problems` are all the lines.
    """
    if not lines:
        return []
    if not skip and len(lines) == 1:
        raise StreamError(f"{lines[0]} {_WAY}", lines)
    body = [f"  {line}" for line in _listed(lines)]
    if not skip:
        head = f"{where}: {bad} of {records} records cannot be used:"
        raise StreamError("\n".join([head, *body, _WAY]), lines)
    return ["\n".join([f"{where}: {bad} of {records} records are left out (stream.skip_bad):", *body])]


def _listed(lines: Sequence[str]) -> list[str]:
    """Return the first problems, and how many more there are."""
    more = [f"and {len(lines) - _LISTED} more problems"] if len(lines) > _LISTED else []
    return [*lines[:_LISTED], *more]
