"""Why an edit that was once right is wrong now: not found, gone, or found and yet answered wrongly. Pure functions.

Knows facts and routes; asks nothing. An edit counts as right at a step when every one of its reliability probes there
generates the target; what is superseded or taken back on purpose has left the count.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from lifelong.editing.contract import Route
from lifelong.log import Probed
from lifelong.probing.measure import SUPERSEDED, WITHDRAWN
from lifelong.probing.scorers import GENERATED


@dataclass(frozen=True)
class Lost:
    """Of `asked` edits that were right when first asked, how many are wrong now, and why.

    `router_miss`: stored, but the route goes elsewhere or nowhere (`index_miss` of them because an approximate index
    did not propose what exact search finds); `overwritten`: no longer stored; `wrong_answer`: routed home and still
    wrong, or, of an editor that searches no bank, just wrong: nothing was to be found (reports name the two apart).
    """

    asked: int = 0
    router_miss: int = 0
    index_miss: int = 0
    overwritten: int = 0
    wrong_answer: int = 0


@dataclass
class Standing:
    """How an edit's reliability probes stood at one step: all right, and all routed home."""

    step: int
    right: bool = True
    home: bool = True
    home_exactly: bool = True


def note(
    rows: Iterable[Probed], standing: dict[str, Standing], exact_home: Callable[[Probed], bool] | None = None
) -> dict[str, Standing]:
    """Add the edits of some facts to `standing`, which keeps the first step of each, and return it."""
    for row in rows:
        if row.axis != "reliability" or row.scorer != GENERATED or row.variant in (SUPERSEDED, WITHDRAWN):
            continue
        one = standing.setdefault(row.edit_id, Standing(row.step))
        if one.step == row.step:
            one.right &= row.score >= 1
            one.home &= row.routed_home
            one.home_exactly &= row.routed_home if exact_home is None else exact_home(row)
    return standing


def lost(
    first: Mapping[str, Standing], now: Mapping[str, Standing], holds: Callable[[str], bool], *, routed: bool
) -> Lost:
    """Return why edits are lost; `routed` says whether the editor finds its edits in a bank."""
    asked = [edit_id for edit_id in now if edit_id in first and first[edit_id].right]
    counts = {"router_miss": 0, "index_miss": 0, "overwritten": 0, "wrong_answer": 0}
    for edit_id in asked:
        one = now[edit_id]
        if one.right:
            continue
        if not holds(edit_id):
            counts["overwritten"] += 1
        elif routed and not one.home:
            counts["router_miss"] += 1
            counts["index_miss"] += one.home_exactly
        else:
            counts["wrong_answer"] += 1
    return Lost(len(asked), **counts)


def recall(found: Mapping[str, Route], true: Mapping[str, Route]) -> tuple[float, int]:
    """Return the share of the edits on `true` routes that are on those found, by query, and how many there are.

    An edit that was found with the score of one that was missed counts for it: they are equally far. Without any it
    is 1: nothing was there to be missed.
    """
    hits = sum(_hits(found[query], route) for query, route in true.items())
    n = sum(len(set(route.ids)) for route in true.values())
    return (hits / n if n else 1.0), n


def _hits(found: Route, true: Route) -> int:
    common = set(found.ids) & set(true.ids)
    missed = Counter(score for i, score in zip(true.ids, true.scores, strict=False) if i not in common)
    others = Counter(score for i, score in zip(found.ids, found.scores, strict=False) if i not in common)
    return len(common) + (missed & others).total()
