"""Which edit replaces which: what a stream's records say, and what the order of equal questions implies.

Knows edits; nothing of files, probes or models.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from streams.types import Edit


def with_succession(edits: Sequence[Edit]) -> tuple[Edit, ...]:
    """Return edits in their order, each of which `supersedes` the one before that answered its question until then.

    A question is a prompt and the content of its picture. What a record says of itself stands, unless what it names
    was replaced already: then it replaces the one that came in that one's place. The beginning of a longer list comes
    out as it would alone.
    """
    holder: dict[str, str] = {}  # question -> the edit that answers it by now
    asked: dict[str, list[str]] = {}  # edit -> the questions that it answers
    found = []
    for edit in edits:
        said, before = edit.supersedes, holder.get(edit.query.digest)
        old = before if before is not None and said not in asked else said
        found.append(edit if old == edit.supersedes else replace(edit, supersedes=old))
        asked[edit.id] = list(dict.fromkeys([edit.query.digest, *asked.pop(old or "", ())]))
        holder.update(dict.fromkeys(asked[edit.id], edit.id))
    return tuple(found)
