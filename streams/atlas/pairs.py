"""Pairs of a visual and a textual edit, and the question that needs both: what MemEIC asks, in the atlas world.

The visual edit says that a picture of A shows B; the textual one tells another fact of B by its name. Asked about the
picture of A, that fact is what the textual edit says: neither edit alone gives it. Knows no order of a stream.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from streams.atlas.catalogue import Catalogue, WorldFact
from streams.atlas.choose import COUNTERFACTUAL
from streams.atlas.prompts import Wording, gives_away, question, word
from streams.atlas.relations import IDENTITY, RELATIONS
from streams.atlas.targets import target
from streams.atlas.wording import generic
from streams.orders.order import generator, with_id
from streams.types import Edit, Probe, Query, probe_with_id

PAIRS = "pairs"
"""The order of the atlas's edits in which they come in pairs, the visual one first."""


@dataclass(frozen=True)
class EditPair:
    """Two edits with their wordings, and the question that needs both; its answer is the textual edit's."""

    visual: Edit
    textual: Edit
    wordings: tuple[Wording, Wording]
    question: Query

    @property
    def facts(self) -> tuple[WorldFact, WorldFact]:
        """The facts that the two edit."""
        return (self.visual.subject, self.visual.relation), (self.textual.subject, self.textual.relation)

    def probe(self) -> Probe:
        """Return the question as a probe of the textual edit."""
        edit = self.textual
        return probe_with_id(
            Probe("", edit.id, "compositional", "both", "image", self.question, edit.target, "target", (), 1)
        )


def edit_pairs(catalogue: Catalogue, facts: Iterable[WorldFact], seed: int) -> list[EditPair]:
    """Return all pairs that can be made of facts, in their order: one of what a thing is, and one told by a name.

    A picture is in one pair only, and so is a thing that is told about. The model knows what is asked of the picture.
    """
    chosen = list(facts)
    pictures = [fact for fact in chosen if RELATIONS[fact[1]].identity]
    told = [fact for fact in chosen if not RELATIONS[fact[1]].identity and catalogue.asks_text(fact)]
    edited, taken, named = frozenset(chosen), set[tuple[str, str]](), set[str]()
    found = []
    for fact in told:
        if fact[0] in named:
            continue
        for place, shown in enumerate(pictures):
            pair = _pair(catalogue, shown, fact, edited, taken, seed)
            if pair is not None:
                named.add(fact[0])
                del pictures[place]
                for edit in (pair.visual, pair.textual):
                    taken.add((edit.query.image.digest if edit.query.image else "", edit.query.prompt))
                found.append(pair)
                break
    return found


def _pair(
    catalogue: Catalogue,
    shown: WorldFact,
    fact: WorldFact,
    edited: frozenset[WorldFact],
    taken: set[tuple[str, str]],
    seed: int,
) -> EditPair | None:
    """Return the pair of a pictured thing and a fact of another, None where the two cannot be asked together."""
    world, relation = catalogue.world, fact[1]
    thing, other = world.by_id[shown[0]], world.by_id[fact[0]]
    if thing.domain != other.domain or relation not in thing.facts or thing.id == other.id:
        return None
    if not RELATIONS[relation].follows_identity:
        return None
    name, answer = other.facts[IDENTITY[other.domain]][0], target(catalogue, fact, seed)
    truths = {a.casefold() for entity in (thing, other) for a in entity.facts[relation]}
    if answer is None or answer.casefold() in truths or name in thing.facts[shown[1]]:
        return None
    rng = generator(seed, "atlas", "pair", *shown, *fact)
    visual = word(catalogue, shown, name, ("generic",), edited, taken, rng)
    textual = word(catalogue, fact, answer, ("text",), edited, taken, rng)
    if visual is None or textual is None or visual[0].rendering not in catalogue.pictures((thing.id, relation)):
        return None
    asked = question(rng, relation, generic()[0], {answer, name})
    if asked is None or gives_away(visual[1].prompt, [name]):
        return None
    edits = [
        with_id(Edit("", query, says, *about, COUNTERFACTUAL, None, wording.kind))
        for (wording, query), says, about in ((visual, name, shown), (textual, answer, fact))
    ]
    return EditPair(edits[0], edits[1], (visual[0], textual[0]), Query(asked, visual[1].image))
