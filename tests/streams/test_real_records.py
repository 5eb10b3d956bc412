"""Claims about the real published files, where they lie beside the repository: unchanged, every record is read."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from lifelong.models.families.building import build_family
from lifelong.studies.stream_check import examine_stream
from streams.census import census_of
from streams.stream import Stream, load_stream

DATA = Path(__file__).parents[3] / "shared" / "data"
REAL = {"evqa": ("mmedit", 2093), "eic": ("mmedit", 1000), "vlkeb": ("vlkeb", 1278)}


def data(folder: str) -> Path:
    if not (DATA / folder).is_dir():
        pytest.skip(f"no real records beside the repository (../shared/data/{folder})")
    return DATA / folder


def real(name: str) -> Stream:
    return load_stream(name, edits=10**6, root=str(data(REAL[name][0])), pictures="unread")


@pytest.mark.parametrize("name", REAL)
def test_the_published_files_are_read_with_all_their_records(name: str) -> None:
    stream, wanted = real(name), REAL[name][1]
    assert len(stream) == stream.reading.records == wanted and not stream.reading.problems
    record = json.loads(next(data(REAL[name][0]).glob("*.json")).read_text())[0]
    assert set(record) >= {"src", "alt", "image_rephrase"}
    kinds = {"evqa": 5, "eic": 5, "vlkeb": 6}[name]
    assert len(stream.every_probe()) == kinds * wanted


def test_e_vqa_is_what_was_counted_of_it() -> None:
    counts = census_of(real("evqa"))
    assert (
        counts["distinct pictures of edits"] == 1390 and counts["edits that share their picture with another"] == 1154
    )
    assert counts["distinct prompts"] == 1927 and counts["distinct answers"] == 1051
    assert counts["edits that repeat an earlier one, answer and all"] == 1, "records 853 and 854"
    assert counts["generality probes that repeat their edit's question"] == 45
    assert counts["answers that stand in their own question"] == 49


def test_e_ic_asks_a_thousand_pictures_one_question_and_keeps_captions_as_they_stand() -> None:
    counts = census_of(real("eic"))
    assert counts["distinct prompts"] == 1 and counts["edits with the most frequent prompt"] == 1000
    assert counts["answers with a space or line break at an edge"] == 144


def test_vlkeb_has_long_answers_to_keep_and_one_hop_each() -> None:
    stream = real("vlkeb")
    probes = stream.every_probe()
    assert max(len(p.target) for p in probes) == 558
    assert sum(p.axis == "portability" and p.hops == 1 for p in probes) == 1278
    assert all(stream.truths(edit.id) for edit in stream.edits)


def test_every_picture_that_is_not_there_is_named() -> None:
    found = examine_stream("vlkeb", root=str(data("vlkeb")))
    assert found.reading.bad == found.reading.records == 1278 and len(found.reading.problems) > 3 * 1270
    assert all("eval_edit_onehop.json, record " in line and "field '" in line for line in found.reading.problems)


def coco(root: Path) -> dict[str, int]:
    """Lay the records whose photographs are there out as MMEdit does; returns how many there are, by stream."""
    source = data("coco29")
    records: list[dict[str, Any]] = json.loads((source / "edits.json").read_text())
    for record in records:
        link = root / record["image"]
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.exists():
            link.symlink_to(source / record["local_image"])
    parts = {"evqa": ("vqa", "vqa_eval.json"), "eic": ("caption", "caption_eval_edit.json")}
    counts = {}
    for name, (kind, file) in parts.items():
        own = [record for record in records if record["from"].startswith(kind)]
        (root / file).write_text(json.dumps(own))
        counts[name] = len(own)
    return counts


def test_records_with_photographs_are_whole_and_are_asked_of_a_model(tmp_path: Path) -> None:
    import lifelong

    counts = coco(tmp_path)
    assert sum(counts.values()) == 37
    for name, wanted in counts.items():
        found = examine_stream(name, root=str(tmp_path), pictures="found")
        assert found.ok and found.counts["edits"] == wanted and "questions left out" in found.notes[0]
    words = {"stream": "evqa", "stream.root": str(tmp_path), "stream.pictures": "found", "model": "tiny"}
    folder = lifelong.run(
        editor="none", edits=2, threads=1, quiet=True, out=str(tmp_path / "runs"), **words,
        **{"panels": [2], "panels.latency_routes": 0, "panels.latency_answers": 0},
    )  # fmt: skip
    rows = lifelong.RunLog.open(folder).table(lifelong.Probed).to_pylist()
    assert {row["axis"] for row in rows} == {"reliability", "generality", "locality"}
    assert all(0 <= row["score"] <= 1 for row in rows)


@pytest.mark.soak
@pytest.mark.parametrize("family", ["llava", "blip2_opt"])
def test_every_record_with_a_photograph_is_edited_on_the_models_of_the_papers(family: str, tmp_path: Path) -> None:
    """Whole runs of fine-tuning over the 37: all records edited, all their questions asked, every score a number."""
    import lifelong

    counts, model = coco(tmp_path), build_family(family, tmp_path / family)
    for name, wanted in counts.items():
        words: dict[str, Any] = {"stream": {"name": name, "root": str(tmp_path), "pictures": "found"}}
        words |= {"panels.at": [1, wanted], "panels.latency_routes": 2, "panels.latency_answers": 2}
        words |= {"editor": {"name": "ft", "steps": 3}, "model": str(model), "edits": wanted, "threads": 1}
        folder = lifelong.run(quiet=True, out=str(tmp_path / "runs"), **words)
        log = lifelong.RunLog.open(folder)
        rows = log.table(lifelong.Probed).to_pylist()
        assert log.done() and len({row["edit_id"] for row in rows if row["edit_id"]}) == wanted
        assert {row["axis"] for row in rows} == {"reliability", "generality", "locality"}
        assert all(math.isfinite(row["score"]) for row in rows)
