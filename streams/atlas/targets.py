"""New answers for facts: another entity's answer of the same relation, so that nothing contradicts anything else.

Relations that a second step links (capital, continent, currency ...) take their new answers from one and the same
other entity, the donor, which differs from the subject in all of them. Two edits of one subject then agree with each
other, and a second step always has a new answer. `tied` says which facts of one thing bear on each other. Knows no
wording.
"""

from __future__ import annotations

import functools

from streams.atlas.catalogue import Catalogue, WorldFact, pick
from streams.atlas.hops import HOPS
from streams.atlas.relations import RELATIONS
from streams.atlas.world import Entity
from streams.orders.order import generator

_CLASSES = frozenset({"group", "subgroup", "kind_of", "kind_of2"})  # a narrower one tells the wider ones


@functools.cache
def linked(relation: str) -> tuple[str, ...]:
    """Return the relations that second steps link with this one, itself included, sorted.

    >>> "currency_code" in linked("currency")
    True
    """
    if RELATIONS[relation].identity:
        return (relation,)
    pairs = [(h.relation, h.answer_relation) for h in HOPS if not RELATIONS[h.relation].identity]
    found, size = {relation}, 0
    while len(found) > size:
        size = len(found)
        found |= {name for pair in pairs if found & set(pair) for name in pair}
    return tuple(sorted(found))


def tied(one: str, other: str) -> bool:
    """Return whether two facts of one thing bear on each other, so that an edit of one says something of the other.

    Those are relations that second steps link, in both directions and over several steps; those of what a thing is a
    kind of; and what a thing is with all that follows from it. Names in other languages stand each for itself.

    >>> tied("region", "continent"), tied("group", "kind_of"), tied("capital", "country"), tied("name_fr", "name_de")
    (True, True, True, False)
    """
    if other in linked(one) or {one, other} <= _CLASSES:
        return True
    pairs = ((RELATIONS[one], RELATIONS[other]), (RELATIONS[other], RELATIONS[one]))
    return any(a.identity and b.follows_identity and set(a.domains) & set(b.domains) for a, b in pairs)


def target(catalogue: Catalogue, fact: WorldFact, seed: int, version: int = 0) -> str | None:
    """Return the counterfactual answer of a fact, or None where no other entity has a different one.

    `version` > 0 gives the answers of re-edits. Equal (seed, fact, version) give equal answers.
    """
    entity, relation = catalogue.world.by_id[fact[0]], fact[1]
    group = tuple(r for r in linked(relation) if r in entity.facts)
    rng = generator(seed, "atlas", "donor", entity.id, ",".join(group), str(version))
    donor = pick(rng, catalogue.donors[entity.domain], lambda d: _differs(entity, d, group))
    return None if donor is None else donor.facts[relation][0]


def _differs(entity: Entity, donor: Entity, relations: tuple[str, ...]) -> bool:
    if donor.id == entity.id:
        return False
    for relation in relations:
        if relation not in donor.facts:
            return False
        mine = {a.casefold() for a in (*entity.facts[relation], entity.older.get(relation, ""))}
        if donor.facts[relation][0].casefold() in mine or len(donor.facts[relation][0]) < 2:
            return False
    return True
