"""The edited fact asked in another form than it was told in: by its name, by its picture, or with a not.

An edit tells its fact by a name, by a picture, or by both: a picture and words that name it in part. Every question
keeps the edit's own sentence where it can. Candidates come best first; whoever uses them leaves out what would tell
an answer. Knows the catalogue, no model.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from streams.atlas.catalogue import Catalogue
from streams.atlas.prompts import Wording, picture
from streams.atlas.relations import RELATIONS
from streams.atlas.wording import generic, worded
from streams.types import Edit, ImageRef, Query

ASKED_BY = {"text": "name", "generic": "picture", "partial": "both"}
"""Kind of a prompt -> what it tells its fact by."""


def other_halves(
    catalogue: Catalogue, edit: Edit, wording: Wording, rng: np.random.Generator
) -> Iterator[tuple[str, Query]]:
    """Yield questions that ask the fact by the other half, or by one half, of what told it, each with its variant."""
    told, fact = ASKED_BY[wording.kind], (edit.subject, edit.relation)
    if told == "name":
        image = _known_picture(catalogue, edit, rng)
        if image is not None:
            yield from (("name-to-picture", Query(text, image)) for text in _sentences(edit, wording, generic()[:4]))
        return
    if catalogue.asks_text(fact):
        yield from ((f"{told}-to-name", Query(text)) for text in _sentences(edit, wording, _name(catalogue, edit)))
    if told == "both":
        yield from (("both-to-picture", Query(t, edit.query.image)) for t in _sentences(edit, wording, generic()[:4]))


def negated(edit: Edit, wording: Wording) -> Query:
    """Return the question what is *not* the answer: all but the edit's is right, the answer before it too."""
    template = RELATIONS[edit.relation].train[0].replace("What is", "What is not", 1)
    return Query(worded(template, wording.phrase), edit.query.image)


def contested(
    catalogue: Catalogue, edit: Edit, wording: Wording, rng: np.random.Generator
) -> Iterator[tuple[str, Query]]:
    """Yield questions on a fact that two edits answer, in the modality of this one and in words of neither."""
    variant = "by-name" if wording.kind == "text" else "by-picture"
    x = wording.phrase if wording.kind == "text" else generic()[0]
    templates = RELATIONS[edit.relation].train
    for i in rng.permutation(len(templates)):
        if i != wording.template:
            yield variant, Query(worded(templates[i], x), edit.query.image)


def _sentences(edit: Edit, wording: Wording, phrases: tuple[str, ...]) -> Iterator[str]:
    """Yield the edit's sentence about each phrase, then the relation's other ones."""
    templates = RELATIONS[edit.relation].train
    for template in (templates[wording.template], *templates):
        yield from (worded(template, x) for x in phrases)


def _name(catalogue: Catalogue, edit: Edit) -> tuple[str, ...]:
    return (catalogue.world.name(catalogue.world.by_id[edit.subject]),)


def _known_picture(catalogue: Catalogue, edit: Edit, rng: np.random.Generator) -> ImageRef | None:
    drawings = catalogue.pictures((edit.subject, edit.relation))
    return picture(catalogue.world, (edit.subject, drawings[int(rng.integers(len(drawings)))])) if drawings else None
