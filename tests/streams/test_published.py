"""Claims about the published benchmarks: unchanged files are read, each field is asked as its paper asks it."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from published_records import (
    EVAL,
    TRAIN,
    cckeb,
    comprehendedit,
    five,
    hop,
    mmke,
    onehop,
    write_benchmark,
    write_pictures,
    write_records,
)
from typer.testing import CliRunner

from lifelong.cli.main import app
from streams.pictures.images import open_image
from streams.published.made import made_records
from streams.stream import Stream, StreamError, load_stream
from streams.types import ImageError

NAMES = sorted(EVAL)
PICTURED = sorted(set(NAMES) - {"zsre", "counterfact", "wikibigedit"})
REL, GEN_T, GEN_I = ("reliability", "target", 0), ("generality text", "target", 0), ("generality image", "target", 0)
LOC_T, LOC_I = ("locality text", "baseline", 0), ("locality image", "baseline", 0)
HOP = ("portability", "target", 1)
MMEDIT = [REL, GEN_T, GEN_I, LOC_T, LOC_I]
ASKED = {
    "evqa": MMEDIT,
    "eic": MMEDIT,
    "vlkeb": [*MMEDIT, HOP],
    "cckeb": [*MMEDIT, ("portability", "target", 2)],
    "fgvedit": [REL, GEN_T, LOC_T, ("specificity", "target", 0), ("specificity", "baseline", 0)],
    "mmke": [*MMEDIT, REL, REL, REL, REL, GEN_I, GEN_I, HOP],
    "comprehendedit": [REL, GEN_T, GEN_T, LOC_T, LOC_I, HOP, HOP],
    "mmku": [REL],
    "zsre": [REL, GEN_T, LOC_T, HOP],
    "counterfact": [REL, GEN_T, GEN_T, LOC_T, LOC_T],
    "wikibigedit": [REL, GEN_T, GEN_T, LOC_T, HOP],
}
NEEDED = {
    "evqa": ["src", "alt", "rephrase", "image", "image_rephrase", "loc", "loc_ans", "m_loc", "m_loc_q", "m_loc_a"],
    "fgvedit": ["src", "alt", "rephrase", "image", "loc", "loc_ans", "fg_gen_q", "fg_gen_a", "fg_loc_q", "fg_loc_a"],
    "mmke": ["knowledge_type", "rel_1", "rel_ans_1", "m_rel_2", "m_rel_ans_2"],
    "comprehendedit": ["question", "answer", "rephrase", "image", "source", "locality_prompt"],
    "mmku": ["text", "answer"],
    "zsre": ["src", "alt", "rephrase", "loc", "loc_ans"],
    "wikibigedit": ["update", "ans"],
}


def read(root: Path, name: str, **options: Any) -> Stream:
    return load_stream(name, edits=options.pop("edits", 100), root=str(root), **options)


def asked_of(stream: Stream, place: int) -> Counter[tuple[str, str, int]]:
    halves = ("generality", "locality")
    return Counter(
        (f"{p.axis} {p.modality}" if p.axis in halves else p.axis, p.reference, p.hops)
        for p in stream.probes(stream.edits[place].id)
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_published_file_is_a_stream_and_every_field_is_asked_on_its_axis(name: str, tmp_path: Path) -> None:
    write_benchmark(tmp_path, name)
    stream = read(tmp_path, name)
    assert stream.reading.records == 3 and not stream.reading.problems
    assert len(stream) == (6 if name == "cckeb" else 3)
    assert asked_of(stream, 0) == Counter(ASKED[name])
    assert len({p.id for p in stream.every_probe()}) == len(stream.every_probe())


@pytest.mark.parametrize("name", NAMES)
def test_a_file_lies_in_the_root_or_two_levels_below_it(name: str, tmp_path: Path) -> None:
    write_benchmark(tmp_path / "a" / "b", name)
    root = tmp_path if EVAL[name][0].count("/") < 2 else tmp_path / "a"
    assert read(root, name).digest == read(tmp_path / "a" / "b", name).digest


def test_cckeb_tells_a_visual_edit_and_then_a_textual_one_that_answers_what_needs_both(tmp_path: Path) -> None:
    write_benchmark(tmp_path, "cckeb")
    stream = read(tmp_path, "cckeb")
    seen, told = stream.edits[:2]
    assert seen.query.image is not None and told.query.image is None and told.target == "Ann 0"
    assert stream.truths(seen.id) == ("a rock",) and stream.truths(told.id) == ("no body",)
    (both,) = [p for p in stream.probes(told.id) if p.axis == "compositional"]
    assert both.target == "Ann 0" and both.query.image == seen.query.image and "comp 0" in both.query.prompt


def test_vlkeb_says_what_was_true_and_asks_one_to_four_hops(tmp_path: Path) -> None:
    write_benchmark(tmp_path, "vlkeb")
    ports = [hop(f"{n}-hop", 0) for n in (1, 2, 3, 4)]
    write_records(tmp_path / "eval_multihop.json", [{**five(0), "port_new": ports}])
    assert read(tmp_path, "vlkeb").reading.records == 3, "the one-hop file comes first"
    stream = read(tmp_path, "vlkeb", part="multihop")
    (edit,) = stream.edits
    assert stream.truths(edit.id) == ("a rock",) and edit.subject == "p"
    assert [p.hops for p in stream.probes(edit.id) if p.axis == "portability"] == [1, 2, 3, 4]


def test_mmke_asks_what_is_seen_by_its_own_question_and_a_hop_with_its_own_picture(tmp_path: Path) -> None:
    record = {k: v for k, v in mmke(0).items() if not k.startswith(("rel_", "m_rel_"))}
    record |= {"knowledge_type": "visual_knowledge", "rel": "r?", "rel_ans": "a", "m_rel": "m?", "m_rel_ans": "b"}
    record |= {"one_hop_img": "p/other.png", "image_rephrase_question": "again?"}
    write_benchmark(tmp_path, "mmke")
    write_records(tmp_path / "data_json/visual/eval.json", [record])
    assert len(read(tmp_path, "mmke")) == 4 and len(read(tmp_path, "mmke", part="visual")) == 1
    stream = read(tmp_path, "mmke", part="visual")
    probes = stream.probes(stream.edits[0].id)
    assert [p.query.prompt for p in probes if p.variant == "image-question" and p.axis == "generality"] == ["again?"]
    (port,) = [p for p in probes if p.axis == "portability"]
    assert port.query.image is not None and port.query.image.uri == "file:p/other.png"


def test_counterfact_is_read_in_both_of_its_schemas(tmp_path: Path) -> None:
    flat = {
        "case_id": 0, "prompt": "s speaks", "target_new": "English", "subject": "s", "ground_truth": "French",
        "rephrase_prompt": "s says", "locality_prompt": "t speaks", "locality_ground_truth": "Dutch",
    }  # fmt: skip
    write_records(tmp_path / "counterfact-edit.json", [flat])
    stream = read(tmp_path, "counterfact")
    assert asked_of(stream, 0) == Counter([REL, GEN_T, LOC_T]) and stream.truths(stream.edits[0].id) == ("French",)
    write_benchmark(tmp_path, "counterfact")
    stream = read(tmp_path, "counterfact")
    assert stream.edits[0].query.prompt == "The mother tongue of s0 is" and stream.edits[0].relation == "P103"
    near, attribute = (p for p in stream.probes(stream.edits[0].id) if p.axis == "locality")
    assert (near.target, attribute.target) == ("French", "English")


def test_what_a_wikibigedit_record_lacks_is_not_asked_and_steps_of_time_follow_each_other(tmp_path: Path) -> None:
    bare = {"update": "q?", "ans": "a", "rephrase": None, "loc": None, "mhop": None}
    write_records(tmp_path / "wiki_big_edit_20240220_20240301.json", [bare])
    write_benchmark(tmp_path, "wikibigedit")
    stream = read(tmp_path, "wikibigedit")
    assert [e.source for e in stream.edits] == ["1", "1", "1", "2"] and asked_of(stream, 3) == Counter([REL])
    assert len(read(tmp_path, "wikibigedit", part="2")) == 1
    assert read(tmp_path, "wikibigedit", edits=2).reading.records == 3, "later files are not read for fewer edits"


def test_mmku_learns_from_conversations(tmp_path: Path) -> None:
    write_benchmark(tmp_path, "mmku")
    turns = [{"from": "human", "value": "<image>\nWho?"}, {"from": "gpt", "value": "Ann"}]
    chat = [{"role": "user", "content": "Whose?"}, {"role": "assistant", "content": "Bob's"}]
    file = tmp_path / TRAIN["mmku"]
    write_records(file, [{"image": "p/0.png", "conversations": turns}, {"image": "p/1.png", "messages": chat}])
    stream = read(tmp_path, "mmku")
    assert stream.edits[0].query.prompt == "Who is this, 0?", "the mark of the picture is taken away"
    found = {(i.edit.query.prompt, i.edit.target) for i in stream.pool(5).items}
    assert found == {("Who?", "Ann"), ("Whose?", "Bob's")}
    write_records(file, [{"image": "p/0.png", "conversations": turns[:1]}])
    with pytest.raises(StreamError, match=r"record 1 .*'conversations': nobody is 'gpt' there"):
        read(tmp_path, "mmku").pool(1)


@pytest.mark.parametrize(
    ("name", "template", "edit", "other", "text"),
    [
        ("evqa", "published", "Question: What is this, 0? Short answer:", "Question: What colour? Short answer:", ""),
        ("evqa", "liveedit", "What is this, 0? The answer is:", "What colour? The answer is:", "?"),
        ("evqa", "plain", "What is this, 0?", "What colour?", ""),
        ("evqa", "Q: {} A:", "Q: What is this, 0? A:", "Q: What colour? A:", ""),
        ("eic", "published", "What is this, 0?", "Question: What colour? Short answer:", ""),
        ("eic", "liveedit", "What is this, 0?", "What colour? The answer is:", "?"),
        ("vlkeb", "published", "What is this, 0?", "What colour?", ""),
        ("vlkeb", "liveedit", "What is this, 0?", "What colour? The answer is:", "?"),
    ],
)
def test_questions_are_worded_as_their_paper_words_them(
    name: str, template: str, edit: str, other: str, text: str, tmp_path: Path
) -> None:
    write_benchmark(tmp_path, name)
    stream = read(tmp_path, name, template=template)
    said = {(p.axis, p.modality): p.query.prompt for p in stream.probes(stream.edits[0].id)}
    assert stream.edits[0].query.prompt == said["reliability", "image"] == said["generality", "image"] == edit
    assert said["locality", "image"] == other and said["locality", "text"] == f"nq question: who was 0{text}"
    with pytest.raises(StreamError, match="Did you mean 'published'"):
        read(tmp_path, name, template="publishd")


def test_each_data_set_of_comprehendedit_has_its_own_wording(tmp_path: Path) -> None:
    write_benchmark(tmp_path, "comprehendedit")
    path = tmp_path / "ComprehendEdit_test.json"
    write_records(
        path, [comprehendedit(0), {**comprehendedit(1), "source": "VSR"}, {**comprehendedit(2), "source": "X"}]
    )
    with pytest.raises(StreamError, match=r"record 3 .*'source': expected one of gqa, .* got 'X'"):
        read(tmp_path, "comprehendedit")
    counted, true = read(tmp_path, "comprehendedit", skip_bad=True).edits
    assert counted.query.prompt == "Question: How many, 0? Answer with a number. Short answer:"
    assert true.query.prompt.startswith("Question: Is this description true or false? Description: How many, 1?")


@pytest.mark.parametrize(("name", "field"), [(name, field) for name, fields in NEEDED.items() for field in fields])
def test_a_missing_field_is_named_with_file_and_record(name: str, field: str, tmp_path: Path) -> None:
    path = write_benchmark(tmp_path, name)
    records = [EVAL[name][1](i) for i in range(3)]
    for n in (1, 2):
        records[n] = {k: v for k, v in records[n].items() if k != field}
    write_records(path, records)
    with pytest.raises(StreamError) as error:
        read(tmp_path, name)
    lines = error.value.reading.problems
    places = [f"line {n}" if path.suffix == ".jsonl" else f"record {n} (line " for n in (2, 3)]
    assert error.value.reading.bad == 2 and all(any(place in line for line in lines) for place in places)
    named = [line for line in lines if f"'{field}'" in line]
    assert len(named) == 2 and all(line.startswith(str(path)) for line in lines)
    assert len(read(tmp_path, name, skip_bad=True)) == 1 and "2 of 3 records" in str(error.value)


def test_fields_that_no_schema_has_are_passed_over_and_a_misspelt_one_is_shown(tmp_path: Path) -> None:
    path = write_benchmark(tmp_path, "evqa")
    write_records(path, [{**five(0), "from": "elsewhere", "local_image": "x"}])
    assert len(read(tmp_path, "evqa")) == 1
    record = {**five(0), "image_rephrased": "r/0.png"}
    del record["image_rephrase"]
    write_records(path, [record])
    with pytest.raises(StreamError, match="'image_rephrase': it is missing. There is 'image_rephrased'"):
        read(tmp_path, "evqa")


def test_a_repeated_record_is_an_edit_of_its_own_that_replaces_the_first(tmp_path: Path) -> None:
    path = write_benchmark(tmp_path, "evqa")
    write_records(path, [five(0), {**five(0), "loc": "nq question: another"}, five(1)])
    stream = read(tmp_path, "evqa")
    first, again, _ = stream.edits
    assert len(stream) == 3 and again.supersedes == first.id and again.id != first.id
    assert (first.query, first.target) == (again.query, again.target)
    assert {p.query.prompt for p in stream.probes(again.id)} != {p.query.prompt for p in stream.probes(first.id)}


def test_ten_answers_are_the_most_frequent_one_and_others_that_count_and_an_empty_one_is_none(tmp_path: Path) -> None:
    path = write_benchmark(tmp_path, "evqa")
    votes = ["", "red", "rust", "red", "", "red", "brick", "rust", "red", ""]
    write_records(path, [{**five(0), "m_loc_a": votes, "alt": ["b", "a", "b"]}])
    stream = read(tmp_path, "evqa")
    probes = {(p.axis, p.modality): p for p in stream.probes(stream.edits[0].id)}
    assert probes["locality", "image"].answers == ("red", "rust", "brick")
    assert stream.edits[0].target == "b" and probes["reliability", "image"].answers == ("b", "a")
    write_records(path, [{**five(0), "m_loc_a": ["", "", "red"]}])
    with pytest.raises(StreamError, match="'m_loc_a': the most frequent of its 3 answers is empty"):
        read(tmp_path, "evqa")
    write_records(path, [{**five(0), "m_loc_a": []}])
    with pytest.raises(StreamError, match="'m_loc_a': it is an empty list"):
        read(tmp_path, "evqa")


def test_answers_are_kept_as_they_stand(tmp_path: Path) -> None:
    path = write_benchmark(tmp_path, "eic")
    long = "word " * 110 + "end"
    write_records(path, [{**five(0), "alt": " A cat.\n"}, {**five(1), "alt": long}])
    assert [e.target for e in read(tmp_path, "eic").edits] == [" A cat.\n", long]


def test_a_rephrase_equal_to_the_question_and_the_same_picture_again_change_no_words(tmp_path: Path) -> None:
    path = write_benchmark(tmp_path, "evqa")
    write_records(path, [{**five(0), "rephrase": five(0)["src"], "image_rephrase": "./p/../p/0.png"}])
    stream = read(tmp_path, "evqa")
    modes = [
        (p.modality, p.query == stream.edits[0].query)
        for p in stream.probes(stream.edits[0].id)
        if p.axis == "generality"
    ]
    assert modes == [("text", True)] * 2, "both ask the edit's own question: T-Gen, in two variants"
    write_records(path, [five(0)])
    (tmp_path / "r/0.png").write_bytes((tmp_path / "p/0.png").read_bytes())
    stream = read(tmp_path, "evqa")
    probes = [p for p in stream.probes(stream.edits[0].id) if p.axis == "generality"]
    assert [p.modality for p in probes] == ["text", "text"], "the same picture under another name is no other picture"


@pytest.mark.parametrize("name", PICTURED)
def test_a_picture_that_is_not_there_is_named_or_what_needs_it_is_left_out(name: str, tmp_path: Path) -> None:
    path = write_benchmark(tmp_path, name)
    whole = len(read(tmp_path, name).every_probe())
    (tmp_path / "p/1.png").unlink()
    with pytest.raises(StreamError) as error:
        read(tmp_path, name)
    place = "line 2" if path.suffix == ".jsonl" else "record 2 (line"
    assert error.value.reading.problems[0].startswith(f"{path}, {place}") and "'image'" in str(error.value)
    lost = read(tmp_path, name, skip_bad=True)
    assert len(lost) == (4 if name == "cckeb" else 2) and lost.reading.bad >= 1

    write_benchmark(tmp_path, name)
    if name not in ("fgvedit", "mmku"):
        (tmp_path / "p/other.png").unlink()
        found = read(tmp_path, name, pictures="found")
        assert len(found.every_probe()) == whole - 3 and "questions left out" in found.notes[0]


def test_pictures_are_opened_late_and_only_those_of_the_edits_that_are_chosen(tmp_path: Path) -> None:
    write_benchmark(tmp_path, "evqa", 6)
    (tmp_path / "p/1.png").write_bytes(b"no picture at all")
    (tmp_path / "p/5.png").unlink()
    stream = read(tmp_path, "evqa", edits=3)
    assert len(stream) == 3 and stream.reading.records == 6
    broken = stream.edits[1].query.image
    assert broken is not None
    with pytest.raises(ImageError, match="not a picture"):
        open_image(broken)
    with pytest.raises(StreamError, match=r"record 2 .*'image'.*not a picture"):
        read(tmp_path, "evqa", edits=3, pictures="decoded")


def test_a_pattern_of_its_own_may_stand_for_each_picture_that_is_not_there(tmp_path: Path) -> None:
    path = write_benchmark(tmp_path, "evqa", 4)
    write_records(path, [five(0), {**five(1), "image": "gone/a+b.png"}, {**five(2), "image": "gone/c.png"}, five(3)])
    (tmp_path / "p/3.png").write_bytes(b"broken")
    with pytest.raises(StreamError, match="cannot be used"):
        read(tmp_path, "evqa", pictures="all")
    stream = read(tmp_path, "evqa", pictures="drawn", edits=3)
    images = [edit.query.image for edit in stream.edits]
    assert [image and image.uri for image in images] == ["file:p/0.png", "drawn:gone/a+b.png", "drawn:gone/c.png"]
    assert len({open_image(image).tobytes() for image in images if image}) == 3
    assert any("pictures not there" in note and note.endswith(": 2.") for note in stream.notes)
    assert len(stream.probes(stream.edits[1].id)) == 5, "all is asked"
    with pytest.raises(ImageError, match="broken|not a picture"):
        open_image(read(tmp_path, "evqa", pictures="drawn").edits[3].query.image)  # type: ignore[arg-type]


def test_unread_pictures_need_not_be_there_and_a_changed_one_is_another(tmp_path: Path) -> None:
    write_records(tmp_path / "vqa_eval.json", [five(i) for i in range(3)])
    empty = read(tmp_path, "evqa", pictures="unread")
    image = empty.edits[0].query.image
    assert len(empty) == 3 and image is not None
    with pytest.raises(ImageError, match="No such file"):
        open_image(image)
    write_pictures(tmp_path, ["p/0.png"])
    with pytest.raises(ImageError, match="another picture than when the stream was read"):
        open_image(image)
    there = read(tmp_path, "evqa", pictures="unread")
    image = there.edits[0].query.image
    assert image is not None and open_image(image).size == (4, 4)
    assert there.digest == read(tmp_path, "evqa", pictures="unread").digest != empty.digest
    write_pictures(tmp_path, ["p/0.png"], size=9)
    assert read(tmp_path, "evqa", pictures="unread").digest != there.digest
    write_benchmark(tmp_path / "elsewhere", "evqa")
    assert read(tmp_path / "elsewhere", "evqa", pictures="unread").digest != there.digest, (
        "no cache takes one for both"
    )


def test_a_digest_follows_records_pictures_template_and_pool_and_no_folder(tmp_path: Path) -> None:
    write_benchmark(tmp_path / "a", "evqa")
    write_benchmark(tmp_path / "b", "evqa")
    first = read(tmp_path / "a", "evqa").digest
    assert read(tmp_path / "b", "evqa").digest == first != read(tmp_path / "b", "evqa", template="plain").digest
    write_benchmark(tmp_path / "z", "zsre")
    assert read(tmp_path / "z", "zsre", template="rome").digest != read(tmp_path / "z", "zsre").digest, "only probes"
    Image.new("RGB", (5, 5), "white").save(tmp_path / "b/p/other.png")
    assert read(tmp_path / "b", "evqa").digest != first
    write_records(tmp_path / "a/vqa_train.json", [five(7)])
    assert read(tmp_path / "a", "evqa").digest != first


@pytest.mark.parametrize("order", ["file", "shuffled", "same_image"])
def test_the_beginning_of_a_longer_stream_is_the_shorter_one(order: str, tmp_path: Path) -> None:
    write_benchmark(tmp_path, "evqa", 9)
    short, long = read(tmp_path, "evqa", edits=4, order=order), read(tmp_path, "evqa", order=order)
    assert short.edits == long.edits[:4]
    assert [p for e in short.edits for p in short.probes(e.id)] == [p for e in short.edits for p in long.probes(e.id)]
    with pytest.raises(StreamError, match="file: as it stands"):
        read(tmp_path, "evqa", order="sorted")


@pytest.mark.parametrize("name", sorted(TRAIN))
def test_the_training_split_is_the_pool_but_for_what_an_edit_asks(name: str, tmp_path: Path) -> None:
    write_benchmark(tmp_path, name, 8)
    made = EVAL[name][1]
    if name == "counterfact":
        flat = {"prompt": "s{} speaks", "target_new": "English", "subject": "s", "ground_truth": "French"}
        write_records(tmp_path / TRAIN[name], [{**flat, "prompt": f"s{i} speaks"} for i in range(5)])
        wanted = 5
    else:
        write_records(tmp_path / TRAIN[name], [made(i) for i in range(2, 8)])
        write_records(tmp_path / EVAL[name][0], [made(i) for i in range(4)])
        wanted = 8 if name == "cckeb" else 4
    stream = read(tmp_path, name)
    pool = stream.pool(100, 1)
    asked = {e.query for e in stream.edits}
    assert len(pool.items) == wanted and not asked & {i.edit.query for i in pool.items}
    assert all(p.id and p.edit_id == i.edit.id for i in pool.items for p in i.probes)
    assert stream.pool(100, 1) == pool != stream.pool(100, 2) and len(stream.pool(2).items) == 2
    trained = read(tmp_path, name, split="train", edits=2)
    left = {i.edit.query for i in trained.pool(100).items}
    assert left and not left & {e.query for e in trained.edits}


@pytest.mark.parametrize("name", sorted(TRAIN))
def test_all_records_of_a_benchmark_are_one_stream_those_to_edit_first(name: str, tmp_path: Path) -> None:
    write_benchmark(tmp_path, name)
    with pytest.raises(StreamError, match="stream.train=FILE"):
        read(tmp_path, name, split="all")
    make = EVAL[name][1]
    write_records(tmp_path / TRAIN[name], [make(i) for i in range(1, 6)])
    first, second = (read(tmp_path, name, split=split, pictures="drawn") for split in ("eval", "train"))
    both = read(tmp_path, name, split="all", pictures="drawn")
    assert both.reading.records == 8 and len(both) == len(first) + len(second)
    told = [edit.query for edit in both.edits]
    assert told == [edit.query for edit in (*first.edits, *second.edits)]
    with pytest.raises(StreamError, match="asks what an edit of the stream asks"):
        both.pool(3, 0)
    assert read(tmp_path, name, split="all", held_out=2, pictures="drawn").pool(2, 0).items


def test_without_a_training_split_the_end_of_the_file_may_be_held_out(tmp_path: Path) -> None:
    write_benchmark(tmp_path, "zsre", 6)
    with pytest.raises(StreamError, match=r"zsre: its training split .* Say stream.held_out=200"):
        read(tmp_path, "zsre").pool(3)
    stream = read(tmp_path, "zsre", held_out=2)
    assert [e.subject for e in stream.edits] == ["s0", "s1", "s2", "s3"]
    assert {i.edit.subject for i in stream.pool(9).items} == {"s4", "s5"}
    write_benchmark(tmp_path / "w", "wikibigedit", 3)
    with pytest.raises(StreamError, match="it has no training split"):
        read(tmp_path / "w", "wikibigedit").pool(1)


def test_a_bad_training_record_is_named_where_it_is_learnt_from(tmp_path: Path) -> None:
    write_benchmark(tmp_path, "zsre")
    bad = write_records(tmp_path / TRAIN["zsre"], [{"src": "q"}])
    with pytest.raises(StreamError, match="field 'alt': it is missing") as error:
        read(tmp_path, "zsre").pool(3)
    assert str(bad) in str(error.value)


def test_files_and_pictures_that_lie_elsewhere_can_be_said(tmp_path: Path) -> None:
    write_benchmark(tmp_path / "pictures", "evqa")
    other = write_records(tmp_path / "mine.json", [five(0)])
    stream = load_stream("evqa", edits=5, path=str(other), images=str(tmp_path / "pictures"))
    assert len(stream) == 1 and stream.digest
    with pytest.raises(StreamError, match=r"say stream.root=FOLDER, where its files lie \(vqa_eval.json"):
        load_stream("evqa", edits=5)
    with pytest.raises(StreamError, match=r"no file of evqa is there, nor two levels below. Expected vqa_eval.json"):
        load_stream("evqa", edits=5, root=str(tmp_path / "nowhere"))
    write_benchmark(tmp_path / "again", "evqa")
    with pytest.raises(StreamError, match=r"vqa_eval.json is there more than once .* Say stream.path=FILE"):
        load_stream("evqa", edits=5, root=str(tmp_path))


@pytest.mark.parametrize("folder", ["images", "coco", ""])
def test_the_folder_that_paths_of_pictures_begin_at_is_found(folder: str, tmp_path: Path) -> None:
    write_pictures(tmp_path / folder, ["p/other.png", "p/0.png", "r/0.png"])
    write_records(tmp_path / "vqa" / "vqa_eval.json", [five(0)])
    assert len(read(tmp_path, "evqa")) == 1


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[{}, 5]", "expected an object, got 5"),
        ('[{"src": "a", "src": "b"}]', "it is given twice"),
        ('[{"src": "a"} {"src": "b"}]', "a comma or the end of the array is missing"),
        ("{", "no JSON"),
        ("", "no record is left to edit"),
        ('[{"src": "look <image> here"}]', "'<image>' marks the place of a picture"),
        ('[{"image": "../../etc/passwd"}]', "leaves its root"),
        ('[{"image": "https://x/y.png"}]', "an address"),
        ('[{"image": "a\\u0000b"}]', "expected a relative path"),
        ('[{"alt": "\\ud83d"}]', "half a character"),
        ('[{"alt": 5}]', "'alt': expected a text, got 5"),
        ('[{"m_loc_a": [1]}]', r"'m_loc_a\[0\]': expected a text, got 1"),
    ],
)
def test_what_no_file_should_hold_is_told_in_plain_words(text: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "vqa_eval.json").write_text(text)
    with pytest.raises(StreamError, match=told):
        read(tmp_path, "evqa")


@pytest.mark.parametrize("port", [{"port_type": "5-hop", "Q&A": {}}, {"port_type": "1-hop"}, {"port_q": "q"}, "x"])
def test_a_hop_that_cannot_be_asked_is_named(port: object, tmp_path: Path) -> None:
    path = write_benchmark(tmp_path, "vlkeb")
    write_records(path, [{**onehop(0), "port_new": [port]}])
    with pytest.raises(StreamError, match=r"port_new\[0\]"):
        read(tmp_path, "vlkeb")


def test_ten_thousand_records_are_all_read(tmp_path: Path) -> None:
    write_records(tmp_path / "eval_edit_onehop.json", [onehop(i) for i in range(10_000)])
    stream = load_stream("vlkeb", edits=10**6, root=str(tmp_path), pictures="unread")
    assert len(stream) == stream.reading.records == 10_000


def test_made_records_are_read_as_zsre_and_each_is_about_another_subject(tmp_path: Path) -> None:
    runner = CliRunner()
    made = runner.invoke(app, ["stream", "make", "3000", "-o", str(tmp_path / "a")])
    assert made.exit_code == 0 and made.output.strip() == str(tmp_path / "a/zsre_mend_eval.json")
    stream = read(tmp_path / "a", "zsre", edits=5000)
    assert len(stream) == stream.reading.records == 3000 == len({edit.subject for edit in stream.edits})
    assert asked_of(stream, 7) == Counter([REL, GEN_T, LOC_T])
    assert all(stream.truths(edit.id) != (edit.target,) for edit in stream.edits)
    write_records(tmp_path / "b" / "zsre_mend_eval.json", list(made_records(500)))
    assert read(tmp_path / "b", "zsre", edits=500).edits == stream.edits[:500], "a longer file begins like a shorter"
    assert runner.invoke(app, ["stream", "make", "99999999", "-o", str(tmp_path)]).exit_code != 0


def test_a_training_file_is_read_once_for_untouched_questions_and_for_the_pool(tmp_path: Path) -> None:
    write_benchmark(tmp_path, "evqa")
    write_records(tmp_path / TRAIN["evqa"], [five(0), five(1), {"src": "x"}, {"src": "y"}])
    stream = read(tmp_path, "evqa", general=1, edits=2)
    assert stream.general
    with pytest.raises(StreamError, match="2 of 4 records cannot be used"):
        stream.pool(2, 0)


def test_a_record_of_two_edits_is_bad_once(tmp_path: Path) -> None:
    write_benchmark(tmp_path, "cckeb")
    (tmp_path / "p/1.png").unlink()
    reading = read(tmp_path, "cckeb", skip_bad=True).reading
    assert (reading.records, reading.bad) == (3, 1) and len(set(reading.problems)) == len(reading.problems)


def test_a_cckeb_record_may_lack_its_textual_edit(tmp_path: Path) -> None:
    path = write_benchmark(tmp_path, "cckeb")
    record = {k: v for k, v in cckeb(0).items() if k != "textual_edit"}
    write_records(path, [record])
    assert len(read(tmp_path, "cckeb")) == 1
    write_records(path, [{**cckeb(0), "textual_edit": "who"}])
    with pytest.raises(StreamError, match="field 'textual_edit': expected an object"):
        read(tmp_path, "cckeb")
    assert json.loads(path.read_text())[0]["textual_edit"] == "who"


def test_untouched_questions_are_of_the_files_end_and_of_the_training_file(tmp_path: Path) -> None:
    write_benchmark(tmp_path, "evqa", 8)
    learnt = [five(i) | {"src": f"Learnt, {i}?"} for i in range(4)] + [five(0)]  # the last asks what an edit asks
    write_records(tmp_path / TRAIN["evqa"], learnt)
    stream = load_stream("evqa", edits=3, root=str(tmp_path), general=2, template="plain")
    alone = load_stream("evqa", edits=3, root=str(tmp_path), template="plain")
    asked = [(p.variant, p.query.prompt) for p in stream.general]
    last = [("test", "What is this, 6?"), ("test", "What is this, 7?")]
    assert asked == [*last, ("train", "Learnt, 0?"), ("train", "Learnt, 1?")]
    assert stream.edits == alone.edits and alone.general == () and stream.digest != alone.digest
    assert all(p.axis == "general" and p.reference == "baseline" and not p.edit_id for p in stream.general)
    assert len(load_stream("evqa", edits=99, root=str(tmp_path), general=2)) == 6, "what is asked so is no edit"
    assert (
        load_stream("evqa", edits=99, root=str(tmp_path), general=6)
        .general[-1]
        .query.prompt.startswith("Question: L")
    )
