"""What a model knows of the atlas: a table of facts, renderings and templates with a mark, read as plain data.

Knows no model. The table is a Parquet file that `lifelong model eval --table` writes, one row for each question that
was asked, with columns entity, relation, rendering ('' for a text-only question), template (its number),
template_split ('train' or 'held_out') and correct. A two-step question's relation is `hop_relation(hop)`.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from streams.atlas.hops import HOPS, Hop
from streams.atlas.relation import Relation
from streams.atlas.relations import RELATIONS
from streams.atlas.world import World
from streams.stream import StreamError
from streams.text import printable

COLUMNS = ("entity", "relation", "rendering", "template", "template_split", "correct")
EVERYTHING = "all"
MOST_ROWS = 5_000_000  # twelve times those of the shipped table
_MOST_BYTES = 1 << 28  # unpacked; the shipped table has a million
_BATCH = 1 << 17  # rows that are in memory at a time
_SPLITS = ("train", "held_out")
_ROW = ("entity", "relation", "rendering", "template_split", "template")
_TYPES = {"template": (pa.types.is_integer, "whole numbers"), "correct": (pa.types.is_boolean, "true and false")}


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

    Raises `StreamError` that names file and column when the file is missing, is no such table or too large for one,
    or speaks of what the world lacks.
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
        with open(file, "rb") as opened:
            digest = hashlib.file_digest(opened, "sha256").hexdigest()[:16]
        with pq.ParquetFile(file, page_checksum_verification=True) as table:
            _check(file, table)
            return _collect(digest, _rows(file, table, world))
    except (pa.ArrowException, OSError, MemoryError, UnicodeDecodeError) as error:
        raise StreamError(f"stream.known={file}: not a readable Parquet file ({error}).") from error


def _check(file: Path, table: pq.ParquetFile) -> None:
    """Raise `StreamError` unless the columns and their types are those of such a table, and its size too."""
    have = table.schema_arrow
    for name in COLUMNS:
        at = have.get_field_index(name)
        if at < 0:
            how = "there twice" if name in have.names else "missing"
            raise StreamError(f"stream.known={file}: column {name!r} is {how}; it has {have.names}.")
        kind = have.field(at).type
        plain = kind.value_type if pa.types.is_dictionary(kind) else kind
        fits, wanted = _TYPES.get(name, (lambda t: pa.types.is_string(t) or pa.types.is_large_string(t), "texts"))
        if not fits(plain):
            raise StreamError(f"stream.known={file}: column {name!r} holds {kind}; expected {wanted}.")
    rows = table.metadata.num_rows
    # Of each group, not of its columns: where a column's description is damaged, asking for it ends the process.
    size = sum(table.metadata.row_group(i).total_byte_size for i in range(table.metadata.num_row_groups))
    if rows > MOST_ROWS or size > _MOST_BYTES:
        raise StreamError(
            f"stream.known={file}: {rows} rows and {size} bytes; such a table has at most {MOST_ROWS} rows and "
            f"{_MOST_BYTES} bytes. Give the file that `lifelong model eval --table FILE` wrote."
        )


def _rows(file: Path, table: pq.ParquetFile, world: World) -> Iterator[tuple[str, str, str, str, int]]:
    """Yield the questions that were answered correctly, batch by batch; raises `StreamError` for strange values."""
    splits = {(r.name, s): len(w) for r in RELATIONS.values() for s, w in (("train", r.train), _held_out(r))}
    splits |= {(hop_relation(h), s): len(w) for h in HOPS for s, w in (("train", h.train), _held_out(h))}
    relations = {relation for relation, _ in splits}
    for batch in table.iter_batches(batch_size=_BATCH, columns=list(COLUMNS)):
        columns = {name: batch.column(name) for name in COLUMNS}
        for name, column in columns.items():
            if column.null_count:
                raise StreamError(f"stream.known={file}: column {name!r} has {column.null_count} empty values.")
            if pa.types.is_dictionary(column.type):
                columns[name] = column.dictionary_decode()
        for name, known in (("entity", world.by_id), ("relation", relations), ("template_split", _SPLITS)):
            strange = set(columns[name].unique().to_pylist()) - set(known)
            if strange:
                what = printable(min(strange)[:60])
                raise StreamError(
                    f"stream.known={file}, column {name!r}: {name} '{what}' is not in the atlas; made for another "
                    "world? Write the table anew with `lifelong model eval --table FILE`."
                )
        right = pa.table(columns).filter(columns["correct"])
        for row in zip(*(right[name].to_pylist() for name in _ROW), strict=True):
            if not 0 <= row[4] < splits[row[1], row[3]]:
                raise StreamError(
                    f"stream.known={file}, column 'template': relation {row[1]!r} has "
                    f"{splits[row[1], row[3]]} wordings of split {row[3]!r}, counted from 0; got {row[4]}."
                )
            yield row


def _held_out(worded: Relation | Hop) -> tuple[str, tuple[str, ...]]:
    return "held_out", worded.held_out


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
    found: dict[tuple[str, str], dict[tuple[str, str, int], None]] = defaultdict(dict)
    for entity, relation, rendering, split, template in rows:
        found[entity, relation][rendering, split, template] = None  # once, however often it was asked
    return Known(digest, {key: tuple(value) for key, value in found.items()})
