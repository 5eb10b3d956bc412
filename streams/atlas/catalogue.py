"""Which facts of a split may be edited, and which are kept for locality: knows entities, splits and the known table.

A fact is (entity id, relation); its role (`World.role`) says what it is for. Of split 'edit' some facts are edited
and others asked for locality. Those of splits 'tune' and 'train' may be both: of a stream no locality question is
about a fact that it touches, and a training item stands by itself. What the embedded model was told in training is
edited and asked of split 'train' only, all of whose facts were.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np

from streams.atlas.hops import HOPS
from streams.atlas.known import Known
from streams.atlas.relations import IDENTITY, RELATIONS
from streams.atlas.world import Entity, World

WorldFact = tuple[str, str]
_EDITED = {"edit": "edited", "tune": "edited", "train": "told"}  # the role of the facts of a split that are edited
_RESERVED = _EDITED | {"edit": "kept"}  # and of those that are asked for locality
_T = TypeVar("_T")


def consequences(fact: WorldFact) -> tuple[WorldFact, ...]:
    """Return the facts of the same entity that an edit of this one may change: what a second step derives."""
    entity, relation = fact
    if RELATIONS[relation].identity:
        return tuple((entity, r.name) for r in RELATIONS.values() if r.follows_identity)
    return tuple((entity, hop.answer_relation) for hop in HOPS if hop.relation == relation)


def pick(rng: np.random.Generator, items: Sequence[_T], fits: Callable[[_T], bool] = lambda _: True) -> _T | None:
    """Return a random item that fits, or None: a few random looks, then one pass from a random place."""
    if not items:
        return None
    for _ in range(8):
        item = items[int(rng.integers(len(items)))]
        if fits(item):
            return item
    start = int(rng.integers(len(items)))
    return next((i for i in (*items[start:], *items[:start]) if fits(i)), None)


@dataclass(frozen=True)
class Catalogue:
    """The facts of one split ('edit', 'tune' or 'train') of a world, as far as a model knows them."""

    world: World
    known: Known
    split: str

    @cached_property
    def entities(self) -> tuple[Entity, ...]:
        """The entities of the split."""
        return tuple(e for e in self.world.entities if e.split == self.split)

    @cached_property
    def donors(self) -> dict[str, tuple[Entity, ...]]:
        """The entities whose answers may become new answers, by their domain.

        Those of the split; for split 'train' all: what is false of such an entity tells nothing about another, and
        who learns to write answers must have met the words of all of them.
        """
        found = self.world.entities if self.split == "train" else self.entities
        return {d: tuple(e for e in found if e.domain == d) for d in IDENTITY}

    def pictures(self, fact: WorldFact) -> tuple[str, ...]:
        """Return the renderings seen in training on which the fact is known."""
        training = self.world.by_id[fact[0]].training
        return tuple(r for r in self.known.pictures(*fact) if r in training)

    def asks_text(self, fact: WorldFact) -> bool:
        """Return whether the fact can be asked by name, and is known that way."""
        return not RELATIONS[fact[1]].identity and self.known.text(*fact)

    @cached_property
    def _holders(self) -> dict[tuple[str, str], list[str]]:
        found: dict[tuple[str, str], list[str]] = defaultdict(list)
        for relation in RELATIONS:
            for entity, answer in self.world.answers(relation):
                found[relation, answer].append(entity)
        return found

    def holders(self, relation: str, answer: str) -> Sequence[str]:
        """Return the ids of all entities whose canonical answer of a relation this is."""
        return self._holders.get((relation, answer), ())

    @cached_property
    def editable(self) -> tuple[WorldFact, ...]:
        """Known facts that may be edited, in the order of the world."""
        return tuple(f for f in self._having(_EDITED[self.split]) if self.pictures(f) or self.asks_text(f))

    @cached_property
    def reserve(self) -> tuple[WorldFact, ...]:
        """Facts that may be asked for locality, in the order of the world: every such question is drawn from here."""
        return tuple(self._having(_RESERVED[self.split]))

    def _having(self, role: str) -> Iterator[WorldFact]:
        facts = ((e.id, r) for e in self.entities for r in e.facts)
        return (f for f in facts if self.world.role(*f) == role)

    @cached_property
    def reserve_text(self) -> tuple[WorldFact, ...]:
        """Facts of the reserve that can be asked without a picture."""
        return tuple(f for f in self.reserve if self.asks_text(f))

    @cached_property
    def named(self) -> dict[str, tuple[WorldFact, ...]]:
        """The facts of the reserve that can be asked without a picture, by their relation."""
        found: dict[str, list[WorldFact]] = defaultdict(list)
        for fact in self.reserve_text:
            found[fact[1]].append(fact)
        return {relation: tuple(facts) for relation, facts in found.items()}

    @cached_property
    def reserve_picture(self) -> tuple[WorldFact, ...]:
        """Facts of the reserve that can be asked about a picture."""
        return tuple(f for f in self.reserve if self.pictures(f))

    @cached_property
    def near(self) -> dict[tuple[str, ...], tuple[WorldFact, ...]]:
        """Picture facts of the reserve by ("domain", d), ("subgroup", d, s), ("near", d, s, relation) and so on."""
        index: dict[tuple[str, ...], list[WorldFact]] = defaultdict(list)
        for fact in self.reserve_picture:
            entity = self.world.by_id[fact[0]]
            for key in (
                ("domain", entity.domain),
                ("relation", entity.domain, fact[1]),
                ("subgroup", entity.domain, entity.subgroup),
                ("near", entity.domain, entity.subgroup, fact[1]),
                ("entity", entity.id),
            ):
                index[key].append(fact)
        return {key: tuple(facts) for key, facts in index.items()}
