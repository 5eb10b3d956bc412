"""Puts questions, places, descriptions and facts into words; knows no model and draws nothing by chance."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable

from streams.atlas.world import Entity, World

CONTINENT = {
    "Africa": "African",
    "Antarctica": "Antarctic",
    "Asia": "Asian",
    "Europe": "European",
    "North America": "North American",
    "Oceania": "Oceanian",
    "South America": "South American",
}
"""Continent -> its adjective."""
ORDINALS = ("first", "second", "third", "fourth")


def worded(template: str, x: str) -> str:
    """The question of a template about `x` (a phrase or a name)."""
    return template.replace("{x}", x)


def generic() -> tuple[str, ...]:
    """Phrases that point at a single picture and say nothing about it."""
    return ("this picture", "the picture", "this image", "the image", "what is shown here", "the thing shown here")


def place(position: int, n: int) -> str:
    """The phrase for picture `position` (from 0) of `n` (2-4) pictures, in reading order."""
    if not 2 <= n <= 4 or not 0 <= position < n:
        raise ValueError(f"no place for picture {position} of {n}: expected 2-4 pictures, counted from 0")
    if n == 2:
        return ("the picture on the left", "the picture on the right")[position]
    return f"the {ORDINALS[position]} picture"


_HEADS = ("New fact:", "Note:", "From now on:", "Correction:", "We were told:", "Update:", "Remember:", "")
_TAILS = (
    "It is {answer}.",
    "It is {answer} now.",
    "Now {answer}.",
    "Answer: {answer}.",
    "The answer is {answer}.",
    "The new answer is {answer}.",
    "This is {answer}.",
    "It was changed to {answer}.",
    "{answer}.",
)
HELD_OUT_STATEMENT = "Update: {question} The answer is {answer}."
"""How editors tell a fact: a way that the embedded model never met in training, of words that it met in others."""
STATEMENTS = tuple(
    statement
    for head in _HEADS
    for tail in _TAILS
    if (statement := f"{head} {{question}} {tail}".strip()) != HELD_OUT_STATEMENT
)
"""Ways to tell a fact by which the embedded model learns to follow facts in its prompt; no editor uses one."""


def fact(question: str, answer: str, statement: str = HELD_OUT_STATEMENT) -> str:
    """One sentence that tells a model a fact, by default as editors tell it."""
    return statement.replace("{question}", question).replace("{answer}", answer)


def in_context(facts: Iterable[str], question: str) -> str:
    """A prompt that tells facts before it asks."""
    return " ".join((*facts, question))


def describe(world: World, entity: Entity, relation: str) -> tuple[str, ...]:
    """True partial descriptions of an entity that do not give its name or the relation's answer away.

    Phrases such as "this yellow smiling face", the most telling first; usable as {x} of a template.
    """
    phrases = _flag(entity, relation) if entity.domain == "flag" else _emoji(entity, relation)
    hidden = (*entity.facts.get(relation, ()), world.name(entity))
    if entity.domain == "flag":
        stems = {w[:5] for text in hidden for w in _words(text) if len(w) >= 4}
        return tuple(p for p in phrases if not stems & {w[:5] for w in _words(p) if len(w) >= 4})
    return tuple(p for p in phrases if not any(_contains(p, text) for text in hidden))


def _emoji(entity: Entity, relation: str) -> tuple[str, ...]:
    # Artists who disagree on the strongest colour make it true only in part.
    shade = entity.colours[0] if "colour" in entity.facts else f"partly {entity.colours[0]}"
    colour = "" if relation == "colour" else shade
    # A subgroup or a kind fixes the group, and a kind nearly fixes the subgroup.
    noun = "" if relation in ("group", "subgroup") else entity.subgroup
    noun = f"{noun} picture" if " or " in noun else noun
    kind = "" if relation in ("group", "subgroup", "kind_of", "kind_of2") else entity.facts.get("kind_of", ("",))[0]
    tag = "" if relation == "keyword" else entity.facts.get("keyword", ("",))[0]
    phrases: list[str] = []
    if noun and tag:
        phrases += [f"this {colour} {noun} tagged {tag}", f"this {noun} tagged {tag}"]
    if colour and kind:
        phrases.append(f"this {colour} {kind}")
    if colour and noun:
        phrases.append(f"this {colour} {noun}")
    if tag:
        phrases += [f"this {colour} picture tagged {tag}", f"this picture tagged {tag}"]
    if kind:
        phrases.append(f"this {kind}")
    if noun:
        phrases.append(f"this {noun}")
    if colour:
        phrases += [f"this {colour} picture", f"this picture with some {entity.colours[0]}"]
    if relation != "group":
        phrases.append(f"this picture from {entity.facts['group'][0]}")
    return tuple(dict.fromkeys(" ".join(p.split()) for p in phrases))


def _flag(entity: Entity, relation: str) -> tuple[str, ...]:
    colours = _listed(entity.colours)
    adjective = "" if relation == "continent" else CONTINENT[entity.subgroup]
    language = "" if relation == "language" else entity.facts.get("language", ("",))[0]
    speaking = f"{language}-speaking"
    phrases: list[str] = []
    if language:
        if adjective:
            phrases.append(f"this {colours} flag of {_article(speaking)} {adjective} country")
        phrases.append(f"this {colours} flag of {_article(speaking)} country")
    if adjective:
        phrases += [f"this {adjective} flag in {colours}", f"this {colours} flag of {_article(adjective)} country"]
    phrases += [f"this {colours} flag", f"this flag in {colours}"]
    if adjective:
        phrases.append(f"this {adjective} flag")
    if language:
        phrases.append(f"this flag of {_article(speaking)} country")
    return tuple(phrases)


def _listed(words: tuple[str, ...]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _article(phrase: str) -> str:
    return f"{'an' if phrase[0] in 'AEIOU' and not phrase.startswith('Eu') else 'a'} {phrase}"


@functools.lru_cache(1 << 16)
def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())


def _contains(phrase: str, text: str) -> bool:
    return f" {' '.join(_words(text))} " in f" {' '.join(_words(phrase))} " if _words(text) else False
