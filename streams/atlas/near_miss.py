"""Questions just outside an edit's scope: what is nearest to it and not meant by it. Knows the catalogue, no model.

Each asks as the edit does, as far as that stays true: its sentence about the thing that looks most like the edited
one, or after an edit by name is spelt most like it (`near`); about a thing that is spelt like it (`text`); and
another fact of its picture or its name in the words most like its own (`same-image`, `same-subject`). Candidates come
best first; whoever uses them leaves out what would tell an answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Set

from streams.atlas.catalogue import Catalogue, WorldFact
from streams.atlas.looks import difference
from streams.atlas.prompts import Wording, phrase_for, picture
from streams.atlas.relations import RELATIONS
from streams.atlas.targets import tied
from streams.atlas.wording import worded
from streams.orders.near_subjects import letters
from streams.types import Edit, Query

TRIES = 5  # candidates of each variant
Candidate = tuple[str, WorldFact, Query]
"""The locality variant, the fact that is asked about, and the question."""


def near_misses(
    catalogue: Catalogue, edit: Edit, wording: Wording, edited: Set[WorldFact], free: Callable[[WorldFact], bool]
) -> Iterator[Candidate]:
    """Yield candidates of each variant; `free` facts of the reserve are those that no edit touches."""
    template = RELATIONS[edit.relation].train[wording.template]
    domain = catalogue.world.by_id[edit.subject].domain
    if wording.rendering:
        alike = catalogue.near.get(("relation", domain, edit.relation), ())
        drawings = [(f, r) for f in alike if free(f) for r in catalogue.pictures(f)]
        shown = (edit.subject, wording.rendering)
        drawings.sort(key=lambda d: (difference(catalogue.world, (d[0][0], d[1]), shown), d))
        for fact, rendering in drawings[:TRIES]:
            text = worded(template, phrase_for(catalogue, fact, wording, edited))
            yield "near", fact, Query(text, picture(catalogue.world, (fact[0], rendering)))
    variants = ("text",) if wording.rendering else ("near", "text")
    names = iter(nearest_names(catalogue, edit, free, TRIES * len(variants)))
    for variant in variants:
        for _, fact in zip(range(TRIES), names, strict=False):
            yield variant, fact, Query(worded(template, catalogue.world.name(catalogue.world.by_id[fact[0]])))
    yield from _same_thing(catalogue, edit, wording, edited)


def nearest_names(
    catalogue: Catalogue, edit: Edit, free: Callable[[WorldFact], bool], most: int = TRIES
) -> tuple[WorldFact, ...]:
    """Return free facts of the edit's relation that are asked by name, those of things spelt most like its first."""
    world = catalogue.world
    alike = [f for f in catalogue.named.get(edit.relation, ()) if f[0] != edit.subject and free(f)]
    mine = letters(world.name(world.by_id[edit.subject]))
    likeness = {f: float(letters(world.name(world.by_id[f[0]])) @ mine) for f in alike}
    return tuple(sorted(alike, key=lambda f: (-likeness[f], f))[:most])


def likest(fact: WorldFact, x: str, edit: Edit) -> list[str]:
    """Return the training questions of a fact about `x`, those whose words are most like the edit's first."""
    words = letters(edit.query.prompt)
    asked = [worded(template, x) for template in RELATIONS[fact[1]].train]
    return sorted(asked, key=lambda text: (-float(letters(text) @ words), text))


def _same_thing(catalogue: Catalogue, edit: Edit, wording: Wording, edited: Set[WorldFact]) -> Iterator[Candidate]:
    """Yield other facts of the edited thing that its edit says nothing of, asked as the edit is."""
    words, world = letters(edit.query.prompt), catalogue.world
    asked: list[tuple[WorldFact, str]] = []
    for fact in catalogue.near.get(("entity", edit.subject), ()):
        known = wording.rendering in catalogue.pictures(fact) if wording.rendering else catalogue.asks_text(fact)
        if known and not tied(fact[1], edit.relation):
            by_name = world.name(world.by_id[edit.subject])
            x = phrase_for(catalogue, fact, wording, edited) if wording.rendering else by_name
            asked += [(fact, text) for text in likest(fact, x, edit)[:TRIES]]
    asked.sort(key=lambda pair: (-float(letters(pair[1]) @ words), pair))
    for fact, text in asked[:TRIES]:
        yield "same-image" if wording.rendering else "same-subject", fact, Query(text, edit.query.image)
