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
    assert "mine.jsonl" in str(error.value) and "--skip-bad" in str(error.value)


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


def edits_of(path, **options):
    return load_stream("jsonl", edits=100, path=str(path), **options)


TEXTS = ["a\u2028b", "c\x85d\u2029e", "naïve 鳥 \U0001f600", "two\nlines\r\nof it", "\u200d\ufe0f"]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("ascii_only", [True, False])
@pytest.mark.parametrize("form", ["lines", "array", "indented array"])
def test_the_same_records_come_out_of_every_form_of_file(write, tmp_path, form, ascii_only, mark, end):
    records = [{"prompt": f"Who is {t}?", "target": t, "subject": t} for t in TEXTS]
    wanted = edits_of(write(*records))
    indent = 1 if form == "indented array" else None
    text = json.dumps(records, ensure_ascii=ascii_only, indent=indent)
    if form == "lines":
        text = "\n".join(json.dumps(r, ensure_ascii=ascii_only) for r in records) + "\n"
    path = tmp_path / "other.json"
    path.write_bytes(mark + text.replace("\n", end).encode())
    assert edits_of(path).edits == wanted.edits and edits_of(path).digest == wanted.digest
    assert [e.target for e in wanted.edits] == TEXTS


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (r'{"prompt": "a\ud83d", "target": "b"}', r"line 2, field 'prompt': \\ud83d is half a character"),
        (r'{"prompt": "a", "target": "b", "prompt_kind": "\ud800"}', r"line 2, field 'prompt_kind': \\ud800 is half"),
        (r'{"prompt": "a", "target": "b", "\ud800": 1}', r"line 2, field '\\ud800': no such field"),
        ('{"prompt": "look <image> here", "target": "b"}', "line 2, field 'prompt': '<image>' marks the place"),
        ('{"prompt": "a", "target": "<|vision_start|>"}', "line 2, field 'target': '<|vision_start|>' marks"),
        ('{"prompt": "a", "target": "b", "target": "c"}', "line 2, field 'target': it is given twice"),
        ('{"prompt": "a", "target": NaN}', "line 2, field 'target': expected a text, got nan"),
        ('{"prompt": ' + "[" * 100_000, "line 2, lists or objects are nested too deep"),
        ('{"prompt": ' + "[" * 500 + "]" * 500 + "}", "line 2, field 'prompt': expected a text, got a list"),
        ('{"prompt": "a", "target": ' + "9" * 5000 + "}", "field 'target': expected a text, got a number of 5000"),
        ('{"prompt": "a"} {"target": "b"}', "line 2, column 17: no JSON"),
        ('"a text"', "line 2: expected an object, got 'a text'"),
        ('{"prompt": "a", "target": "b", "probes": [3]}', r"line 2, field 'probes\[0\]': expected an object, got 3"),
        ("\x00", "line 2, column 1: no JSON"),
    ],
)
def test_what_no_record_can_be_is_named_with_file_line_and_field(write, line, message):
    with pytest.raises(StreamError, match=message.replace("|", r"\|")) as error:
        edits_of(write(EDIT, line))
    assert "mine.jsonl" in str(error.value) and len(str(error.value)) < 800


@pytest.mark.parametrize("hops", ["9" * 5000, "9" * 30, "-1", "1.5", "true", "NaN", '"1"', "1e400"])
def test_hops_are_a_small_whole_number(write, hops):
    probe = f'{{"axis": "portability", "prompt": "x", "target": "y", "hops": {hops}}}'
    with pytest.raises(StreamError, match=r"field 'probes\[0\]\.hops': expected a whole number from 0 to 1000"):
        edits_of(write(f'{{"prompt": "a", "target": "b", "probes": [{probe}]}}'))


def test_bytes_that_are_no_utf_8_are_named_with_line_and_field(tmp_path):
    path = tmp_path / "latin.jsonl"
    path.write_bytes(b'{"prompt": "a", "target": "b"}\n{"prompt": "caf\xe9", "target": "b"}\n')
    with pytest.raises(StreamError, match=r"latin\.jsonl, line 2, field 'prompt': \\udce9 .* no UTF-8"):
        edits_of(path)
    assert len(edits_of(path, skip_bad=True)) == 1
    path.write_text('{"prompt": "a", "target": "b"}', encoding="utf-16")
    with pytest.raises(StreamError, match=r"stream\.path=.*it is UTF-16\. Save it as UTF-8"):
        edits_of(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[{"prompt": "a", "target": "b"},\n{"prompt": "c"}]', r"record 2 \(line 2\), field 'target': it is missing"),
        ('[{"prompt": "a", "target": "b"}\n{"prompt": "c"}]', r"record 1 \(line 1\): a comma or the end"),
        ('[{"prompt": "a", "target": "b"},\n]', "line 2, column 1: no JSON in record 2"),
        ('[{"prompt": "a", "target": "b"}]\nx', "line 2: something stands after the end"),
        ("[" * 100_000, "record 1.*nested too deep"),
        ("[]", r"no record of split 'edit' is left \(0 were read"),
    ],
)
def test_a_broken_array_is_named_by_record_and_line(tmp_path, text, message):
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(StreamError, match=message) as error:
        edits_of(path)
    assert "a.json" in str(error.value)


def test_all_bad_records_are_listed_the_first_twenty_and_their_number(write):
    records = [{"prompt": "p", "target": f"t{i}", "image": f"{i}.png"} for i in range(30)]
    with pytest.raises(StreamError) as error:
        edits_of(write(EDIT, *records, {"prompt": "x"}))
    lines = str(error.value).splitlines()
    assert "31 of 32 records cannot be used" in lines[0] and "and 11 more problems" in lines[-2]
    assert ["line 2, field 'image'" in lines[1], "line 21, field 'image'" in lines[20], len(lines)] == [
        True,
        True,
        23,
    ]


def test_every_mistake_of_one_record_is_listed(write):
    probes = [{"axis": "locality", "prompt": "x", "target": "y", "image": "no.png"}, {"axis": "port", "prompt": ""}]
    with pytest.raises(StreamError) as error:
        edits_of(write({"prompt": "a", "image": "nowhere.png", "split": "edits", "probes": probes}))
    for field in ("image", "target", "split", "probes[0].image", "probes[1].axis", "probes[1].prompt"):
        assert f"line 1, field '{field}'" in str(error.value), field


def test_bad_records_are_left_out_when_asked_for_and_said(write):
    good = {"prompt": "b", "target": "c"}
    after = {"prompt": "d", "target": "e", "supersedes": "gone"}
    path = write({**EDIT, "image": "gone.png", "id": "gone"}, good, after)
    stream = edits_of(path, skip_bad=True)
    assert [e.target for e in stream.edits] == ["c"]
    assert "2 of 3 records are left out" in stream.notes[0] and "line 1, field 'image'" in stream.notes[0]
    assert "line 3, field 'supersedes'" in stream.notes[0]
    with pytest.raises(StreamError, match=r"no record of split 'edit' is left \(1 were read, 1 left out\)"):
        edits_of(write({**EDIT, "image": "gone.png"}), skip_bad=True)


def test_what_was_left_out_is_part_of_the_identity(write):
    good, bad = {"prompt": "b", "target": "c"}, {"prompt": "x", "target": "y", "image": "gone.png"}
    whole, one, other = (
        edits_of(write(*r), skip_bad=True) for r in ([good], [good, bad], [good, {**bad, "target": "z"}])
    )
    assert whole.edits == one.edits == other.edits
    assert len({whole.digest, one.digest, other.digest}) == 3 and whole.notes == ()


def test_a_repeated_record_is_one_edit_with_the_probes_of_both(write):
    second = {**EDIT, "probes": [{"axis": "locality", "prompt": "Capital of Peru?", "target": "Lima"}]}
    stream = edits_of(write(EDIT, second, {**EDIT, "id": "mine", "source": "books"}))
    (edit,) = stream.edits
    assert (edit.id, edit.source, edit.supersedes) == ("mine", "books", None)
    asked = [(p.axis, p.query.prompt) for p in stream.probes("mine")]
    assert asked == [
        ("reliability", "What is this?"),
        ("locality", "Capital of Kenya?"),
        ("locality", "Capital of Peru?"),
    ]
    assert "joined to it with their probes: 2" in stream.notes[0]
    with pytest.raises(StreamError, match="line 2, field 'subject': it repeats line 1"):
        edits_of(write(EDIT, {**EDIT, "subject": "fish"}))
    assert len(edits_of(write({**EDIT, "id": "a"}, {**EDIT, "id": "b"}))) == 2  # ids tell them apart
    with pytest.raises(StreamError, match="line 2, field 'split': the same edit is of split 'edit' in line 1"):
        edits_of(write(EDIT, {**EDIT, "split": "fit"}))


def test_the_same_question_again_replaces_the_earlier_answer(write):
    records = [{"prompt": "Who rules?", "target": t} for t in ("Ann", "Bob", "Ann")]
    first, second, third = edits_of(write(*records)).edits
    assert (first.supersedes, second.supersedes, third.supersedes) == (None, first.id, second.id)
    fit = [{**r, "split": "fit"} for r in records[:2]]
    assert [i.edit.supersedes for i in edits_of(write(EDIT, *fit)).pool(2).items] == [None, None]


def test_a_rephrase_that_repeats_the_question_is_one_of_the_text_and_is_counted(write):
    same = {"axis": "generality", "prompt": EDIT["prompt"], "target": "heron"}
    probes = [{**same, "image": "a.png", "variant": "same"}, {**same, "image": "./a.png", "prompt": "Name it."}, same]
    stream = edits_of(write({**EDIT, "probes": probes}))
    _, *found = stream.probes(stream.edits[0].id)
    assert [p.modality for p in found] == ["text", "text", "text"]
    assert "counted as T-Gen: 1" in stream.notes[0]


@pytest.mark.parametrize("field", ["id", "subject", "relation", "source", "prompt_kind", "target", "prompt"])
def test_every_field_of_a_record_is_part_of_the_identity(write, field):
    record = {**EDIT, "id": "x", "relation": "r", "source": "s", "prompt_kind": "partial"}
    assert edits_of(write(record)).digest != edits_of(write({**record, field: "else"})).digest


def test_what_was_true_before_is_no_part_of_an_edit_but_of_its_stream(write):
    plain, told = (edits_of(write({**EDIT, **more})) for more in ({}, {"truths": ["egret", "bird"]}))
    edit = told.edits[0]
    assert edit == plain.edits[0] and told.digest != plain.digest
    assert told.truths(edit.id) == ("egret", "bird") and plain.truths(edit.id) == ()
    joined = edits_of(write(EDIT, {**EDIT, "truths": ["egret"]}))
    assert len(joined) == 1 and joined.truths(joined.edits[0].id) == ("egret",)
    for bad, message in (("egret", "expected a list of texts"), ([""], "field 'truths")):
        with pytest.raises(StreamError, match=message):
            edits_of(write({**EDIT, "truths": bad}))
    with pytest.raises(StreamError, match="field 'truths': it repeats line 1, which says another one"):
        edits_of(write({**EDIT, "truths": ["egret"]}, {**EDIT, "truths": ["stork"]}))


@pytest.mark.parametrize("change", [{"variant": "v"}, {"reference": "target"}, {"accepted": ["x"]}, {"hops": 3}])
def test_every_field_of_a_probe_is_part_of_the_identity(write, change):
    changed = {**EDIT, "probes": [{**EDIT["probes"][0], **change}]}
    assert edits_of(write(EDIT)).digest != edits_of(write(changed)).digest
    for split in ("fit", "general"):
        pair = [edits_of(write({"prompt": "q", "target": "t"}, {**one, "split": split})) for one in (EDIT, changed)]
        assert (pair[0].digest != pair[1].digest) == (split == "fit")  # a general record is asked as it is


def test_null_says_nothing_where_a_field_is_not_needed(write):
    nulls = dict.fromkeys(
        ("id", "image", "subject", "relation", "source", "prompt_kind", "supersedes", "probes", "truths")
    )
    stream = edits_of(write({"prompt": "a", "target": "b", **nulls}))
    assert stream.digest == edits_of(write({"prompt": "a", "target": "b"})).digest
