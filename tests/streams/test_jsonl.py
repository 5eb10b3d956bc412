"""Claims about a user's own data: what is read, and that every error names file, line and field."""

import json

import pytest
from PIL import Image

from streams.stream import StreamError, load_stream

EDIT = {
    "prompt": "What is this?",
    "image": "a.png",
    "target": "heron",
    "subject": "bird",
    "probes": [{"axis": "locality", "variant": "text", "prompt": "Capital of Kenya?", "target": "Nairobi"}],
}


@pytest.fixture
def write(tmp_path):
    Image.new("RGB", (4, 4), "red").save(tmp_path / "a.png")

    def _write(*records):
        path = tmp_path / "mine.jsonl"
        path.write_text("\n".join(r if isinstance(r, str) else json.dumps(r) for r in records))
        return path

    return _write


def test_edits_probes_general_and_fit_are_read(write):
    general = {"prompt": "Largest planet?", "target": "Jupiter", "split": "general"}
    path = write(EDIT, "", general, {**EDIT, "target": "stork", "split": "fit"})
    stream = load_stream("jsonl", edits=10, path=str(path))
    assert [e.target for e in stream.edits] == ["heron"]
    reliability, locality = stream.probes(stream.edits[0].id)
    assert (reliability.axis, reliability.query) == ("reliability", stream.edits[0].query)
    assert (locality.reference, locality.modality) == ("baseline", "text")
    assert [p.target for p in stream.general] == ["Jupiter"]
    assert [i.edit.target for i in stream.pool(5).items] == ["stork"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"target": None}, r"line 2, field 'target': expected a text"),
        ({"targt": "x"}, r"line 2, field 'targt': no such field. Did you mean 'target'"),
        ({"image": "b.png"}, r"line 2, field 'image'.*b\.png"),
        ({"image": "../b.png"}, r"line 2, field 'image'.*leaves its root"),
        ({"image": "mine.jsonl"}, r"line 2, field 'image'.*not a picture"),
        ({"probes": [{"axis": "localty", "prompt": "p", "target": "t"}]}, r"field 'probes\[0\]\.axis'.*'localty'"),
        ({"probes": [{"axis": "locality", "target": "t"}]}, r"field 'probes\[0\]\.prompt': it is missing"),
        ({"supersedes": "later"}, r"field 'supersedes': no record before"),
        ({"id": "one"}, r"field 'id': 'one' is already used in line 1"),
    ],
)
def test_a_bad_record_is_named(write, change, message):
    path = write({**EDIT, "id": "one"}, {**EDIT, "target": "stork", **change})
    with pytest.raises(StreamError, match=message) as error:
        load_stream("jsonl", edits=10, path=str(path))
    assert "mine.jsonl" in str(error.value)


def test_broken_json_and_nothing_to_edit(write):
    with pytest.raises(StreamError, match="line 2, column"):
        load_stream("jsonl", edits=1, path=str(write(EDIT, '{"prompt": ')))
    with pytest.raises(StreamError, match="no record of split 'edit'"):
        load_stream("jsonl", edits=1, path=str(write()))
    with pytest.raises(StreamError, match="cannot read"):
        load_stream("jsonl", edits=1, path="nowhere.jsonl")
    with pytest.raises(StreamError, match=r"stream\.path"):
        load_stream("jsonl", edits=1)


def test_digest_follows_content(write):
    first = load_stream("jsonl", edits=10, path=str(write(EDIT))).digest
    assert load_stream("jsonl", edits=10, path=str(write(EDIT, ""))).digest == first
    changed = {**EDIT, "probes": [{**EDIT["probes"][0], "target": "Mombasa"}]}
    assert load_stream("jsonl", edits=10, path=str(write(changed))).digest != first
