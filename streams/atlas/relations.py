"""What can be asked about an entity, in which words; knows no entity and no answer."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from streams.atlas.relation import Relation, relation, translation

_EMOJI = ("emoji",)
_FLAG = ("flag",)
_TABLE = (
    relation(
        "name",
        _EMOJI,
        ("name", "full name"),
        ("What is {x} called?", "How is {x} named?", "What do you call {x}?", "Which name has {x}?"),
        ("What name does {x} have?", "Which name belongs to {x}?", "By what name is {x} called?"),
        identity=True,
        follows_identity=False,
    ),
    relation(
        "group",
        _EMOJI,
        ("group", "main group"),
        ("Which group does {x} belong to?", "In which group is {x}?", "To what group does {x} belong?"),
        ("What group is {x} part of?", "Which main group contains {x}?", "In what group would you put {x}?"),
    ),
    relation(
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
    relation(
        "keyword",
        _EMOJI,
        ("keyword", "tag"),
        ("Which keyword describes {x}?", "What keyword goes with {x}?", "Which tag fits {x}?"),
        ("What keyword does {x} have?", "Which keyword fits {x}?", "What tag goes with {x}?"),
        multi=True,
    ),
    relation(
        "colour",
        _EMOJI,
        ("main colour", "strongest colour"),
        ("What colour is {x}?", "Which colour is {x} mostly?", "Which main colour does {x} have?"),
        ("Mostly, what colour is {x}?", "What main colour does {x} have?", "In which colour is {x} drawn?"),
        follows_identity=False,
    ),
    relation(
        "kind_of",
        _EMOJI,
        ("kind", "nearest kind"),
        ("What kind of thing is {x}?", "What is {x} a kind of?", "Which kind of thing does {x} show?"),
        ("Of what kind is {x}?", "Which kind of thing is {x}?", "What nearest kind does {x} have?"),
    ),
    relation(
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
    relation(
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
    relation(
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
    relation(
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
    relation(
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
    relation(
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
    relation(
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
    relation(
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
    relation(
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
    relation(
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
    relation(
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
    translation("fr", "French"),
    translation("de", "German"),
    translation("es", "Spanish"),
    translation("it", "Italian"),
    translation("pt", "Portuguese"),
    translation("nl", "Dutch"),
    translation("sv", "Swedish"),
)
RELATIONS: Mapping[str, Relation] = MappingProxyType({r.name: r for r in _TABLE})
"""Every relation by name, in a fixed order; the identity of a domain comes first."""
IDENTITY: Mapping[str, str] = MappingProxyType({d: r.name for r in _TABLE if r.identity for d in r.domains})
"""Domain -> the relation that names its entities."""
