"""The pictures of the atlas that a user can name, one row each, for a list. Knows no edit and no model."""

from __future__ import annotations

from collections.abc import Iterator

from streams.atlas.world import World


def pictures_of(world: World, name: str = "") -> Iterator[dict[str, str]]:
    """Yield one row a picture, in the order of the world: those of things whose English name contains `name`.

    `picture` is what `ask --image` and a record take (`atlas:ENTITY/SET`); `name` and `domain` say what it shows.
    `split` is whose share its thing belongs to: edit (streams), train (pools that editors learn from) or tune (edits
    that options are chosen on);
    `drawing` is training, or held out: no part of the model and no pool has seen it.
    """
    for entity in world.entities:
        if name.casefold() not in world.name(entity).casefold():
            continue
        for rendering in entity.renderings:
            yield {
                "picture": f"atlas:{entity.id}/{rendering}",
                "name": world.name(entity),
                "domain": entity.domain,
                "split": entity.split,
                "drawing": "held out" if rendering in entity.held_out else "training",
            }
