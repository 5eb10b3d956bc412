"""The order in which edits arrive: shuffled, by subject, with re-edits, or hard on purpose. Knows only `Edit`s.

An order is a function of its edits and a seed. The hard ones are in `order_near` and `order_mix`. Only `ADDING`
orders add anything: conflicts (`reedits`) and ways back to the first truth (`reversals`), with `supersedes` set, and
edits of the same fact in the other modality (`modal_conflicts`), which stand beside the first ones. With
`near_misses` the edits come as in `shuffled`; it is the stream that then probes just outside their scope.

A stream that makes its edits lays out the longest one there can be and cuts it: an order of all, or of one part after
another, has the same beginning at every length.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from streams.near import near
from streams.orders.mix import bursts, drift
from streams.orders.near_subjects import near_duplicates, same_image
from streams.types import Edit, identity_of

PERMUTING = ("shuffled", "grouped", "near_duplicates", "same_image", "bursts", "drift")
MODAL_CONFLICTS = "modal_conflicts"
ADDING = ("reedits", "reversals", MODAL_CONFLICTS)
NEAR_MISSES = "near_misses"
ORDERS = (*PERMUTING, *ADDING, NEAR_MISSES)

_BLOCK = 20  # places that have their share of re-edits
_TRIES = 20  # at another version of an earlier edit, before a fresh one comes instead


def generator(seed: int, *names: str) -> np.random.Generator:
    """Return a random generator of its own for every (seed, names): drawing from one never moves another.

    >>> int(generator(0, "a").integers(100)) == int(generator(0, "a").integers(100))
    True
    """
    words = hashlib.sha256(repr((seed, names)).encode()).digest()
    return np.random.default_rng(int.from_bytes(words[:16], "big"))


def edit_id(edit: Edit) -> str:
    """Return an edit's content-derived id: equal exactly when all else of two edits is equal."""
    return "e" + identity_of(replace(edit, id=""))


def with_id(edit: Edit) -> Edit:
    """Return the edit under its content-derived id."""
    return replace(edit, id=edit_id(edit))


def shuffled(edits: Sequence[Edit], seed: int) -> tuple[Edit, ...]:
    """Return the edits in a random order in which no edit comes before the one that it supersedes."""
    order = generator(seed, "order", "shuffled").permutation(len(edits))
    return _after_superseded([edits[i] for i in order])


def grouped(edits: Sequence[Edit], seed: int) -> tuple[Edit, ...]:
    """Return the edits with all edits of a subject one after another, subjects in a random order."""
    subjects: dict[str, list[Edit]] = {}
    for edit in shuffled(edits, seed):
        subjects.setdefault(edit.subject, []).append(edit)
    names = sorted(subjects)
    order = generator(seed, "order", "grouped").permutation(len(names))
    return _after_superseded([edit for i in order for edit in subjects[names[i]]])


def with_reedits(
    fresh: Iterable[Edit], n: int, share: float, seed: int, again: Callable[[Edit, np.random.Generator], Edit | None]
) -> tuple[Edit, ...]:
    """Return n edits, of which a `share` are re-edits of earlier ones; with a smaller n the beginning of the same.

    `again(edit, generator)` makes the next version of an edit (it sets `supersedes`), or returns None where there is
    no other answer; a re-edit may itself be edited again. When the fresh edits are at an end all are edited anew, in
    their order. Fewer than n come back where nothing more is possible.
    """
    rng, waiting, due = generator(seed, "order", "reedits"), iter(fresh), _due(share, seed)
    edits: list[Edit] = []
    latest: list[Edit] = []
    ids: set[str] = set()
    owed = turn = 0

    def version(old: Edit, drawn: np.random.Generator) -> Edit | None:
        new = again(old, drawn)
        return None if new is None or new.id in ids else new

    while len(edits) < n:
        owed += next(due)
        new, slot = None, 0
        for _ in range(_TRIES if owed and latest else 0):
            slot = int(rng.integers(len(latest)))
            new = version(latest[slot], rng)
            if new is not None:
                owed -= 1
                break
        if new is None:
            new, slot = next(waiting, None), len(latest)
        for _ in range(len(latest) if new is None else 0):
            slot, turn = turn % len(latest), turn + 1
            new = version(latest[slot], generator(seed, "order", "again", latest[slot].id))
            if new is not None:
                break
        if new is None:
            break
        edits.append(new)
        latest[slot : slot + 1] = [new]
        ids.add(new.id)
    return tuple(edits)


def with_disputes(
    fresh: Iterable[Edit], n: int, share: float, seed: int, other: Callable[[Edit, np.random.Generator], Edit | None]
) -> tuple[Edit, ...]:
    """Return n edits, of which a `share` (at most half) tell an earlier one's fact otherwise, in the other modality.

    `other(edit, generator)` makes the second edit of a fact, or returns None where the other modality cannot ask it.
    It comes within `_BLOCK` places of the first, and which fact has one is known when its first edit comes: with a
    smaller n the beginning of the same. Fewer than n come back where there are no more facts.
    """
    share = min(share, 0.5)
    rng, due = generator(seed, "order", "disputes"), _due(share / (1 - share), seed)
    waiting, owed = iter(fresh), 0
    edits: list[Edit] = []
    seconds: list[tuple[int, Edit]] = []  # and the places from which on they may come
    while len(edits) < n:
        second = next((s for s in seconds if s[0] <= len(edits)), None)
        if second is None:
            first = next(waiting, None)
            if first is not None:
                owed += next(due)
                answer = other(first, rng) if owed else None
                if answer is not None:
                    owed -= 1
                    seconds.append((len(edits) + int(rng.integers(1, _BLOCK + 1)), answer))
                edits.append(first)
                continue
            if not seconds:
                break
            second = seconds[0]
        seconds.remove(second)
        edits.append(second[1])
    return tuple(edits)


def _due(share: float, seed: int) -> Iterator[int]:
    """Yield 1 for each place where a re-edit is due, else 0: the share of them in every block of places."""
    rng, placed, blocks = generator(seed, "order", "reedits", "places"), 0, 0
    while True:
        blocks += 1
        count = round(share * _BLOCK * blocks) - placed
        placed += count
        yield from rng.permutation([1] * count + [0] * (_BLOCK - count)).tolist()


def ordered(
    edits: Sequence[Edit],
    order: str,
    seed: int,
    *,
    known: Sequence[str] = ORDERS,
    name_of: Callable[[Edit], str] = lambda edit: edit.subject or edit.query.prompt,
    kind_of: Callable[[Edit], str] = lambda edit: edit.relation,
) -> tuple[Edit, ...]:
    """Return the edits in a named order (of one of `ADDING` before anything is added), none before what it replaces.

    `name_of` says what near-duplicates are alike in, `kind_of` what bursts and drift are of. Raises `ValueError` with
    near names for an order that is not among the `known` ones.
    """
    check_order(order, known)
    rng = generator(seed, "order", order)
    if order == "grouped":
        return grouped(edits, seed)
    if order == "near_duplicates":
        return _after_superseded(near_duplicates(edits, name_of, rng))
    if order == "same_image":
        return _after_superseded(same_image(edits, rng))
    if order in ("bursts", "drift"):
        return _after_superseded((bursts if order == "bursts" else drift)(edits, kind_of, rng))
    return shuffled(edits, seed)


def check_order(order: str, known: Sequence[str] = ORDERS) -> None:
    """Raise `ValueError` with near names for an order that is not among the `known` ones."""
    if order not in known:
        raise ValueError(f"order={order!r} is not known.{near(order, known)}")


def _after_superseded(edits: list[Edit]) -> tuple[Edit, ...]:
    known = {edit.id for edit in edits}
    done: set[str] = set()
    waiting: dict[str, list[Edit]] = {}
    result: list[Edit] = []
    for edit in edits:
        if edit.supersedes in known and edit.supersedes not in done:
            waiting.setdefault(str(edit.supersedes), []).append(edit)
            continue
        ready = [edit]
        while ready:
            current = ready.pop(0)
            result.append(current)
            done.add(current.id)
            ready.extend(waiting.pop(current.id, []))
    return tuple(result)
