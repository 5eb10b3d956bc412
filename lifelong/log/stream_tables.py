"""What a run was told and is asked: `edits.parquet` and `probes.parquet` of its folder, one row each, in plain words.

Knows the columns and the files; the rows come from whoever knows the stream. Written once, before the first edit.
The facts name edits and probes by their ids alone; these two tables say what the ids stand for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from lifelong.log.files import LogError, write_atomic

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


def write_stream_tables(
    folder: Path, edits: Iterable[Mapping[str, Any]], probes: Iterable[Mapping[str, Any]]
) -> None:
    """Write both tables of a run where they are not there yet; called before its first edit; raises `LogError`."""
    for name, rows in (("edits", edits), ("probes", probes)):
        if not (folder / f"{name}.parquet").is_file():
            write_stream_table(folder, name, rows)


def write_stream_table(folder: Path, name: str, rows: Iterable[Mapping[str, Any]]) -> Path:
    """Write `edits` or `probes` of a run whole or not at all, and return the file; raises `LogError`.

    Rows are taken in batches, so that a million of them never stand in memory.
    """
    path, schema, left = folder / f"{name}.parquet", _SCHEMAS[name], iter(rows)

    def write(file: BinaryIO) -> None:
        with pq.ParquetWriter(file, schema, compression="zstd", write_page_checksum=True) as writer:
            while some := [dict(row) for row in islice(left, _ROWS)]:
                writer.write_table(pa.Table.from_pylist(some, schema=schema))

    write_atomic(path, write)
    return path


def read_stream_table(folder: str | Path, name: str) -> pa.Table:
    """Return `edits` or `probes` of a run; raises `LogError` with the file's name for a missing or broken one."""
    path = Path(folder) / f"{name}.parquet"
    if not path.is_file():
        raise LogError(f"{path}: no such file. A run of this version writes it; run again with --fresh.")
    try:
        return pq.ParquetFile(path, page_checksum_verification=True).read().cast(_SCHEMAS[name])
    except (OSError, ValueError, KeyError) as error:
        raise LogError(f"{path}: cannot be read ({error}). Run again with --fresh.") from error
