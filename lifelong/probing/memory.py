"""What a panel remembers of earlier panels: the last answer to every probe, and under which route."""

from __future__ import annotations

from dataclasses import dataclass

from lifelong.editing.contract import Route
from lifelong.probing.measure import Score


@dataclass(frozen=True)
class Remembered:
    """The last answer to a probe: under which route (`key`), in which role, and how it scored."""

    key: str
    role: str
    scores: tuple[Score, ...]


def reuse_key(route: Route, revision: int) -> str:
    """Return what must be unchanged for an answer to be used again; empty for a query out of every scope.

    The query is not part of it: memories are kept per probe. An out-of-scope query is answered by the frozen base
    whatever the editor's revision, by contract.
    """
    return f"{route.digest}:{revision}" if route.in_scope else ""
