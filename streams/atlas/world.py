"""The entities of the atlas, their facts, drawings and splits; knows no model and no edit."""

from __future__ import annotations

import functools
import hashlib
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from streams.atlas.relations import IDENTITY, RELATIONS

PACK = Path(__file__).with_name("atlas.zip")
FIT_SHARE = 0.15
PROTECTED_SHARE = 0.20
TOLD_SHARE = 0.10
TUNE_SHARE = 1 / 3
FAMILY: Mapping[str, str] = MappingProxyType({"fluent-emoji": "fluent", "fluent-emoji-flat": "fluent"})
"""Rendering sets that one artist drew; every other set is a family of its own."""


@dataclass(frozen=True)
class Entity:
    """One thing with real drawings and real facts.

    `facts` maps a relation to its accepted answers, the canonical one first. `held_out` are the
    renderings (a subset of `renderings`, all of one artist) that training never sees. `subgroup` says
    what is near; `older` holds answers that were true in an older source; `colours` are colour words,
    the strongest first.
    """

    id: str
    domain: str
    split: str
    facts: Mapping[str, tuple[str, ...]]
    renderings: tuple[str, ...]
    held_out: tuple[str, ...]
    subgroup: str
    older: Mapping[str, str]
    colours: tuple[str, ...]

    @property
    def training(self) -> tuple[str, ...]:
        """Renderings that training may see."""
        return tuple(r for r in self.renderings if r not in self.held_out)


class World:
    """All entities of one pack; images are read from the pack when asked for."""

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise FileNotFoundError(f"no atlas pack at {path}; build it with python -m streams.atlas.build")
        data = path.read_bytes()
        self.digest: str = hashlib.sha256(data).hexdigest()
        with zipfile.ZipFile(path) as archive:
            records = json.loads(archive.read("entities.json"))
            self._images = {name: archive.read(name) for name in archive.namelist() if name.startswith("img/")}
        self.entities: tuple[Entity, ...] = tuple(_entity(r) for r in records)
        self.by_id: Mapping[str, Entity] = MappingProxyType({e.id: e for e in self.entities})
        self._answers: dict[str, tuple[tuple[str, str], ...]] = {
            relation: tuple((e.id, e.facts[relation][0]) for e in self.entities if relation in e.facts)
            for relation in RELATIONS
        }

    def image(self, entity_id: str, rendering: str) -> bytes:
        """WebP bytes (64x64 RGB) of one drawing; KeyError names what the entity has."""
        data = self._images.get(f"img/{entity_id}/{rendering}.webp")
        if data is None:
            known = self.by_id.get(entity_id)
            have = f"it has {', '.join(known.renderings)}" if known else "no such entity"
            raise KeyError(f"no drawing {rendering!r} of {entity_id!r}: {have}")
        return data

    def protected(self, entity_id: str, relation: str) -> bool:
        """Whether a fact must never be edited; a fifth of the facts of split 'edit', by hash."""
        entity = self.by_id[entity_id]
        return entity.split == "edit" and _unit(f"protected/{entity_id}/{relation}") < PROTECTED_SHARE

    def told(self, entity_id: str, relation: str) -> bool:
        """Whether a fact is one by which the embedded model learns to follow facts in its prompt.

        All of them of the entities that editors learn from, a tenth of those of all others, by hash. Of the latter
        none is ever edited or asked for locality.
        """
        if self.by_id[entity_id].split == "fit" and not self.tunes(entity_id):
            return True
        return _unit(f"protected/{entity_id}/{relation}") < TOLD_SHARE

    def role(self, entity_id: str, relation: str) -> str:
        """What a fact is for: `told` (see `told`), `kept` for locality questions, or `edited` by streams."""
        if self.told(entity_id, relation):
            return "told"
        return "kept" if self.protected(entity_id, relation) else "edited"

    def tunes(self, entity_id: str) -> bool:
        """Whether an entity of split 'fit' is for trials of options, and not to be learnt from; a third, by hash."""
        return self.by_id[entity_id].split == "fit" and _unit(f"tune/{entity_id}") < TUNE_SHARE

    def name(self, entity: Entity) -> str:
        """The name of an entity in English: the canonical answer of its identity relation."""
        return entity.facts[IDENTITY[entity.domain]][0]

    def answers(self, relation: str) -> tuple[tuple[str, str], ...]:
        """(entity id, canonical answer) of every entity that has the relation."""
        return self._answers[relation]


@functools.cache
def load_world(path: Path = PACK) -> World:
    """Read the pack once per process; FileNotFoundError says how to build a missing one."""
    return World(path)


def _entity(record: dict) -> Entity:
    renderings = tuple(record["renderings"])
    facts = {name: tuple(record["facts"][name]) for name in RELATIONS if name in record["facts"]}
    return Entity(
        id=record["id"],
        domain=record["domain"],
        split=_split(record["id"]),
        facts=MappingProxyType(facts),
        renderings=renderings,
        held_out=_held_out(record["id"], renderings),
        subgroup=record["subgroup"],
        older=MappingProxyType(dict(record["older"])),
        colours=tuple(record["colours"]),
    )


def _split(entity_id: str) -> str:
    """Who is edited in streams (`edit`), who editors learn from (`fit`)."""
    return "fit" if _unit(f"split/{entity_id}") < FIT_SHARE else "edit"


def _held_out(entity_id: str, renderings: tuple[str, ...]) -> tuple[str, ...]:
    families = sorted({FAMILY.get(r, r) for r in renderings})
    if len(families) < 3:
        return ()
    chosen = families[int(_unit(f"held_out/{entity_id}") * len(families))]
    return tuple(r for r in renderings if FAMILY.get(r, r) == chosen)


def _unit(text: str) -> float:
    """A number in [0, 1) that depends on the text only."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64
