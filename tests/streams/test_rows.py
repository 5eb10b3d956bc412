"""Claims about the rows that show what a stream edits, asks and draws."""

from streams.atlas.pictures import pictures_of
from streams.atlas.world import load_world
from streams.pictures.images import open_image
from streams.rows import edit_rows, probe_rows
from streams.stream import load_stream
from streams.types import ImageRef


def test_every_edit_and_probe_has_one_row_with_its_own_values():
    stream = load_stream("toy", edits=12, seed=0, order="reedits", reedits=0.5)
    edits, probes = list(edit_rows(stream)), list(probe_rows(stream))
    assert [row["edit_id"] for row in edits] == [e.id for e in stream.edits]
    assert [row["step"] for row in edits] == list(range(1, 13))
    assert [row["supersedes"] for row in edits] == [e.supersedes or "" for e in stream.edits]
    assert [row["probe_id"] for row in probes] == [p.id for p in stream.every_probe()]
    assert [row["target"] for row in probes] == [p.target for p in stream.every_probe()]
    assert {str(row["edit_id"]) for row in probes} == {e.id for e in stream.edits} | {""}


def test_a_column_has_one_type_in_all_rows():
    stream = load_stream("toy", edits=10, seed=0)
    for rows in (list(edit_rows(stream)), list(probe_rows(stream))):
        for name in rows[0]:
            assert len({type(row[name]) for row in rows}) == 1, name


def test_every_listed_picture_opens_and_can_be_found_by_name():
    world = load_world()
    rows = list(pictures_of(world))
    assert len(rows) == sum(len(e.renderings) for e in world.entities)
    assert {r["split"] for r in rows} == {"edit", "train", "tune"} and {r["drawing"] for r in rows} == {
        "training",
        "held out",
    }
    found = list(pictures_of(world, "grinning face"))
    assert found and all("grinning face" in row["name"].casefold() for row in found)
    assert open_image(ImageRef(found[0]["picture"], "")).size == (64, 64)
