"""What a run was told and is asked: `edits.parquet` and `probes.parquet` of its folder, one row each, in plain words.

Knows the columns and the files; the rows come from whoever knows the stream. Written once, before the first edit.
The facts name edits and probes by their ids alone; these two tables say what the ids stand for.

edits: one row per edit, in the order of the stream
    step                 int64            its place in the stream, from 1
    edit_id              string
    prompt, picture      string           its question; where its picture lies ('': none)
    target               string           the answer that it makes right
    subject, relation    string
    supersedes           string           the edit that it replaces ('': none)
    prompt_kind, source  string           how its question is put; where the record came from

probes: one row per question that may be asked about an edit, with its right answer
    probe_id, edit_id    string           `edit_id` is the edit it measures ('' for the general set)
    axis, variant, modality               string
    prompt, picture, target               string
    accepted             list<string>     further right answers
    reference            string           target, or baseline: what the frozen model says
    hops                 int64            facts to follow from the edited one to the answer (0: that fact itself)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from lifelong.log.files import LogError

if TYPE_CHECKING:
    from lifelong.log.run_log import RunLog

EDITS_SCHEMA = pa.schema(
    [
        pa.field("step", pa.int64()),  # its place in the stream, from 1
        *(pa.field(name, pa.string()) for name in ("edit_id", "prompt", "picture", "target", "subject", "relation")),
        pa.field("supersedes", pa.string()),  # the edit that it replaces; '': none
        *(pa.field(name, pa.string()) for name in ("prompt_kind", "source")),
    ]
)
PROBES_SCHEMA = pa.schema(
    [
        *(pa.field(name, pa.string()) for name in ("probe_id", "edit_id", "axis", "variant", "modality")),
        *(pa.field(name, pa.string()) for name in ("prompt", "picture", "target")),
        pa.field("accepted", pa.list_(pa.string())),  # further right answers
        pa.field("reference", pa.string()),  # target, or baseline: what the frozen model says
        pa.field("hops", pa.int64()),
    ]
)
_SCHEMAS = {"edits": EDITS_SCHEMA, "probes": PROBES_SCHEMA}
_ROWS = 10_000  # rows written at a time


def table_writer(name: str, rows: Iterable[Mapping[str, Any]]) -> Callable[[BinaryIO], None]:
    """Return a function that writes `edits` or `probes` of a run into a file, for `RunLog.create`.

    Rows are taken in batches, so that a million of them never stand in memory.
    """
    schema = _SCHEMAS[name]

    def write(file: BinaryIO) -> None:
        left = iter(rows)
        with pq.ParquetWriter(file, schema, compression="zstd", write_page_checksum=True) as writer:
            while some := [dict(row) for row in islice(left, _ROWS)]:
                writer.write_table(pa.Table.from_pylist(some, schema=schema))

    return write


def stream_table(log: RunLog, name: str) -> pa.Table:
    """Return `edits` or `probes` of a run; raises `LogError` with the file's name for a missing or damaged one."""
    data = log.beside(f"{name}.parquet")
    try:
        return pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True).read().cast(_SCHEMAS[name])
    except (OSError, ValueError, KeyError) as error:
        raise LogError(f"{log.folder / name}.parquet: cannot be read ({error}). Run again with --fresh.") from error
