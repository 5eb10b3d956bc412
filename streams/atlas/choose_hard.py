"""Which facts streams of hard orders edit: many of one narrow kind, or many of one drawing. Knows no wording.

All that there are come back, in piles of which a stream edits the first ones. No identity is among them, since its
edit excludes every other one of its entity.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field

import numpy as np

from streams.atlas.catalogue import Catalogue, WorldFact, consequences
from streams.atlas.relations import RELATIONS

_LEAST = 3  # facts that make a pile worth taking
MOST_NAMES = 2  # translations of one entity


@dataclass(frozen=True)
class OneDrawing(Catalogue):
    """A catalogue that shows every entity in one drawing only, and asks nothing without it."""

    drawings: Mapping[str, str] = field(default_factory=dict)

    def pictures(self, fact: WorldFact) -> tuple[str, ...]:
        """Return the one drawing of the fact's entity, where the fact is known on it."""
        known = super().pictures(fact)
        return tuple(r for r in known if r == self.drawings.get(fact[0]))

    def asks_text(self, fact: WorldFact) -> bool:
        """Return False: without the drawing nothing is asked."""
        return False


def choose_alike(
    catalogue: Catalogue, translations: float, keep: Set[WorldFact], rng: np.random.Generator
) -> list[list[WorldFact]]:
    """Return all piles of one relation over one subgroup, in an order in which a share are `translations`."""
    piles: dict[tuple[str, ...], list[WorldFact]] = {}
    for fact in _open(catalogue, keep):
        entity = catalogue.world.by_id[fact[0]]
        piles.setdefault((entity.domain, entity.subgroup, fact[1]), []).append(fact)
    names = _drawn([pile for key, pile in sorted(piles.items()) if RELATIONS[key[2]].translation], rng)
    others = _drawn([pile for key, pile in sorted(piles.items()) if not RELATIONS[key[2]].translation], rng)
    found: list[list[WorldFact]] = []
    total = named = 0
    while others or names:
        named_next = bool(names) and (not others or named < translations * total)
        found.append(names.pop(0) if named_next else others.pop(0))
        total += len(found[-1])
        named += len(found[-1]) if named_next else 0
    return found


def choose_pictured(
    catalogue: Catalogue, keep: Set[WorldFact], rng: np.random.Generator
) -> tuple[list[list[WorldFact]], OneDrawing]:
    """Return piles of facts, each of one entity and all known on one drawing of it; and these drawings."""
    facts: dict[str, list[WorldFact]] = {}
    for fact in _open(catalogue, keep):
        facts.setdefault(fact[0], []).append(fact)
    piles, drawings = [], {}
    for entity, own in facts.items():
        shown = sorted({r for f in own for r in catalogue.pictures(f)})
        if not shown:
            continue
        drawing = max(shown, key=lambda r: sum(r in catalogue.pictures(f) for f in own))
        own = [f for f in own if drawing in catalogue.pictures(f)]
        names = [f for f in own if RELATIONS[f[1]].translation][:MOST_NAMES]
        pile = [f for f in own if not RELATIONS[f[1]].translation] + names
        piles.append([pile[int(i)] for i in rng.permutation(len(pile))])
        drawings[entity] = drawing
    return _drawn(piles, rng), OneDrawing(catalogue.world, catalogue.known, catalogue.split, drawings)


def _open(catalogue: Catalogue, keep: Set[WorldFact]) -> list[WorldFact]:
    """Return the facts that may be edited beside each other."""
    plain = (f for f in catalogue.editable if not RELATIONS[f[1]].identity)
    return [f for f in plain if f not in keep and not set(consequences(f)) & keep]


def _drawn(piles: Sequence[list[WorldFact]], rng: np.random.Generator) -> list[list[WorldFact]]:
    """Return the piles in a random order; small ones come last."""
    return sorted((piles[int(i)] for i in rng.permutation(len(piles))), key=lambda pile: len(pile) < _LEAST)
