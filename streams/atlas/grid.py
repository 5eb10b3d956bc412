"""The grid of an edit about a picture: a question's words and its picture are each the edit's own, similar, unrelated
or (the picture) none. Knows the catalogue, no model.

A picture is similar when it shows another thing of the subgroup, unrelated when of another group. Words are similar
when they ask another fact in the likest sentence (without a picture: the same fact, of a thing spelt alike), and
unrelated when they ask by name for what the pictured thing does not have. An edit by name has no grid: where a name
meets the picture of another thing, no right answer is sure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass

import numpy as np

from streams.atlas.catalogue import Catalogue, WorldFact, pick
from streams.atlas.near_miss import likest, nearest_names
from streams.atlas.prompts import Wording, phrase_for, picture, question
from streams.atlas.relations import RELATIONS
from streams.atlas.targets import tied
from streams.atlas.wording import generic, worded
from streams.atlas.world import Entity
from streams.types import Edit, ImageRef, Query

_TRIES = 4  # at a thing or a fact for a cell
CellQuestion = tuple[Query, tuple[str, ...], bool]
"""A question, its answers, and whether the answer should stay what it was."""


@dataclass(frozen=True)
class EditGrid:
    """The questions of one edit's cells; `edited` are the stream's facts, `free` those that no edit touches."""

    catalogue: Catalogue
    edit: Edit
    wording: Wording
    edited: Set[WorldFact]
    free: Callable[[WorldFact], bool]
    rng: np.random.Generator

    def cell(self, name: str) -> Iterator[CellQuestion]:
        """Yield candidates for a cell such as `text-similar/image-none`."""
        text, image = (side.partition("-")[2] for side in name.split("/"))
        if text == "edit":
            yield from self._edits_words(image)
        elif text == "similar":
            yield from self._similar_words(image)
        else:
            yield from self._unrelated_words(image)

    @property
    def _thing(self) -> Entity:
        return self.catalogue.world.by_id[self.edit.subject]

    def _edits_words(self, image: str) -> Iterator[CellQuestion]:
        edit, template = self.edit, RELATIONS[self.edit.relation].train[self.wording.template]
        if image == "edit":
            yield edit.query, (edit.target,), False
        elif image == "none":  # nobody can tell what is meant: the relation's commonest answer stands for the truth
            yield Query(worded(template, generic()[0])), (self._commonest(edit.relation),), True
        else:
            for fact in self._others(image, lambda f: f[1] == edit.relation):
                x = phrase_for(self.catalogue, fact, self.wording, self.edited)
                yield Query(worded(template, x), self._drawing(fact)), self._truth(fact), True

    def _similar_words(self, image: str) -> Iterator[CellQuestion]:
        if image == "none":
            template = RELATIONS[self.edit.relation].train[self.wording.template]
            for fact in nearest_names(self.catalogue, self.edit, self.free):
                yield Query(worded(template, self._name(fact))), self._truth(fact), True
            return
        if image == "edit":
            own = [f for f in self.catalogue.near.get(("entity", self.edit.subject), ()) if self._other(f)]
            facts: Sequence[WorldFact] = [own[int(i)] for i in self.rng.permutation(len(own))]
        else:
            facts = list(self._others(image, lambda f: f[1] != self.edit.relation))
        for fact in facts:
            shown = self.edit.query.image if image == "edit" else self._drawing(fact)
            yield from ((Query(t, shown), self._truth(fact), True) for t in likest(fact, generic()[0], self.edit)[:2])

    def _unrelated_words(self, image: str) -> Iterator[CellQuestion]:
        here = self._thing.domain
        if image == "unrelated":
            for fact in self._others(image, lambda f: not tied(f[1], self.edit.relation)):
                text = question(self.rng, fact[1], generic()[0], {*self._truth(fact), self.edit.target})
                if text:
                    yield Query(text, self._drawing(fact)), self._truth(fact), True
            return
        named = self.catalogue.named.items()  # of the other domain, in a relation that this one does not have
        elsewhere = [f for relation, facts in named if here not in RELATIONS[relation].domains for f in facts]
        for _ in range(_TRIES):
            fact = pick(self.rng, elsewhere, self.free)
            text = fact and question(self.rng, fact[1], self._name(fact), {*self._truth(fact), self.edit.target})
            shown = self._picture_of(image)
            if fact and text and (shown or image == "none"):
                yield Query(text, shown), self._truth(fact), True

    def _other(self, fact: WorldFact) -> bool:
        """Whether a fact of the edited thing is one that its edit says nothing of, and no other edit either."""
        return (
            self.wording.rendering in self.catalogue.pictures(fact)
            and self.free(fact)
            and not tied(fact[1], self.edit.relation)
        )

    def _others(self, image: str, fits: Callable[[WorldFact], bool]) -> Iterator[WorldFact]:
        """Yield some free facts of similar or unrelated things, drawn by chance."""
        thing, world = self._thing, self.catalogue.world
        key = ("subgroup", thing.domain, thing.subgroup) if image == "similar" else ("domain", thing.domain)

        def chosen(fact: WorldFact) -> bool:
            other = world.by_id[fact[0]]
            apart = image == "similar" or _group(other) != _group(thing)
            return apart and other.id != thing.id and fits(fact) and self.free(fact)

        for _ in range(_TRIES):
            fact = pick(self.rng, self.catalogue.near.get(key, ()), chosen)
            if fact:
                yield fact

    def _picture_of(self, image: str) -> ImageRef | None:
        """A picture for words that have nothing to do with it: the edit's or a similar one."""
        if image == "none":
            return None
        if image == "edit":
            return self.edit.query.image
        thing = self._thing
        alike = [e for e in self.catalogue.entities if e.subgroup == thing.subgroup and e.domain == thing.domain]
        other = pick(self.rng, alike, lambda e: e.id != thing.id and bool(e.training))
        rendering = pick(self.rng, other.training) if other else None
        return picture(self.catalogue.world, (other.id, rendering)) if other and rendering else None

    def _drawing(self, fact: WorldFact) -> ImageRef | None:
        rendering = pick(self.rng, self.catalogue.pictures(fact))
        return picture(self.catalogue.world, (fact[0], rendering)) if rendering else None

    def _name(self, fact: WorldFact) -> str:
        return self.catalogue.world.name(self.catalogue.world.by_id[fact[0]])

    def _truth(self, fact: WorldFact) -> tuple[str, ...]:
        return self.catalogue.world.by_id[fact[0]].facts[fact[1]]

    def _commonest(self, relation: str) -> str:
        return Counter(answer for _, answer in self.catalogue.world.answers(relation)).most_common(1)[0][0]


def _group(entity: Entity) -> str:
    """What a thing is of in the widest sense: the group of an emoji, the continent of a flag."""
    return entity.facts.get("group", (entity.subgroup,))[0]
