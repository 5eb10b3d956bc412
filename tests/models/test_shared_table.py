"""Claims about the table of what several models all know: a stream over it asks each only what it knows."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lifelong.models.atlas.exam_table import write_shared
from streams.atlas.known import COLUMNS, everything, read_known
from streams.atlas.world import load_world
from streams.stream import StreamError, load_stream


def write(path: Path, knows) -> Path:
    """The table of a made-up model, of every fourth fact."""
    facts = list(everything(load_world()).rows.items())[::4]
    rows = [(*fact, *asked) for fact, found in facts for asked in found]
    columns = zip(*[(*row[:3], row[4], row[3], knows(row)) for row in rows], strict=True)
    pq.write_table(pa.table({n: pa.array(c) for n, c in zip(COLUMNS, columns, strict=True)}), path)
    return path


def questions(path: Path) -> set[tuple]:
    return {(*fact, *asked) for fact, found in read_known(str(path), load_world()).rows.items() for asked in found}


@pytest.fixture(scope="module")
def tables(tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("tables")
    return [
        write(folder / "a.parquet", lambda row: row[1] != "keyword"),
        write(folder / "b.parquet", lambda row: row[2] != "twemoji"),
        write(folder / "c.parquet", lambda row: row[3] == "train" or row[4] == 0),
    ]


def test_all_know_what_is_left_and_nothing_else_is_left_out(tables: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "shared.parquet"
    counts = write_shared(tables, out)
    each = [questions(path) for path in tables]
    assert questions(out) == set.intersection(*each)
    assert counts == {path: len(rows) for path, rows in zip([*tables, out], [*each, questions(out)], strict=True)}


def test_the_stream_of_the_shared_table_is_one_for_all_and_edits_what_all_know(tables, tmp_path: Path) -> None:
    out, again = tmp_path / "shared.parquet", tmp_path / "again.parquet"
    write_shared(tables, out)
    write_shared(tables, again)
    assert out.read_bytes() == again.read_bytes()
    known = [read_known(str(path), load_world()) for path in tables]
    for edit in load_stream("atlas", edits=30, seed=0, known=str(out)).edits:
        fact = (edit.subject, edit.relation)
        assert edit.relation != "keyword"
        assert all(k.text(*fact) if edit.query.image is None else k.pictures(*fact) for k in known)


def test_what_cannot_be_shared_is_an_error(tables: list[Path], tmp_path: Path) -> None:
    with pytest.raises(StreamError, match="two or more"):
        write_shared(tables[:1], tmp_path / "out.parquet")
    other = write(tmp_path / "other.parquet", lambda row: row[1] == "keyword")
    with pytest.raises(StreamError, match="known by all"):
        write_shared([tables[0], other], tmp_path / "out.parquet")
    assert not (tmp_path / "out.parquet").exists()
