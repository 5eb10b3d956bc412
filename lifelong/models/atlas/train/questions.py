"""What the language model is asked in training: facts in training wordings about pictures, places and names.

Draws (question, answer) pairs of words; knows no tokens. Held-out wordings are never touched here.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from lifelong.models.atlas.train.practice import Practice
from streams.atlas.hops import HOPS, hop_answer
from streams.atlas.relations import RELATIONS
from streams.atlas.wording import describe, generic, place, worded
from streams.atlas.world import Entity, World

# Words that carry no meaning of their own here; leaving some out teaches the model to lean on the nouns
# and makes questions shorter.
_LIGHT = frozenset(
    "what which is are the a an of does do did has have in on to for please me i want know can you tell give name "
    "state this that it belongs belong with would be".split()
)


@dataclass(frozen=True)
class Askable:
    """One thing that can be asked of an entity: training wordings, canonical answer, relation that it is about.

    `fact` numbers it when asked about a picture, `fact + 1` when asked by name. `named` and `pictured` say how it
    may be asked.
    """

    relation: str
    templates: tuple[str, ...]
    answer: str
    hop: bool
    named: bool  # may be asked in words alone, by the entity's name
    fact: int
    pictured: bool = True


@dataclass(frozen=True)
class Pair:
    """A question and its answer in words, and the number of the fact (-1: none that is practised)."""

    question: str
    answer: str
    fact: int = -1


AskableChoice = Callable[[Entity, Askable], Askable | None]


class Questions:
    """Draws training pairs for entity numbers; every draw uses the generator that is passed in.

    `chosen` returns what may be asked of an entity in which way, None for what may not (all by default).
    """

    def __init__(self, world: World, chosen: AskableChoice | None = None) -> None:
        self.world, self._chosen = world, chosen or (lambda entity, askable: askable)
        self.entities = world.entities
        self._count = 0
        self.asks: tuple[tuple[Askable, ...], ...] = tuple(self._asks(entity) for entity in world.entities)
        self.practice = Practice(self._count)
        self._phrases: dict[tuple[int, str], tuple[str, ...]] = {}

    def _asks(self, entity: Entity) -> tuple[Askable, ...]:
        found = []
        for name, answers in entity.facts.items():
            relation = RELATIONS[name]
            found.append(Askable(name, relation.train, answers[0], False, not relation.identity, self._number()))
        for hop in HOPS:
            # A hop from the identity is the following relation itself, which is asked anyway.
            if hop.relation not in entity.facts or RELATIONS[hop.relation].identity:
                continue
            answers = hop_answer(self.world, hop, entity.facts[hop.relation][0])
            if answers:
                found.append(Askable(hop.answer_relation, hop.train, answers[0], True, True, self._number()))
        return tuple(a for a in (self._chosen(entity, a) for a in found) if a is not None)

    def _number(self) -> int:
        self._count += 2
        return self._count - 2

    def phrases(self, index: int, relation: str) -> tuple[str, ...]:
        """Partial descriptions of an entity that do not give the relation's answer away (cached)."""
        key = (index, relation)
        if key not in self._phrases:
            self._phrases[key] = describe(self.world, self.entities[index], relation)
        return self._phrases[key]

    def phrase(self, index: int, relation: str, rng: random.Random) -> str:
        """Generic more often than not, else a description; earlier descriptions tell more and come more often."""
        described = self.phrases(index, relation)
        if not described or rng.random() < 0.6:
            return rng.choice(generic())
        return described[min(int(rng.expovariate(0.6)), len(described) - 1)]

    def needy(self, count: int, named: bool, rng: random.Random) -> list[int]:
        """`count` different entities, those with more missed facts more often."""
        return rng.sample(range(len(self.asks)), count) if rng.random() < 0.2 else self._needy(count, named, rng)

    def _needy(self, count: int, named: bool, rng: random.Random) -> list[int]:
        # Of three candidates for each place the neediest is taken: cheap, and nobody is left out for good.
        candidates = rng.sample(range(len(self.asks)), 3 * count)
        chosen = []
        for start in range(0, len(candidates), 3):
            three = candidates[start : start + 3]
            chosen.append(max(three, key=lambda i: (self._need(i, named), i)))
        return chosen

    def _need(self, index: int, named: bool) -> float:
        return sum(self.practice.need(a.fact + named) for a in self.asks[index] if (a.named if named else a.pictured))

    def picture(self, index: int, rng: random.Random) -> list[Pair]:
        """Facts of an entity about its picture, in an order that favours missed ones; hops half of the time."""
        asks = [a for a in self.asks[index] if a.pictured and (not a.hop or rng.random() < 0.5)]
        order = self.practice.order([a.fact for a in asks], rng)
        return [self._pair(asks[i], self.phrase(index, asks[i].relation, rng), rng, False) for i in order]

    def places(self, indices: list[int], count: int, rng: random.Random) -> list[Pair]:
        """`count` questions about pictures side by side, each named by its place."""
        pairs = []
        for _ in range(count):
            position = rng.randrange(len(indices))
            a = rng.choice([a for a in self.asks[indices[position]] if a.pictured and not a.hop])
            pairs.append(Pair(self._worded(a, place(position, len(indices)), rng), a.answer))
        return pairs

    def named(self, index: int, count: int, rng: random.Random) -> list[Pair]:
        """At most `count` facts of an entity asked by its name, missed ones first."""
        name = self.world.name(self.entities[index])
        asks = [a for a in self.asks[index] if a.named and (not a.hop or rng.random() < 0.5)]
        order = self.practice.order([a.fact + 1 for a in asks], rng)
        return [self._pair(asks[i], name, rng, True) for i in order[:count]]

    def _pair(self, a: Askable, x: str, rng: random.Random, named: bool) -> Pair:
        return Pair(self._worded(a, x, rng), a.answer, a.fact + named)

    def _worded(self, a: Askable, x: str, rng: random.Random, drop: float = 0.7) -> str:
        template = rng.choice(a.templates)
        if rng.random() < drop:
            template = shorten(template, rng)
        return worded(template, x)


def shorten(template: str, rng: random.Random, share: float = 0.8) -> str:
    """Leave out some light words of a template; the slot and the nouns stay."""
    words = template.split()
    kept = [w for w in words if w.lower().strip("?,.") not in _LIGHT or rng.random() > share]
    return " ".join(kept)
