"""Which facts a pool for training edits: a few identities, real updates, and a share of translations.

Streams choose by `streams.atlas.agenda`; shipped fits were learnt from pools that were chosen like this. An
identity edit excludes every other edit of its entity; a real update excludes edits of the relations linked with it.
Nothing here is an edit yet: the result is a list of facts, each with the kind of its source. Knows no wording.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass

import numpy as np

from streams.atlas.catalogue import Catalogue, WorldFact, consequences
from streams.atlas.relations import RELATIONS
from streams.atlas.targets import linked

COUNTERFACTUAL = "counterfactual"
REAL_UPDATE = "real-update:to-older"


@dataclass(frozen=True)
class Shares:
    """Parts of all edits: at most `identity` and `updates`; `translations` of the rest, up to half of many."""

    identity: float = 0.05
    updates: float = 0.05
    translations: float = 0.25


MOST_IDENTITY = 100


def choose_facts(
    catalogue: Catalogue, n: int, shares: Shares, keep: Set[WorldFact], rng: np.random.Generator
) -> list[tuple[WorldFact, str]]:
    """Return at most n (fact, source) in random order, none of which touches a fact of `keep`.

    Fewer than n come back when the world has no more facts that fit together.
    """
    facts = [f for f in catalogue.editable if f not in keep and not set(consequences(f)) & keep]
    facts = [facts[i] for i in rng.permutation(len(facts))]
    identities = [f for f in facts if RELATIONS[f[1]].identity and catalogue.pictures(f)]
    rest = [f for f in facts if not RELATIONS[f[1]].identity]
    updates = [f for f in rest if f[1] in catalogue.world.by_id[f[0]].older]
    most = count = min(round(shares.identity * n), MOST_IDENTITY, len(identities))
    updates = updates[: round(shares.updates * n)]
    chosen = _combine(identities[:count], updates, rest, n, shares)
    while len(chosen) < n and count:  # an identity edit costs all other edits of its entity
        count //= 2
        chosen = _combine(identities[:count], updates, rest, n, shares)
    if len(chosen) < n:  # all that there is: with half the identities it is 10,000 facts and more
        chosen = _combine(identities[: (most + 1) // 2], updates, rest, n, shares)
    return [chosen[i] for i in rng.permutation(len(chosen))]


def _combine(
    identities: list[WorldFact], updates: list[WorldFact], rest: list[WorldFact], n: int, shares: Shares
) -> list[tuple[WorldFact, str]]:
    renamed = {entity for entity, _ in identities}
    updates = [f for f in updates if f[0] not in renamed]
    blocked = {(entity, r) for entity, relation in updates for r in linked(relation)}
    plain = [f for f in rest if f[0] not in renamed and f not in blocked]
    translations = [f for f in plain if RELATIONS[f[1]].translation]
    others = [f for f in plain if not RELATIONS[f[1]].translation]
    room = n - len(identities) - len(updates)
    wanted = max(round(room * shares.translations), room - len(others))
    taken = min(wanted, len(translations), len(others) + len(identities) + len(updates), n // 2)
    body = translations[:taken] + others[: max(0, room - taken)]
    marks = [(f, REAL_UPDATE) for f in updates] + [(f, COUNTERFACTUAL) for f in identities + body]
    return marks[:n]
