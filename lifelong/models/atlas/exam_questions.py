"""The questions that measure what a model knows of the atlas, all facts in all slices; knows no model.

Slices: `drawn` (every rendering, one training wording), `template` (first training rendering, every held-out
wording), `text`, `text_template` (by name), `multi` (two pictures), `context`, `context_ignored` (a told
counterfactual fact to follow, a told irrelevant one to ignore), `context_trained` (to follow, told in words of
training), `hop` (two steps, unedited), `hop_told` (the second step from a told first answer). Facts are told as
editors tell them, in words of no training, where nothing else is said.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace

from streams.atlas.hops import HOPS, Hop, hop_answer
from streams.atlas.known import hop_relation
from streams.atlas.relations import RELATIONS
from streams.atlas.wording import STATEMENTS, describe, fact, generic, in_context, place, worded
from streams.atlas.world import Entity, World

SLICES = (
    *("drawn", "template", "text", "text_template", "multi"),
    *("context", "context_trained", "context_ignored", "hop", "hop_told"),
)


@dataclass(frozen=True)
class ExamQuestion:
    """One question: its slice, what it is about, its pictures (entity, rendering), words and accepted answers."""

    slice: str
    entity: str
    relation: str
    pictures: tuple[tuple[str, str], ...]
    rendering: str
    template: int
    template_split: str
    question: str
    answers: tuple[str, ...]
    seen: bool = True


def _rng(*parts: str) -> random.Random:
    return random.Random(hashlib.sha256("/".join(parts).encode()).digest())


def questions_of(world: World, slices: tuple[str, ...] = SLICES) -> Iterator[ExamQuestion]:
    """Every question of the slices, drawn by hash alone; ValueError names an unknown slice."""
    for name in slices:
        if name not in SLICES:
            raise ValueError(f"unknown slice {name!r}; there are {', '.join(SLICES)}")
    for entity in world.entities:
        partner = _partner(world, entity)
        for relation in entity.facts:
            if "drawn" in slices:
                yield from _drawn(entity, relation)
            if "template" in slices:
                yield from _template(entity, relation)
            if not RELATIONS[relation].identity:
                yield from (a for a in _text(world, entity, relation) if a.slice in slices)
            if "multi" in slices:
                yield _multi(entity, partner, relation)
            yield from (a for a in _contexts(world, entity, relation) if a.slice in slices)
        if "hop" in slices:
            for hop in HOPS:
                yield from _hop(world, entity, hop)
        if "hop_told" in slices:
            for hop in HOPS:
                yield from _hop_told(world, entity, hop)


def _question(
    kind: str, entity: Entity, relation: str, rendering: str, template: tuple[str, int], question: str
) -> ExamQuestion:
    return ExamQuestion(
        slice=kind,
        entity=entity.id,
        relation=relation,
        pictures=((entity.id, rendering),) if rendering else (),
        rendering=rendering,
        template=template[1],
        template_split=template[0],
        question=question,
        answers=entity.facts[relation],
        seen=rendering not in entity.held_out,
    )


def _drawn(entity: Entity, relation: str) -> Iterator[ExamQuestion]:
    rng = _rng("drawn", entity.id, relation)
    templates = RELATIONS[relation].train
    index = rng.randrange(len(templates))
    for rendering in entity.renderings:
        question = worded(templates[index], rng.choice(generic()))
        yield _question("drawn", entity, relation, rendering, ("train", index), question)


def _template(entity: Entity, relation: str) -> Iterator[ExamQuestion]:
    for index, template in enumerate(RELATIONS[relation].held_out):
        question = worded(template, _rng("template", entity.id, relation, str(index)).choice(generic()))
        yield _question("template", entity, relation, entity.training[0], ("held_out", index), question)


def _text(world: World, entity: Entity, relation: str) -> Iterator[ExamQuestion]:
    templates, name = RELATIONS[relation], world.name(entity)
    for index in _rng("text", entity.id, relation).sample(range(len(templates.train)), 2):
        yield _question("text", entity, relation, "", ("train", index), worded(templates.train[index], name))
    for index, template in enumerate(templates.held_out):
        yield _question("text_template", entity, relation, "", ("held_out", index), worded(template, name))


def _partner(world: World, entity: Entity) -> Entity:
    rng = _rng("partner", entity.id)
    while True:
        other = rng.choice(world.entities)
        if other.id != entity.id:
            return other


def _multi(entity: Entity, partner: Entity, relation: str) -> ExamQuestion:
    own, other = (entity.id, entity.training[0]), (partner.id, partner.training[0])
    position = _rng("multi", entity.id).randrange(2)
    templates = RELATIONS[relation].train
    index = _rng("multi", entity.id, relation).randrange(len(templates))
    question = worded(templates[index], place(position, 2))
    plain = _question("multi", entity, relation, entity.training[0], ("train", index), question)
    return _with(plain, pictures=(own, other) if position == 0 else (other, own))


def _with(plain: ExamQuestion, **changes: object) -> ExamQuestion:
    return replace(plain, **changes)  # pyright: ignore[reportArgumentType]


def _contexts(world: World, entity: Entity, relation: str) -> Iterator[ExamQuestion]:
    """One counterfactual fact to follow and one irrelevant fact to ignore, by picture or by name."""
    rng = _rng("context", entity.id, relation)
    pictured = RELATIONS[relation].identity or rng.random() < 0.5
    told, index = rng.sample(range(len(RELATIONS[relation].train)), 2)
    templates = RELATIONS[relation].train
    rendering = entity.training[0] if pictured else ""

    def subject(about: str) -> str:
        if not pictured:
            return world.name(entity)
        phrases = (*describe(world, entity, about)[:2], rng.choice(generic()))
        return rng.choice(phrases)

    while True:
        other = rng.choice(world.answers(relation))[1]
        if other not in entity.facts[relation]:
            break
    question = worded(templates[index], subject(relation))
    first = worded(templates[told], subject(relation))
    follow = in_context([fact(first, other)], question)
    followed = _question("context", entity, relation, rendering, ("train", index), follow)
    yield _with(followed, answers=(other,))
    said = _rng("statement", entity.id, relation).choice(STATEMENTS)
    yield _with(
        followed, slice="context_trained", question=in_context([fact(first, other, said)], question), answers=(other,)
    )
    others = [r for r in entity.facts if r != relation and (pictured or not RELATIONS[r].identity)]
    if others and rng.random() < 0.5:
        about = rng.choice(others)
        x, owner = subject(about), entity.id
    else:
        about = relation
        stranger = rng.choice([e for e, _ in world.answers(relation) if e != entity.id])
        x, owner = world.name(world.by_id[stranger]), stranger
    while True:
        told_answer = rng.choice(world.answers(about))
        if told_answer[0] != owner and told_answer[1] not in entity.facts[relation]:
            break
    told_question = worded(rng.choice(RELATIONS[about].train), x)
    ignore = in_context([fact(told_question, told_answer[1])], question)
    yield _question("context_ignored", entity, relation, rendering, ("train", index), ignore)


def _hop(world: World, entity: Entity, hop: Hop) -> Iterator[ExamQuestion]:
    """Two-step questions; those that follow an identity are the plain facts, asked in `drawn` and `template`."""
    if hop.relation not in entity.facts or RELATIONS[hop.relation].identity:
        return
    answers = hop_answer(world, hop, entity.facts[hop.relation][0])
    if not answers:
        return
    rng = _rng("hop", entity.id, hop.relation, hop.answer_relation)
    for split, templates in (("train", hop.train), ("held_out", hop.held_out)):
        for index, template in enumerate(templates):
            for rendering in (entity.training[0], ""):
                x = rng.choice(generic()) if rendering else world.name(entity)
                yield ExamQuestion(
                    slice="hop",
                    entity=entity.id,
                    relation=hop_relation(hop),
                    pictures=((entity.id, rendering),) if rendering else (),
                    rendering=rendering,
                    template=index,
                    template_split=split,
                    question=worded(template, x),
                    answers=answers,
                )


def _hop_told(world: World, entity: Entity, hop: Hop) -> Iterator[ExamQuestion]:
    """The second step behind a told counterfactual first answer; by picture or by name, an identity by picture."""
    own, second = entity.facts.get(hop.relation), entity.facts.get(hop.answer_relation)
    if not own or not second:
        return
    rng = _rng("hop_told", entity.id, hop.relation, hop.answer_relation)
    others = sorted({answer for _, answer in world.answers(hop.relation)} - {*own})
    for told in rng.sample(others, min(20, len(others))):
        answers = hop_answer(world, hop, told)
        if answers and not {*answers} & {*second, told}:
            break
    else:
        return
    pictured = RELATIONS[hop.relation].identity or rng.random() < 0.5
    x = rng.choice(generic()) if pictured else world.name(entity)
    index = rng.randrange(len(hop.train))
    first = fact(worded(rng.choice(RELATIONS[hop.relation].train), x), told)
    question = in_context([first], worded(hop.train[index], x))
    rendering = entity.training[0] if pictured else ""
    plain = _question("hop_told", entity, hop.relation, rendering, ("train", index), question)
    yield _with(plain, relation=hop_relation(hop), answers=answers)
