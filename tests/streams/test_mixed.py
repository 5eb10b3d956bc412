"""Claims about `stream=mixed`: parts by turns, each edit with what its own stream asks, and none in another's way."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from published_records import TRAIN, five, write_benchmark, write_records

from lifelong.running.config import hash8, load_config
from lifelong.running.words import ConfigError, parse_words, to_toml
from lifelong.studies.stream_check import examine_stream
from streams.stream import StreamError, load_stream

NAMING = ("name", "country")
ATLAS: list[dict[str, Any]] = [
    {"name": "atlas", "label": "fact", "identity": 0.5, "without": NAMING},
    {"name": "atlas", "label": "naming", "identity": 0.5, "only": NAMING},
]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("evqa", "eic"):
        write_benchmark(tmp_path, name, 6)
        write_records(tmp_path / TRAIN[name], [five(i) | {"src": f"{name} {i}?", "alt": name} for i in range(6)])
    records = [five(i) | {"src": "a photo of", "alt": f"a caption of {i}"} for i in range(6)]
    write_records(tmp_path / "caption_eval_edit.json", records)
    return tmp_path


def test_edits_come_by_turns_each_with_the_probes_of_its_own_stream(root: Path) -> None:
    mixed = load_stream("mixed", edits=9, parts=["evqa", "eic"], pattern=[2, 1], root=str(root))
    assert [edit.source.split("/")[0] for edit in mixed.edits] == ["evqa", "evqa", "eic"] * 3
    alone = {name: load_stream(name, edits=6, root=str(root)) for name in ("evqa", "eic")}
    assert [e.id for e in mixed.edits[::3]] == [e.id for e in alone["evqa"].edits[::2]]
    for edit in mixed.edits:
        of = alone[edit.source.split("/")[0]]
        assert mixed.probes(edit.id) == of.probes(edit.id) and mixed.truths(edit.id) == of.truths(edit.id)
    assert mixed.reading.records == 12


def test_a_mix_ends_with_its_first_part_and_says_so(root: Path) -> None:
    mixed = load_stream("mixed", edits=40, parts=["evqa", "eic"], pattern=[3, 1], root=str(root))
    assert len(mixed) == 8 and any("evqa has no more edits after 8" in note for note in mixed.notes)


def test_its_pool_has_the_share_of_each_part(root: Path) -> None:
    mixed = load_stream("mixed", edits=4, parts=["evqa", "eic"], pattern=[2, 1], root=str(root))
    assert Counter(item.edit.target for item in mixed.pool(6).items) == {"evqa": 4, "eic": 2}


def test_parts_of_one_world_share_its_edits_so_that_none_is_in_the_others_way() -> None:
    mixed = load_stream("mixed", edits=20, parts=ATLAS, pattern=[5, 5])
    kinds = [edit.relation in NAMING for edit in mixed.edits]
    assert kinds == ([False] * 5 + [True] * 5) * 2
    whole = load_stream("atlas", edits=40, identity=0.5)
    known = {edit.id: edit for edit in whole.edits}
    assert all(mixed.probes(e.id) == whole.probes(e.id) for e in mixed.edits if e.id in known) and len(mixed) == 20
    assert (
        mixed.general == whole.general
        and load_stream("mixed", edits=10, parts=ATLAS, pattern=[5, 5]).edits == (mixed.edits[:10])
    )


def test_its_data_are_checked_as_those_of_its_parts_are(root: Path) -> None:
    found = examine_stream("mixed", parts=["evqa", "eic"], root=str(root))
    assert found.ok and found.counts["edits"] == 12 and found.reading.records == 12
    (root / "p" / "3.png").unlink()
    broken = examine_stream("mixed", parts=["evqa", "eic"], root=str(root))
    assert not broken.ok and any("p/3.png" in line for line in broken.reading.problems)
    assert examine_stream("mixed", parts=["toy"], edits=4).counts["edits"] == 4, "nothing is read of it"


def test_its_words_are_read_written_and_read_again_and_a_moved_folder_is_the_same_run(tmp_path: Path) -> None:
    words = ['stream.parts=[{name="evqa",root="data",label="questions"},"eic"]', "stream=mixed", "stream.root=d"]
    config = load_config(None, parse_words(words))
    (tmp_path / "c.toml").write_text(to_toml(config.table()))
    assert load_config(str(tmp_path / "c.toml")) == config
    first = config.table()["stream"]["parts"][0]
    assert first == {"name": "evqa", "label": "questions", "root": str(Path("data").absolute())}
    moved = load_config(None, parse_words([words[0].replace("data", "elsewhere"), *words[1:]]))
    other = load_config(None, parse_words([words[0].replace("questions", "asked"), *words[1:]]))
    hashes = [hash8(one, {"stream": "x"}) for one in (config, moved, other)]
    assert hashes[0] == hashes[1] != hashes[2]
    assert load_config(None, parse_words(["stream=mixed", "stream.parts=evqa,eic", "stream.root=d"])).stream


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({}, "of which streams"),
        ({"parts": ["evq", "eic"]}, "Did you mean 'evqa'"),
        ({"parts": ["toy", "toy"]}, "two parts are called toy: give them a label"),
        ({"parts": ["toy", "mixed"]}, "cannot be a mix"),
        ({"parts": ["toy", "atlas"], "pattern": [1]}, "pattern has 1 numbers for 2 parts"),
        ({"parts": ["toy", "atlas"], "pattern": [1, 0]}, "at least one edit"),
        ({"parts": ["toy", "atlas"], "root": "x"}, "no part .toy, atlas. has such an option"),
        ({"parts": ["toy", {"name": "atlas", "identty": 1}]}, "identty"),
        ({"parts": [{"name": "toy", "only": ["ownr"]}]}, "no edit of toy is left.*Did you mean"),
        ({"parts": ["toy", {"label": "x"}]}, "a table with its name"),
    ],
)
def test_a_mix_that_cannot_be_is_said_in_one_line(options: dict[str, Any], told: str) -> None:
    with pytest.raises((StreamError, ConfigError), match=told) as error:
        load_stream("mixed", edits=20, **options)
    assert "\n" not in str(error.value)
