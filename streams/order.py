"""The order in which edits arrive: shuffled, by subject, with re-edits, or hard on purpose. Knows only `Edit`s.

An order is a function of its edits and a seed. The hard ones are in `order_near` and `order_mix`. Only `ADDING`
orders add anything, with `supersedes` set: conflicts (`reedits`), and ways back to the first truth (`reversals`).
With `near_misses` the edits come as in `shuffled`; it is the stream that then probes just outside their scope.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from streams.near import near
from streams.order_mix import bursts, drift
from streams.order_near import near_duplicates, same_image
from streams.types import Edit, identity_of

PERMUTING = ("shuffled", "grouped", "near_duplicates", "same_image", "bursts", "drift")
ADDING = ("reedits", "reversals")
NEAR_MISSES = "near_misses"
ORDERS = (*PERMUTING, *ADDING, NEAR_MISSES)


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


def reedited(
    edits: Sequence[Edit], count: int, seed: int, again: Callable[[Edit, np.random.Generator], Edit | None]
) -> tuple[Edit, ...]:
    """Return the edits with `count` re-edits put in at random places after the edits that they supersede.

    `again(edit, generator)` makes the next version of an edit (it sets `supersedes`), or returns None where there is
    no other answer. A re-edit may itself be edited again. Raises `ValueError` when fewer than `count` are possible.
    """
    rng = generator(seed, "order", "reedits")
    latest = list(edits)
    places = {edit.id: float(i) for i, edit in enumerate(edits)}
    added: list[Edit] = []
    misses = 0
    while len(added) < count:
        if not latest or misses > 20 * (len(latest) + 10):
            raise ValueError(f"{count} re-edits were asked for, but only {len(added)} are possible over these edits.")
        slot = int(rng.integers(len(latest)))
        old = latest[slot]
        new = again(old, rng)
        if new is None or new.id in places:
            misses += 1
            continue
        places[new.id] = float(rng.uniform(places[old.id], len(edits)))
        latest[slot] = new
        added.append(new)
    return tuple(sorted([*edits, *added], key=lambda e: (places[e.id], e.id)))


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
    if order not in known:
        raise ValueError(f"order={order!r} is not known.{near(order, known)}")
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
