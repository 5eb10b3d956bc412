"""Questions just outside an edit's scope: what is nearest to it and not meant by it. Knows the catalogue, no model.

Each asks as the edit does, as far as that stays true: its sentence about the thing that looks most like the edited
one (`near`) or whose name is spelt most like its name (`text`), and another fact of its picture in the words most
like its own (`same-image`). Candidates come best first; whoever uses them leaves out what would tell an answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Set

from streams.atlas.catalogue import Catalogue, WorldFact
from streams.atlas.looks import difference
from streams.atlas.prompts import Wording, partials, picture
from streams.atlas.relations import RELATIONS
from streams.atlas.wording import generic, worded
from streams.order_near import letters
from streams.types import Edit, Query

TRIES = 5  # candidates of each variant
Candidate = tuple[str, WorldFact, Query]
"""The locality variant, the fact that is asked about, and the question."""


def near_misses(
    catalogue: Catalogue, edit: Edit, wording: Wording, edited: Set[WorldFact], free: Callable[[WorldFact], bool]
) -> Iterator[Candidate]:
    """Yield candidates of each variant; `free` facts of the reserve are those that no edit touches."""
    templates = RELATIONS[edit.relation].train
    template = templates[wording.template]
    domain = catalogue.world.by_id[edit.subject].domain
    if wording.rendering:
        alike = catalogue.near.get(("relation", domain, edit.relation), ())
        drawings = [(f, r) for f in alike if free(f) for r in catalogue.pictures(f)]
        shown = (edit.subject, wording.rendering)
        drawings.sort(key=lambda d: (difference(catalogue.world, (d[0][0], d[1]), shown), d))
        for fact, rendering in drawings[:TRIES]:
            text = worded(template, _phrase(catalogue, fact, wording, edited))
            yield "near", fact, Query(text, picture(catalogue.world, (fact[0], rendering)))
    alike = [f for f in catalogue.reserve_text if f[1] == edit.relation and f[0] != edit.subject and free(f)]
    names = {f: catalogue.world.name(catalogue.world.by_id[f[0]]) for f in alike}
    mine = letters(catalogue.world.name(catalogue.world.by_id[edit.subject]))
    for fact in sorted(alike, key=lambda f: (-float(letters(names[f]) @ mine), f))[:TRIES]:
        yield "text", fact, Query(worded(template, names[fact]))
    if wording.rendering:
        yield from _same_image(catalogue, edit, wording, edited)


def _same_image(catalogue: Catalogue, edit: Edit, wording: Wording, edited: Set[WorldFact]) -> Iterator[Candidate]:
    words = letters(edit.query.prompt)
    asked = [
        (fact, worded(template, _phrase(catalogue, fact, wording, edited)))
        for fact in catalogue.near.get(("entity", edit.subject), ())
        if fact[1] != edit.relation and wording.rendering in catalogue.pictures(fact)
        for template in RELATIONS[fact[1]].train
    ]
    asked.sort(key=lambda pair: (-float(letters(pair[1]) @ words), pair))
    for fact, text in asked[:TRIES]:
        yield "same-image", fact, Query(text, edit.query.image)


def _phrase(catalogue: Catalogue, fact: WorldFact, wording: Wording, edited: Set[WorldFact]) -> str:
    """The edit's own words for its thing where they are true of the other one as well, else 'this picture'."""
    fits = wording.phrase in generic() or wording.phrase in partials(catalogue.world, fact, edited)
    return wording.phrase if fits else generic()[0]
