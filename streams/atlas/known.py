"""What a model knows of the atlas: a table of facts, renderings and templates with a mark, read as plain data.

Knows no model. The table is a Parquet file that `lifelong model eval --table` writes, one row for each question that
was asked, with columns entity, relation, rendering ('' for a text-only question), template (its number),
template_split ('train' or 'held_out') and correct. A two-step question's relation is `hop_relation(hop)`.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from streams.atlas.hops import HOPS, Hop
from streams.atlas.relations import RELATIONS
from streams.atlas.world import World
from streams.stream import StreamError

COLUMNS = ("entity", "relation", "rendering", "template", "template_split", "correct")
EVERYTHING = "all"


def hop_relation(hop: Hop) -> str:
    """Return the name under which a two-step question stands in the table, such as `capital>continent`."""
    return f"{hop.relation}>{hop.answer_relation}"


@dataclass(frozen=True)
class Known:
    """The questions a model answers correctly, by (entity id, relation): rendering ('' = none), split, template."""

    digest: str
    rows: dict[tuple[str, str], tuple[tuple[str, str, int], ...]]

    def pictures(self, entity: str, relation: str) -> tuple[str, ...]:
        """Return the renderings on which the fact is known, in wordings of training, sorted."""
        rows = self.rows.get((entity, relation), ())
        return tuple(sorted({r for r, split, _ in rows if r and split == "train"}))

    def text(self, entity: str, relation: str) -> bool:
        """Return whether the fact is known without a picture, in some wording of training."""
        return any(not r and split == "train" for r, split, _ in self.rows.get((entity, relation), ()))

    def held_out(self, entity: str, relation: str, *, text: bool) -> frozenset[int]:
        """Return the held-out templates in which the model understands the question about this entity."""
        rows = self.rows.get((entity, relation), ())
        return frozenset(t for r, split, t in rows if split == "held_out" and text == (not r))

    def hop(self, entity: str, hop: Hop, *, text: bool) -> frozenset[tuple[str, int]]:
        """Return the wordings (split, template) in which the model answers a two-step question."""
        rows = self.rows.get((entity, hop_relation(hop)), ())
        return frozenset((split, t) for r, split, t in rows if text == (not r))


def read_known(path: str, world: World) -> Known:
    """Return the table at `path` ('' = the shipped one; 'all' = every question, for a look without a model).

    Raises `StreamError` when the file is missing, is no such table, or speaks of entities that the world lacks.
    """
    if path == EVERYTHING:
        return everything(world)
    file = Path(path) if path else shipped()
    if not file.is_file():
        raise StreamError(
            f"stream.known={file}: no such file. Write one with `lifelong model eval --table FILE`, "
            "or say stream.known=all to treat every fact as known."
        )
    try:
        table = pq.read_table(file)
    except (pa.ArrowException, OSError) as error:
        raise StreamError(f"stream.known={file}: not a readable Parquet file ({error}).") from error
    missing = [c for c in COLUMNS if c not in table.column_names]
    if missing:
        raise StreamError(f"stream.known={file}: column {missing[0]!r} is missing; it has {table.column_names}.")
    strange = set(table["entity"].cast(pa.string()).unique().to_pylist()) - set(world.by_id)
    if strange:
        raise StreamError(
            f"stream.known={file}: entity {min(strange)!r} is not in the atlas; made for another world?"
        )
    digest = hashlib.sha256(file.read_bytes()).hexdigest()[:16]
    right = table.filter(pc.cast(table["correct"], pa.bool_()))
    texts = (right[c].cast(pa.string()).to_pylist() for c in ("entity", "relation", "rendering", "template_split"))
    entity, relation, rendering, split = texts
    return _collect(digest, zip(entity, relation, rendering, split, right["template"].to_pylist(), strict=True))


def shipped() -> Path:
    """Return where the table of what the shipped model knows lies: beside this file."""
    return Path(__file__).with_name("known.parquet")


def everything(world: World) -> Known:
    """Return the knowledge of a model that knows every fact in every rendering and wording."""
    return _collect(EVERYTHING, (row for entity in world.entities for row in _all_rows(entity)))


def _all_rows(entity) -> Iterable[tuple[str, str, str, str, int]]:
    for relation in entity.facts:
        words = RELATIONS[relation]
        yield from ((entity.id, relation, r, "train", 0) for r in entity.renderings)
        yield from ((entity.id, relation, entity.training[0], "held_out", t) for t in range(len(words.held_out)))
        if not words.identity:
            yield entity.id, relation, "", "train", 0
            yield from ((entity.id, relation, "", "held_out", t) for t in range(len(words.held_out)))
    for hop in HOPS:
        if hop.relation in entity.facts and hop.answer_relation in entity.facts:
            wordings = [("train", t) for t in range(len(hop.train))] + [
                ("held_out", t) for t in range(len(hop.held_out))
            ]
            pictures = ("",) if not RELATIONS[hop.relation].identity else ()
            for rendering in (*pictures, entity.training[0]):
                yield from ((entity.id, hop_relation(hop), rendering, split, t) for split, t in wordings)


def _collect(digest: str, rows: Iterable[tuple[str, str, str, str, int]]) -> Known:
    found: dict[tuple[str, str], list[tuple[str, str, int]]] = defaultdict(list)
    for entity, relation, rendering, split, template in rows:
        found[entity, relation].append((rendering, split, template))
    return Known(digest, {key: tuple(value) for key, value in found.items()})
