"""Puts an edit into a question: which picture, which wording, and how the subject is named. Knows no probe.

Three kinds, logged as `prompt_kind`: `partial` names the subject by a true attribute that is neither the answer nor
edited elsewhere ("this yellow smiling face"), `generic` says "this picture", `text` names it and shows no picture.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass

import numpy as np

from streams.atlas.catalogue import Catalogue, WorldFact
from streams.atlas.relations import RELATIONS
from streams.atlas.wording import describe, generic, worded
from streams.atlas.world import World
from streams.types import ImageRef, Query, digest_of

SHARES = {"partial": 0.5, "generic": 0.3, "text": 0.2}


@dataclass(frozen=True)
class Wording:
    """How an edit asks: kind, rendering ('' without a picture), phrase in the slot, and the template's number."""

    kind: str
    rendering: str
    phrase: str
    template: int


def picture(world: World, *drawings: tuple[str, str]) -> ImageRef:
    """Return the reference of one drawing (entity id, rendering), or of several side by side."""
    digests = [_digest(world, entity, rendering) for entity, rendering in drawings]
    uri = "atlas:" + "+".join(f"{entity}/{rendering}" for entity, rendering in drawings)
    return ImageRef(uri, digests[0] if len(digests) == 1 else digest_of("row", *digests))


@functools.lru_cache(maxsize=1 << 15)
def _digest(world: World, entity: str, rendering: str) -> str:
    return hashlib.sha256(world.image(entity, rendering)).hexdigest()[:16]


def gives_away(text: str, answers: Iterable[str]) -> bool:
    """Return whether a text contains an answer, in any case, even inside a word.

    >>> gives_away("What is the Scarlet bird?", ["Car"])
    True
    """
    folded = text.casefold()
    return any(answer.casefold() in folded for answer in answers if answer)


def mentions(phrase: str, answer: str) -> bool:
    """Return whether a phrase has every word of an answer, as far as word stems (five letters) tell.

    >>> mentions("this African flag", "Africa")
    True
    """
    stems = {w[:5] for w in phrase.casefold().replace("-", " ").split()}
    words = {w[:5] for w in answer.casefold().replace("-", " ").split()}
    return bool(words) and words <= stems


def partials(world: World, fact: WorldFact, edited: Set[WorldFact]) -> tuple[str, ...]:
    """Return descriptions of a fact's entity that stay true: none of them uses another edited fact of it."""
    entity = world.by_id[fact[0]]
    told = [a for r, answers in entity.facts.items() if r == fact[1] or (entity.id, r) in edited for a in answers]
    return tuple(p for p in describe(world, entity, fact[1]) if not any(mentions(p, a) for a in told))


def phrase_for(catalogue: Catalogue, fact: WorldFact, wording: Wording, edited: Set[WorldFact]) -> str:
    """Return an edit's own words for its thing where they are true of another fact's too, else 'this picture'."""
    fits = wording.phrase in generic() or wording.phrase in partials(catalogue.world, fact, edited)
    return wording.phrase if fits else generic()[0]


def question(rng: np.random.Generator, relation: str, x: str, forbidden: Set[str]) -> str | None:
    """Return a random training question of a relation that contains no forbidden answer, or None."""
    templates = RELATIONS[relation].train
    asked = (worded(templates[i], x) for i in rng.permutation(len(templates)))
    return next((q for q in asked if not gives_away(q, forbidden)), None)


def word(
    catalogue: Catalogue,
    fact: WorldFact,
    target: str,
    kinds: Sequence[str],
    edited: Set[WorldFact],
    taken: Set[tuple[str, str]],
    rng: np.random.Generator,
) -> tuple[Wording, Query] | None:
    """Return a wording and its question, of the first kind possible; `taken` are (image digest, prompt) in use.

    None where every possible question is taken or gives the target away.
    """
    world = catalogue.world
    training = catalogue.pictures(fact)
    for kind in kinds:
        phrases, rendering = _phrases(catalogue, fact, kind, edited), ""
        if kind != "text" and training:
            rendering = training[int(rng.integers(len(training)))]
        elif kind != "text":
            continue
        image = picture(world, (fact[0], rendering)) if rendering else None
        first = int(rng.integers(3))
        for phrase in (*phrases[first:], *phrases[:first]):
            templates = RELATIONS[fact[1]].train
            for number in rng.permutation(len(templates))[:8]:
                query = Query(worded(templates[number], phrase), image)
                key = (image.digest if image else "", query.prompt)
                if key not in taken and not gives_away(query.prompt, [target]):
                    return Wording(kind, rendering, phrase, int(number)), query
    return None


def _phrases(catalogue: Catalogue, fact: WorldFact, kind: str, edited: Set[WorldFact]) -> tuple[str, ...]:
    if kind == "text":
        return (catalogue.world.name(catalogue.world.by_id[fact[0]]),) if catalogue.asks_text(fact) else ()
    return generic() if kind == "generic" else partials(catalogue.world, fact, edited)
