"""Claims about `stream check`: all that is wrong with the data of a stream is named, and what it holds counted."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from published_records import TRAIN, five, write_benchmark, write_records

from lifelong.cli import main as cli
from lifelong.studies.stream_check import examine_stream


def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["lifelong", "stream", "check", *words])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    out, err = capsys.readouterr()
    return (ended.value.code if isinstance(ended.value.code, int) else 0), out, err


def test_every_bad_record_is_named_not_only_the_first_ones(tmp_path: Path, monkeypatch, capsys) -> None:
    path = write_benchmark(tmp_path, "evqa")
    bad = [{k: v for k, v in five(i).items() if k != "alt"} for i in range(30)]
    write_records(path, [five(0), *bad, five(1), {**five(2), "image": "p/gone.png"}])
    (tmp_path / "r/1.png").write_bytes(b"broken")
    code, out, err = call(monkeypatch, capsys, "evqa", "--root", str(tmp_path))
    named = [line for line in out.splitlines() if line.startswith(str(path))]
    assert code == 1 and "32 records cannot be used" in err
    assert [line.split(", ")[1].split(" (")[0] for line in named] == [f"record {n}" for n in range(2, 34)]
    assert sum("field 'alt': it is missing." in line for line in named) == 30
    assert "field 'image_rephrase'" in named[30] and "not a picture" in named[30] and "No such file" in named[31]
    assert "33  records\n" in out and " 1  edits\n" in out

    code, out, _ = call(monkeypatch, capsys, "evqa", f"root={tmp_path}", "--skip-bad", "--json")
    found = json.loads(out)
    assert code == 0 and found["reading"]["bad"] == 32 and found["counts"]["edits"] == 1


def test_a_file_of_bad_records_only_is_a_failure_also_where_they_are_skipped(
    tmp_path: Path, monkeypatch, capsys
) -> None:
    write_records(tmp_path / "vqa_eval.json", [five(0), five(1)])
    code, out, err = call(monkeypatch, capsys, "evqa", "--root", str(tmp_path), "--skip-bad")
    assert code == 1 and "no record is left to edit" in err and "2  records that cannot be used" in out


def test_numbers_of_a_benchmark_and_of_its_training_split(tmp_path: Path) -> None:
    path = write_benchmark(tmp_path, "evqa", 4)
    same = {**five(1), "image": "p/0.png", "src": five(0)["src"], "alt": "another\nline "}
    write_records(path, [five(0), five(0), same, {**five(3), "rephrase": five(3)["src"]}])
    write_records(tmp_path / TRAIN["evqa"], [five(0), five(2), {"src": "x"}])
    seen: list[tuple[int, int]] = []
    found = examine_stream("evqa", root=str(tmp_path), watch=lambda done, total: seen.append((done, total)))
    counts = found.counts
    assert counts["edits"] == 4 and counts["edits that repeat an earlier one, answer and all"] == 1
    assert counts["edits that ask the question of an earlier one, and replace it"] == 2
    assert (counts["distinct pictures of edits"], counts["edits that share their picture with another"]) == (2, 3)
    assert (counts["distinct prompts"], counts["edits with the most frequent prompt"]) == (2, 3)
    assert counts["generality probes that repeat their edit's question"] == 1
    assert counts["answers with a line break"] == counts["answers with a space or line break at an edge"] == 1
    assert counts["  locality, text, text: as before"] == 4
    assert counts["records of the training split"] == 3
    assert counts["of these that ask what an edit asks, and are not learnt from"] == 1
    assert found.reading.bad == 1 and TRAIN["evqa"] in found.reading.problems[0]
    assert seen and all(done == total for done, total in seen), "the last call says that all are read"


def test_own_data_and_streams_that_are_made_have_the_same_check(tmp_path: Path, monkeypatch, capsys) -> None:
    path = tmp_path / "mine.jsonl"
    good = {"prompt": "Who?", "target": "Ann"}
    lines = [good, {"prompt": "Whose?", "target": "Bob's", "split": "fit"}, *({"prompt": f"{i}?"} for i in range(25))]
    path.write_text("\n".join(json.dumps(line) for line in lines))
    code, out, _ = call(monkeypatch, capsys, "jsonl", f"path={path}")
    assert code == 1 and sum(line.startswith(f"{path}, line ") for line in out.splitlines()) == 25
    assert "1  edits to learn from" in out
    code, out, _ = call(monkeypatch, capsys, "jsonl", f"stream.path={path}", "--skip-bad")
    assert code == 0
    for name in ("toy", "atlas"):
        code, out, _ = call(monkeypatch, capsys, name, "--edits", "12")
        assert code == 0 and "12  edits\n" in out and " 0  records\n" in out


def test_what_cannot_be_checked_is_one_line(tmp_path: Path, monkeypatch, capsys) -> None:
    for words, told in (
        (("evq",), "Did you mean 'evqa'"),
        (("evqa",), "say stream.root=FOLDER"),
        (("evqa", "rot=x"), "Did you mean 'root'"),
        (("jsonl", f"path={tmp_path}/none.jsonl"), "cannot read"),
    ):
        code, _, err = call(monkeypatch, capsys, *words)
        assert code == 2 and told in err and err.count("\n") == 1
