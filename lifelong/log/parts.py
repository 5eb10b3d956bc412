"""The Parquet files of a run: written with checksums, vouched for by size, rows and digest, verified when read.

Knows tables and files; nothing about panels or what the facts mean.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from lifelong.log.facts import FACTS
from lifelong.log.files import LogError, read_regular, write_atomic
from lifelong.log.sealed import digest_of_bytes

_NAME = re.compile(f"({'|'.join(f.__name__.lower() for f in FACTS)})-(\\d{{6,}})\\.parquet")
FIX = "Put the file back from a copy, or begin anew with --fresh."


@dataclass(frozen=True)
class Written:
    """What is vouched for of one file: its rows, its bytes and its digest."""

    rows: int
    bytes: int
    digest: str


def part_name(fact: type, panel: int) -> str:
    """Return the file name of one panel's facts of one type."""
    return f"{fact.__name__.lower()}-{panel:06d}.parquet"


def panel_of_part(name: str) -> int:
    """Return which panel a file name of facts belongs to, -1 for a name that this package does not write.

    >>> panel_of_part("probed-000002.parquet"), panel_of_part("probed-000002 (copy).parquet")
    (2, -1)
    """
    found = _NAME.fullmatch(name)
    return int(found[2]) if found else -1


def parquet_bytes(table: pa.Table) -> bytes:
    """Return a table as the bytes of a Parquet file with page checksums."""
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd", write_page_checksum=True)
    return buffer.getvalue()


def read_parquet(data: bytes) -> pa.Table:
    """Return the table of a Parquet file's bytes, page checksums verified; raises `pa.ArrowException`, `OSError`."""
    return pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True).read()


def write_part(path: Path, table: pa.Table) -> Written:
    """Write a table and return what is vouched for; raises `LogError` with the file's name when it cannot be."""
    data = parquet_bytes(table)
    write_atomic(path, lambda f: f.write(data))
    return Written(table.num_rows, len(data), digest_of_bytes(data))


def part_of(path: Path) -> Written:
    """Return what is vouched for of a file as it is now; nothing is said of its rows."""
    with path.open("rb") as file:
        return Written(0, path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest()[:32])


def check_sizes(folder: Path, ledger: Mapping[str, Written]) -> None:
    """Raise `LogError` naming a part that is missing, or of another size than was written; nothing is read."""
    for name, part in ledger.items():
        path = folder / name
        try:
            size = path.stat().st_size
        except OSError as error:
            raise LogError(f"{path}: this file of the run is missing ({error.strerror}). {FIX}") from error
        if size != part.bytes:
            raise LogError(f"{path}: damaged, it has {size} bytes where {part.bytes} were written. {FIX}")


def read_verified(path: Path, part: Written) -> bytes:
    """Return a part's bytes; raises `LogError` with its name unless they are those that were written."""
    try:
        data = read_regular(path)
    except OSError as error:
        raise LogError(f"{path}: this part cannot be read ({error.strerror or error}). {FIX}") from error
    if digest_of_bytes(data) != part.digest:
        raise LogError(f"{path}: damaged, or of another run: its content is not what was written. {FIX}")
    return data


def read_part(path: Path, part: Written, schema: pa.Schema) -> pa.Table:
    """Return a part's rows with the columns of a schema; raises `LogError` with its name when it is damaged."""
    data = read_verified(path, part)
    try:
        table = read_parquet(data).select(schema.names).cast(schema)
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        raise LogError(f"{path}: this part cannot be read ({error}). {FIX}") from error
    if table.num_rows != part.rows:
        raise LogError(f"{path}: damaged, it has {table.num_rows} rows where {part.rows} were written. {FIX}")
    return table


def plain_ledger(ledger: Mapping[str, Written]) -> dict[str, Any]:
    """Return a ledger as JSON holds it."""
    return {name: asdict(part) for name, part in ledger.items()}


def ledger_of(path: Path, plain: Any) -> dict[str, Written]:
    """Return the ledger that was read from the file `path`; raises `LogError` with its name when it is none."""
    try:
        return {str(name): Written(int(p["rows"]), int(p["bytes"]), str(p["digest"])) for name, p in plain.items()}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise LogError(f"{path}: damaged, it does not list the parts it vouches for. {FIX}") from error
