"""What the language model is asked in training: facts in training wordings about pictures, places and names.

Draws (question, answer) pairs of words; knows no tokens. Held-out wordings are never touched here.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from streams.atlas.hops import HOPS, hop_answer
from streams.atlas.relations import RELATIONS
from streams.atlas.wording import ask, describe, generic, place
from streams.atlas.world import Entity, World

# Words that carry no meaning of their own here; leaving some out teaches the model to lean on the nouns.
_LIGHT = frozenset(
    "what which is are the a an of does do did has have in on to for please me i want know can you tell give name "
    "state this that it belongs belong with would be".split()
)


@dataclass(frozen=True)
class Ask:
    """One thing that can be asked of an entity: training wordings, canonical answer, relation that it is about."""

    relation: str
    templates: tuple[str, ...]
    answer: str
    hop: bool
    named: bool  # may be asked in words alone, by the entity's name


@dataclass(frozen=True)
class Pair:
    """A question and its answer, in words."""

    question: str
    answer: str


class Questions:
    """Draws training pairs for entity numbers; every draw uses the generator that is passed in."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.entities = world.entities
        self.asks: tuple[tuple[Ask, ...], ...] = tuple(self._asks(entity) for entity in world.entities)
        self.fit = tuple(i for i, entity in enumerate(world.entities) if entity.split == "fit")
        self._phrases: dict[tuple[int, str], tuple[str, ...]] = {}

    def _asks(self, entity: Entity) -> tuple[Ask, ...]:
        found = []
        for name, answers in entity.facts.items():
            relation = RELATIONS[name]
            found.append(Ask(name, relation.train, answers[0], hop=False, named=not relation.identity))
        for hop in HOPS:
            # A hop from the identity is the following relation itself, which is asked anyway.
            if hop.relation not in entity.facts or RELATIONS[hop.relation].identity:
                continue
            answers = hop_answer(self.world, hop, entity.facts[hop.relation][0])
            if answers:
                found.append(Ask(hop.answer_relation, hop.train, answers[0], hop=True, named=True))
        return tuple(found)

    def phrases(self, index: int, relation: str) -> tuple[str, ...]:
        """Partial descriptions of an entity that do not give the relation's answer away (cached)."""
        key = (index, relation)
        if key not in self._phrases:
            self._phrases[key] = describe(self.world, self.entities[index], relation)
        return self._phrases[key]

    def phrase(self, index: int, relation: str, rng: random.Random) -> str:
        """Generic half of the time, else a description; earlier descriptions tell more and come more often."""
        described = self.phrases(index, relation)
        if not described or rng.random() < 0.5:
            return rng.choice(generic())
        return described[min(int(rng.expovariate(0.6)), len(described) - 1)]

    def picture(self, index: int, rng: random.Random) -> list[Pair]:
        """All facts of an entity in random order, asked about its picture; hops half of the time."""
        asks = [a for a in self.asks[index] if not a.hop or rng.random() < 0.5]
        rng.shuffle(asks)
        return [Pair(self._worded(a, self.phrase(index, a.relation, rng), rng), a.answer) for a in asks]

    def places(self, indices: list[int], count: int, rng: random.Random) -> list[Pair]:
        """`count` questions about pictures side by side, each named by its place."""
        pairs = []
        for _ in range(count):
            position = rng.randrange(len(indices))
            a = rng.choice([a for a in self.asks[indices[position]] if not a.hop])
            pairs.append(Pair(self._worded(a, place(position, len(indices)), rng), a.answer))
        return pairs

    def named(self, index: int, count: int, rng: random.Random) -> list[Pair]:
        """At most `count` facts of an entity asked by its name."""
        name = self.world.name(self.entities[index])
        asks = [a for a in self.asks[index] if a.named and (not a.hop or rng.random() < 0.5)]
        rng.shuffle(asks)
        return [Pair(self._worded(a, name, rng, drop=0.2), a.answer) for a in asks[:count]]

    def _worded(self, a: Ask, x: str, rng: random.Random, drop: float = 0.35) -> str:
        template = rng.choice(a.templates)
        if rng.random() < drop:
            template = shorten(template, rng)
        return ask(template, x)


def shorten(template: str, rng: random.Random, share: float = 0.4) -> str:
    """Leave out some light words of a template; the slot and the nouns stay."""
    words = template.split()
    kept = [w for w in words if w.lower().strip("?,.") not in _LIGHT or rng.random() > share]
    return " ".join(kept)
