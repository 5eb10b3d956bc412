"""What is said of records that cannot be used: they are refused in one message, or left out in a note.

Knows lines that name file, record, field and reason; nothing of what the records are for.
"""

from __future__ import annotations

from collections.abc import Sequence

from streams.stream import FilesRead, StreamError

_LISTED = 20  # problems that are told one by one
_WAY = "Mend it, or leave it out with --skip-bad (stream.skip_bad=true)."


def left_out(where: str, reading: FilesRead, *, skip: bool) -> list[str]:
    """Return the note that says which records were left out, nothing where all are good.

    Unless bad records are to be skipped, `StreamError` with all that was read is raised instead.
    """
    lines = reading.problems
    if not lines:
        return []
    if not skip and len(lines) == 1:
        raise StreamError(f"{lines[0]} {_WAY}", reading)
    body = [f"  {line}" for line in _listed(lines)]
    counted = f"{where}: {reading.bad} of {reading.records} records"
    if not skip:
        raise StreamError("\n".join([f"{counted} cannot be used:", *body, _WAY]), reading)
    return ["\n".join([f"{counted} are left out (stream.skip_bad):", *body])]


def _listed(lines: Sequence[str]) -> list[str]:
    """Return the first problems, and how many more there are."""
    more = [f"and {len(lines) - _LISTED} more problems"] if len(lines) > _LISTED else []
    return [*lines[:_LISTED], *more]
