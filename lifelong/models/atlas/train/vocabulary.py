"""The words the tokenizer is trained on: training wordings, descriptions, names, answers; no held-out wording."""

from __future__ import annotations

from collections.abc import Iterator

from streams.atlas.hops import HOPS
from streams.atlas.relations import RELATIONS
from streams.atlas.wording import STATEMENTS, describe, fact, generic, place, worded
from streams.atlas.world import World


def vocabulary_lines(world: World) -> Iterator[str]:
    """Lines for `build_tokenizer`; answers twice, because every one of them has to be spelt."""
    for relation in RELATIONS.values():
        for template in relation.train:
            asked = [worded(template, x) for x in generic()]
            yield from (fact(x, "", statement) for x in asked for statement in STATEMENTS for _ in range(3))
            yield from (worded(template, place(i, n)) for n in (2, 3, 4) for i in range(n))
    for hop in HOPS:
        yield from (worded(template, x) for template in hop.train for x in generic())
    for entity in world.entities:
        name = world.name(entity)
        yield from (f"{name} {name}" for _ in range(3))
        yield from describe(world, entity, "")
        for answers in entity.facts.values():
            yield from (answers[0] for _ in range(2))
            yield from answers[1:]
