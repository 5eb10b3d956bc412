"""Claims about the table of what a model knows: only known facts, renderings and hops are used."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from streams.atlas.hops import HOPS
from streams.atlas.known import COLUMNS, everything, hop_relation, read_known
from streams.atlas.relations import RELATIONS
from streams.atlas.world import load_world
from streams.stream import StreamError, load_stream


def _knows(row):
    """A made-up model: no fact of one relation, one set never recognised, text only for some, one hop never."""
    entity, relation, rendering, _, _ = row
    if relation == "keyword" or rendering == "twemoji":
        return False
    if relation == "capital>continent":
        return False
    return bool(rendering) or entity[-1] in "0123456789"


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    rows = [(*key, *row) for key, found in everything(load_world()).rows.items() for row in found]
    columns = list(zip(*[(*row[:3], row[4], row[3], _knows(row)) for row in rows], strict=True))
    arrays = {name: pa.array(c) for name, c in zip(COLUMNS, columns, strict=True)}
    arrays["entity"] = arrays["entity"].dictionary_encode()
    path = tmp_path_factory.mktemp("known") / "known.parquet"
    pq.write_table(pa.table(arrays), path)
    return path


@pytest.fixture(scope="module")
def stream(table):
    return load_stream("atlas", edits=500, seed=0, known=str(table))


def test_only_known_facts_are_edited_as_they_are_known(stream):
    for edit in stream.edits:
        assert edit.relation != "keyword"
        if edit.query.image:
            assert not edit.query.image.uri.endswith("/twemoji")
        else:
            assert edit.subject[-1] in "0123456789"


def test_only_recognised_drawings_and_answered_hops_are_probed(stream):
    probes = [(e, p) for e in stream.edits for p in stream.probes(e.id)]
    assert all(
        not p.query.image.uri.endswith("/twemoji")
        for _, p in probes
        if p.axis in ("generality", "locality") and p.query.image
    )
    words = {
        w.split("{x}")[0] for h in HOPS if hop_relation(h) == "capital>continent" for w in (*h.train, *h.held_out)
    }
    hops = [p.query.prompt for e, p in probes if p.variant == "hop" and not RELATIONS[e.relation].identity]
    assert hops and not any(prompt.startswith(tuple(w for w in words if w)) for prompt in hops)


def test_the_table_is_part_of_the_streams_identity(stream, table):
    assert stream.digest != load_stream("atlas", edits=500, seed=0, known="all").digest
    assert read_known(str(table), load_world()).digest == read_known(str(table), load_world()).digest


def test_a_table_of_another_world_or_shape_is_refused(table, tmp_path):
    full = pq.read_table(table).slice(0, 3)
    strange = full.set_column(0, "entity", pa.array(["e-none"] * 3))
    pq.write_table(strange, tmp_path / "strange.parquet")
    with pytest.raises(StreamError, match="'e-none' is not in the atlas"):
        load_stream("atlas", edits=1, known=str(tmp_path / "strange.parquet"))
    pq.write_table(full.drop_columns(["correct"]), tmp_path / "less.parquet")
    with pytest.raises(StreamError, match="column 'correct' is missing"):
        load_stream("atlas", edits=1, known=str(tmp_path / "less.parquet"))


def test_a_model_that_knows_nothing_leaves_nothing_to_edit(table, tmp_path):
    full = pq.read_table(table).slice(0, 50)
    nothing = full.set_column(5, "correct", pa.array([False] * 50))
    pq.write_table(nothing, tmp_path / "nothing.parquet")
    with pytest.raises(StreamError, match="no edit is left"):
        load_stream("atlas", edits=5, known=str(tmp_path / "nothing.parquet"))


def test_a_small_file_of_many_rows_is_refused_before_it_is_read(table, tmp_path):
    row = pq.read_table(table).slice(0, 1)
    many = {
        name: pa.DictionaryArray.from_arrays(pa.array([0] * 600_000, pa.int8()), pa.array(row[name].to_pylist()))
        if pa.types.is_string(row[name].combine_chunks().type) or pa.types.is_dictionary(row[name].type)
        else pa.array(row[name].to_pylist() * 600_000)
        for name in row.column_names
    }
    with pq.ParquetWriter(tmp_path / "many.parquet", pa.table(many).schema) as writer:
        for _ in range(10):
            writer.write_table(pa.table(many))
    with pytest.raises(StreamError, match=r"many\.parquet: 6000000 rows .* at most 5000000 rows"):
        load_stream("atlas", edits=1, known=str(tmp_path / "many.parquet"))


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("correct", ["maybe"] * 3, "column 'correct' holds string; expected true and false"),
        ("template", ["x"] * 3, "column 'template' holds string; expected whole numbers"),
        ("template", [0, None, 0], "column 'template' has 1 empty values"),
        ("template", [99] * 3, "column 'template': relation '[a-z_>]+' has [0-9]+ wordings"),
        ("entity", [1, 2, 3], "column 'entity' holds int64; expected texts"),
        ("relation", ["no\x1bsuch"] * 3, r"column 'relation': relation 'no\\x1bsuch' is not in the atlas"),
        ("template_split", ["test"] * 3, "column 'template_split': template_split 'test'"),
    ],
)
def test_a_wrong_column_of_a_table_is_named_with_the_file(table, tmp_path, column, values, message):
    full = pq.read_table(table).slice(0, 3)
    full = full.set_column(COLUMNS.index("correct"), "correct", pa.array([True] * 3))
    full = full.set_column(full.column_names.index(column), column, pa.array(values))
    pq.write_table(full, tmp_path / "wrong.parquet")
    with pytest.raises(StreamError, match=rf"wrong\.parquet.*{message}"):
        load_stream("atlas", edits=1, known=str(tmp_path / "wrong.parquet"))


def test_what_is_asked_twice_is_known_once(table, tmp_path):
    full = pq.read_table(table)
    pq.write_table(pa.concat_tables([full, full]), tmp_path / "twice.parquet")
    once, twice = (read_known(str(path), load_world()) for path in (table, tmp_path / "twice.parquet"))
    assert once.rows == twice.rows
