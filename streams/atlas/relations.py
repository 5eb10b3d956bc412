"""What can be asked about an entity, in which words; knows no entity and no answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

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


def _relation(
    name: str,
    domains: tuple[str, ...],
    nouns: tuple[str, ...],
    written: tuple[str, ...],
    held_out: tuple[str, ...],
    **flags: bool,
) -> Relation:
    framed = tuple(frame.replace("{n}", noun) for noun in nouns for frame in FRAMES)
    return Relation(name, domains, framed + written, held_out, **flags)


def _translation(code: str, language: str) -> Relation:
    return _relation(
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


_EMOJI = ("emoji",)
_FLAG = ("flag",)
_TABLE = (
    _relation(
        "name",
        _EMOJI,
        ("name", "full name"),
        ("What is {x} called?", "How is {x} named?", "What do you call {x}?", "Which name has {x}?"),
        ("What name does {x} have?", "Which name belongs to {x}?", "By what name is {x} called?"),
        identity=True,
        follows_identity=False,
    ),
    _relation(
        "group",
        _EMOJI,
        ("group", "main group"),
        ("Which group does {x} belong to?", "In which group is {x}?", "To what group does {x} belong?"),
        ("What group is {x} part of?", "Which main group contains {x}?", "In what group would you put {x}?"),
    ),
    _relation(
        "subgroup",
        _EMOJI,
        ("subgroup", "narrow subgroup"),
        (
            "Which subgroup does {x} belong to?",
            "In which subgroup is {x}?",
            "To what subgroup does {x} belong?",
        ),
        (
            "What subgroup is {x} part of?",
            "Which narrow subgroup contains {x}?",
            "In what subgroup would you put {x}?",
        ),
    ),
    _relation(
        "keyword",
        _EMOJI,
        ("keyword", "tag"),
        ("Which keyword describes {x}?", "What keyword goes with {x}?", "Which tag fits {x}?"),
        ("What keyword does {x} have?", "Which keyword fits {x}?", "What tag goes with {x}?"),
        multi=True,
    ),
    _relation(
        "colour",
        _EMOJI,
        ("main colour", "strongest colour"),
        ("What colour is {x}?", "Which colour is {x} mostly?", "Which main colour does {x} have?"),
        ("Mostly, what colour is {x}?", "What main colour does {x} have?", "In which colour is {x} drawn?"),
        follows_identity=False,
    ),
    _relation(
        "kind_of",
        _EMOJI,
        ("kind", "nearest kind"),
        ("What kind of thing is {x}?", "What is {x} a kind of?", "Which kind of thing does {x} show?"),
        ("Of what kind is {x}?", "Which kind of thing is {x}?", "What nearest kind does {x} have?"),
    ),
    _relation(
        "kind_of2",
        _EMOJI,
        ("wider class", "broad class"),
        (
            "Which wider class does {x} belong to?",
            "What broad class is {x} in?",
            "In which wider class is {x}?",
        ),
        (
            "What wider class does {x} belong to?",
            "Which wider class contains {x}?",
            "In which broad class is {x}?",
        ),
    ),
    _relation(
        "country",
        _FLAG,
        ("country", "country name"),
        (
            "Which country does {x} belong to?",
            "Which country is {x}?",
            "What country does {x} show?",
            "Whose country flag is {x}?",
        ),
        (
            "To which country does {x} belong?",
            "What country is {x}?",
            "Which country does {x} stand for?",
        ),
        identity=True,
        follows_identity=False,
    ),
    _relation(
        "capital",
        _FLAG,
        ("capital", "capital city"),
        (
            "Which city is the capital of {x}?",
            "What capital does {x} have?",
            "Which capital city has {x}?",
        ),
        (
            "What city is the capital of {x}?",
            "Which capital does {x} have?",
            "Which capital city belongs to {x}?",
        ),
    ),
    _relation(
        "continent",
        _FLAG,
        ("continent", "home continent"),
        (
            "On which continent is {x}?",
            "Which continent does {x} belong to?",
            "On what continent does {x} lie?",
        ),
        (
            "Which continent contains {x}?",
            "To what continent does {x} belong?",
            "On which continent would you find {x}?",
        ),
    ),
    _relation(
        "region",
        _FLAG,
        ("region", "world region"),
        (
            "In which region is {x}?",
            "Which world region does {x} belong to?",
            "In what region of the world does {x} lie?",
        ),
        (
            "Which region contains {x}?",
            "In what world region is {x}?",
            "To what region of the world does {x} belong?",
        ),
    ),
    _relation(
        "currency",
        _FLAG,
        ("currency", "official currency"),
        (
            "What currency is used in {x}?",
            "Which currency does {x} have?",
            "Which currency do people in {x} pay with?",
            "What is the name of the currency of {x}?",
        ),
        (
            "Which currency is used in {x}?",
            "With what currency do people in {x} pay?",
            "What official currency does {x} have?",
        ),
    ),
    _relation(
        "currency_code",
        _FLAG,
        ("currency code", "three-letter currency code"),
        (
            "Which currency code does {x} use?",
            "What currency code is used in {x}?",
            "Which three-letter currency code has {x}?",
        ),
        (
            "What currency code does {x} have?",
            "Which currency code belongs to {x}?",
            "What three-letter currency code does {x} use?",
        ),
    ),
    _relation(
        "language",
        _FLAG,
        ("language", "official language"),
        (
            "Which language do people in {x} speak?",
            "What language is spoken in {x}?",
            "Which language does {x} have?",
        ),
        (
            "Which language is spoken in {x}?",
            "What language do people speak in {x}?",
            "What official language does {x} have?",
        ),
        multi=True,
    ),
    _relation(
        "calling_code",
        _FLAG,
        ("calling code", "phone calling code"),
        (
            "Which calling code does {x} have?",
            "What calling code do you dial for {x}?",
            "With which calling code do you phone {x}?",
        ),
        (
            "What calling code does {x} have?",
            "Which calling code do you dial for {x}?",
            "What phone calling code belongs to {x}?",
        ),
    ),
    _relation(
        "tld",
        _FLAG,
        ("internet domain", "top-level domain"),
        (
            "Which internet domain does {x} have?",
            "What internet domain is used in {x}?",
            "Which top-level domain does {x} use?",
        ),
        (
            "What internet domain does {x} have?",
            "Which internet domain belongs to {x}?",
            "What top-level domain is used in {x}?",
        ),
    ),
    _relation(
        "dish",
        _FLAG,
        ("national dish", "best-known national dish"),
        (
            "Which national dish does {x} have?",
            "What national dish do people in {x} eat?",
            "Which dish is the national dish of {x}?",
        ),
        (
            "What national dish does {x} have?",
            "Which national dish is eaten in {x}?",
            "What dish is the national dish of {x}?",
        ),
        multi=True,
    ),
    _translation("fr", "French"),
    _translation("de", "German"),
    _translation("es", "Spanish"),
    _translation("it", "Italian"),
    _translation("pt", "Portuguese"),
    _translation("nl", "Dutch"),
    _translation("sv", "Swedish"),
)
RELATIONS: Mapping[str, Relation] = MappingProxyType({r.name: r for r in _TABLE})
"""Every relation by name, in a fixed order; the identity of a domain comes first."""
IDENTITY: Mapping[str, str] = MappingProxyType({d: r.name for r in _TABLE if r.identity for d in r.domains})
"""Domain -> the relation that names its entities."""
