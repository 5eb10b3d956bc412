"""The general set: about a hundred facts that no edit of any stream concerns, the same for every seed and length."""

from __future__ import annotations

from collections import defaultdict

from streams.atlas.catalogue import Catalogue, WorldFact
from streams.atlas.prompts import picture
from streams.atlas.relations import RELATIONS
from streams.atlas.wording import generic, worded
from streams.orders.order import generator
from streams.types import Probe, Query, probe_with_id

PICTURES, TEXTS = 60, 40


def general_set(catalogue: Catalogue) -> tuple[tuple[Probe, ...], frozenset[WorldFact]]:
    """Return probes of known facts of the reserve, evenly over relations, and the facts that they ask."""
    pictures = _spread(catalogue.reserve_picture, PICTURES, "picture")
    used = set(pictures)
    texts = _spread(tuple(f for f in catalogue.reserve_text if f not in used), TEXTS, "text")
    probes = [_probe(catalogue, f, picture_too=True) for f in pictures]
    probes += [_probe(catalogue, f, picture_too=False) for f in texts]
    return tuple(probes), frozenset((*pictures, *texts))


def _spread(facts: tuple[WorldFact, ...], n: int, name: str) -> list[WorldFact]:
    rng = generator(0, "atlas", "general", name)
    piles: dict[str, list[WorldFact]] = defaultdict(list)
    for i in rng.permutation(len(facts)):
        piles[facts[i][1]].append(facts[i])
    order = [r for r in RELATIONS if r in piles]
    chosen: list[WorldFact] = []
    while order and len(chosen) < n:
        for relation in [r for r in order if piles[r]][: n - len(chosen)]:
            chosen.append(piles[relation].pop())
        order = [r for r in order if piles[r]]
    return chosen


def _probe(catalogue: Catalogue, fact: WorldFact, *, picture_too: bool) -> Probe:
    world, entity = catalogue.world, catalogue.world.by_id[fact[0]]
    template = RELATIONS[fact[1]].train[0]
    answers = entity.facts[fact[1]]
    if picture_too:
        query = Query(worded(template, generic()[0]), picture(world, (entity.id, catalogue.pictures(fact)[0])))
    else:
        query = Query(worded(template, world.name(entity)))
    modality = "image" if picture_too else "text"
    return probe_with_id(Probe("", "", "general", modality, modality, query, answers[0], "baseline", answers[1:]))
