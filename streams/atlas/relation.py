"""What a relation is, and the sentences that one with a noun phrase is asked in; knows none of them."""

from __future__ import annotations

from dataclasses import dataclass

FRAMES = (
    "What is the {n} of {x}?",
    "Which is the {n} of {x}?",
    "Name the {n} of {x}.",
    "Tell me the {n} of {x}.",
    "Give the {n} of {x}.",
    "Please state the {n} of {x}.",
    "For {x}, what is the {n}?",
    "Can you tell the {n} of {x}?",
    "I want to know the {n} of {x}.",
)
"""Sentences for any relation that has a noun phrase {n}."""


@dataclass(frozen=True)
class Relation:
    """One relation and its wordings; every wording has the single slot {x}.

    `identity`: the relation says what the entity is. `follows_identity`: its answer changes with the
    entity's identity. `translation`: the answer is the name in another language. `multi`: several answers
    are right, and all of them are accepted.
    """

    name: str
    domains: tuple[str, ...]
    train: tuple[str, ...]
    held_out: tuple[str, ...]
    identity: bool = False
    follows_identity: bool = True
    translation: bool = False
    multi: bool = False


def relation(
    name: str,
    domains: tuple[str, ...],
    nouns: tuple[str, ...],
    written: tuple[str, ...],
    held_out: tuple[str, ...],
    **flags: bool,
) -> Relation:
    """Return a relation that is asked with each of its nouns in every frame, and in the words written for it."""
    framed = tuple(frame.replace("{n}", noun) for noun in nouns for frame in FRAMES)
    return Relation(name, domains, framed + written, held_out, **flags)


def translation(code: str, language: str) -> Relation:
    """Return the relation between a thing and its name in a language."""
    return relation(
        f"name_{code}",
        ("emoji", "flag"),
        (f"{language} name",),
        (
            f"What is {{x}} called in {language}?",
            f"How do you say {{x}} in {language}?",
            f"Translate {{x}} into {language}.",
            f"What is the {language} word for {{x}}?",
            f"Which {language} name does {{x}} have?",
        ),
        (
            f"In {language}, what is {{x}} called?",
            f"What {language} name belongs to {{x}}?",
            f"What do you call {{x}} in {language}?",
        ),
        translation=True,
    )
