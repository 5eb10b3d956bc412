"""Two-step questions: a second relation asked of the first one's answer; knows no model."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from streams.atlas.relations import IDENTITY, RELATIONS
from streams.atlas.world import World


@dataclass(frozen=True)
class Hop:
    """A question on `answer_relation` of whatever `relation` answers; wordings have the slot {x}."""

    relation: str
    answer_relation: str
    train: tuple[str, ...]
    held_out: tuple[str, ...]


_STEPS = (
    Hop(
        "subgroup",
        "group",
        (
            "Which group holds the subgroup of {x}?",
            "What is the group of the subgroup of {x}?",
            "To which group does the subgroup of {x} belong?",
            "The subgroup of {x} is part of which group?",
        ),
        ("In which group is the subgroup of {x}?", "What group holds the subgroup of {x}?"),
    ),
    Hop(
        "kind_of",
        "kind_of2",
        (
            "Which wider class holds the kind of {x}?",
            "What is the wider class of the kind of {x}?",
            "To which wider class does the kind of {x} belong?",
            "The kind of {x} is part of which broad class?",
        ),
        ("In which wider class is the kind of {x}?", "What wider class holds the kind of {x}?"),
    ),
    Hop(
        "capital",
        "continent",
        (
            "On which continent is the capital of {x}?",
            "What is the continent of the capital of {x}?",
            "The capital of {x} lies on which continent?",
            "On what continent is the capital city of {x}?",
        ),
        ("On which continent lies the capital of {x}?", "Which continent holds the capital of {x}?"),
    ),
    Hop(
        "capital",
        "language",
        (
            "Which language is spoken in the capital of {x}?",
            "What is the language of the capital of {x}?",
            "Which language do people in the capital of {x} speak?",
            "What language is spoken in the capital city of {x}?",
        ),
        (
            "What language is spoken in the capital of {x}?",
            "Which language do people speak in the capital of {x}?",
        ),
    ),
    Hop(
        "capital",
        "currency",
        (
            "Which currency is used in the capital of {x}?",
            "What is the currency of the capital of {x}?",
            "Which currency do people in the capital of {x} pay with?",
            "What currency is used in the capital city of {x}?",
        ),
        (
            "What currency is used in the capital of {x}?",
            "With which currency do people pay in the capital of {x}?",
        ),
    ),
    Hop(
        "region",
        "continent",
        (
            "Which continent holds the world region of {x}?",
            "What is the continent of the region of {x}?",
            "The world region of {x} lies on which continent?",
            "On which continent is the region of {x}?",
        ),
        ("On what continent is the world region of {x}?", "Which continent holds the region of {x}?"),
    ),
    Hop(
        "currency",
        "currency_code",
        (
            "Which code belongs to the currency of {x}?",
            "What is the code of the currency of {x}?",
            "Which three letters stand for the currency of {x}?",
            "What code does the currency of {x} have?",
        ),
        ("What code belongs to the currency of {x}?", "Which code does the currency of {x} have?"),
    ),
)


def _following() -> tuple[Hop, ...]:
    """After an edit of what an entity is, every following relation is a hop in its own words."""
    return tuple(
        Hop(identity, relation.name, relation.train, relation.held_out)
        for domain, identity in IDENTITY.items()
        for relation in RELATIONS.values()
        if domain in relation.domains and relation.follows_identity
    )


HOPS: tuple[Hop, ...] = _STEPS + _following()
"""Two-step questions proper first, then the relations that follow an identity."""


def hop_answer(world: World, hop: Hop, answer: str) -> tuple[str, ...] | None:
    """Accepted answers of the second step given the first step's answer.

    None where the first answer is unknown or does not determine the second.
    """
    return _second_steps(world, hop.relation, hop.answer_relation).get(answer)


@functools.cache
def _second_steps(world: World, relation: str, answer_relation: str) -> dict[str, tuple[str, ...] | None]:
    found: dict[str, tuple[str, ...] | None] = {}
    for entity in world.entities:
        if relation not in entity.facts:
            continue
        first, second = entity.facts[relation][0], entity.facts.get(answer_relation)
        if first not in found:
            found[first] = second
        else:
            seen = found[first]
            common = tuple(a for a in seen or () if a in (second or ()))
            found[first] = common if seen and second and seen[0] == second[0] else None
    return found
