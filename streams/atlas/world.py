"""The entities of the atlas, their facts, drawings, splits and roles; knows no model and no edit."""

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
APART_SHARE = 0.15
"""Of all entities: those that no measured stream edits. Editors learn from some, options are chosen on others."""
TUNE_SHARE = 0.40
"""Of those set apart: what options are chosen on; enough for 500 edits, each of another fact."""
TOLD_SHARE = 0.10
KEPT_SHARE = 0.10
FAMILY: Mapping[str, str] = MappingProxyType({"fluent-emoji": "fluent", "fluent-emoji-flat": "fluent"})
"""Rendering sets that one artist drew; every other set is a family of its own."""


@dataclass(frozen=True)
class Entity:
    """One thing with real drawings and real facts.

    `facts` maps a relation to its accepted answers, the canonical one first. `held_out` are the
    renderings (a subset of `renderings`, all of one artist) that training never sees. `split` is edit (measured
    streams), train (pools that editors learn from) or tune (edits that options are chosen on). `subgroup` says what
    is near; `older` holds answers that were true in an older source; `colours` are colour words,
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
    def apart(self) -> bool:
        """Whether no measured stream edits it."""
        return self.split != "edit"

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

    def role(self, entity_id: str, relation: str) -> str:
        """Return what a fact is for: `told`, `kept` or `edited`; drawn by hash, so that it never changes.

        By told facts the embedded model learns to follow what its prompt says: all of split 'train', and a tenth of
        the others, which streams neither edit nor ask for locality. A tenth of split 'edit' is kept for locality.
        Everything else is edited; of split 'tune', which is small, locality asks those that a stream leaves alone.
        """
        entity, drawn = self.by_id[entity_id], _unit(f"protected/{entity_id}/{relation}")
        if entity.split == "train" or drawn < TOLD_SHARE:
            return "told"
        return "kept" if not entity.apart and drawn < TOLD_SHARE + KEPT_SHARE else "edited"

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
    if _unit(f"split/{entity_id}") >= APART_SHARE:
        return "edit"
    return "tune" if _unit(f"tune/{entity_id}") < TUNE_SHARE else "train"


def _held_out(entity_id: str, renderings: tuple[str, ...]) -> tuple[str, ...]:
    families = sorted({FAMILY.get(r, r) for r in renderings})
    if len(families) < 3:
        return ()
    chosen = families[int(_unit(f"held_out/{entity_id}") * len(families))]
    return tuple(r for r in renderings if FAMILY.get(r, r) == chosen)


def _unit(text: str) -> float:
    """A number in [0, 1) that depends on the text only."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64
