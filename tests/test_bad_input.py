"""Bad input through the real command line: one clear line, exit code 2, and what was committed before is kept."""

from __future__ import annotations

import errno
import json
import os
import pickle
import struct
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from runs_alike import SMALL
from safetensors.torch import load_file, save_file

from lifelong.cli import main as cli
from lifelong.log import Edited, Gauged, Probed, RunLog, files
from lifelong.log.hive import runs_below

Call = Callable[..., tuple[int, str, str]]
RECORD = {"prompt": "What is this?", "target": "a heron"}


class Bomb:
    """Unpickling it makes a folder: the proof that somebody did."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.marker),)


@pytest.fixture
def call(monkeypatch, capsys, tmp_path: Path) -> Call:
    """Run `lifelong COMMAND ...` in this process, runs below tmp_path; returns exit code, output, errors."""
    small = {**SMALL, "editor": "none", "edits": 4, "panels": [2], "out": tmp_path / "runs"}

    def run(*words: object, **changes: object) -> tuple[int, str, str]:
        settings = [f"{k}={v}" for k, v in {**small, **changes}.items()] if words[0] in ("run", "bench") else []
        monkeypatch.setattr(sys, "argv", ["lifelong", *map(str, words), *settings])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        return (ended.value.code if isinstance(ended.value.code, int) else 0), out, err

    return run


def the_error(found: tuple[int, str, str], *parts: str) -> str:
    """Check that a call failed with exit code 2 and one line that holds all parts."""
    code, _, err = found
    lines = [line for line in err.splitlines() if line.startswith("lifelong: ")]
    assert code == 2 and len(lines) == 1 and "Traceback" not in err, err
    for part in parts:
        assert part in lines[0], lines[0]
    return lines[0]


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"editor": "grase"}, ["'grase'", "Did you mean 'grace'", "liveedit"]),
        ({"stream": "toi"}, ["'toi'", "Did you mean 'toy'", "jsonl"]),
        ({"editor": "grace", "editor.radus": 1}, ["editor.radus", "'radius'"]),
        ({"stream.ordr": "x"}, ["stream.ordr", "Did you mean 'order'"]),
        ({"stream.order": "sideways"}, ["sideways", "bursts, drift, grouped, modal_conflicts"]),
        ({"panels.evry": 3}, ["panels.evry", "'every'"]),
        ({"model": "atlsa"}, ["model=atlsa", "Did you mean 'atlas'"]),
        ({"model": "./nowhere"}, ["/nowhere", "no such folder"]),
        ({"dtype": "float3"}, ["dtype=float3", "one of auto, float32, bfloat16"]),
        ({"device": "cudda"}, ["device=cudda", "device=cpu"]),
        ({"device": "meta"}, ["device=meta", "device=cpu"]),
        ({"editor": "grace,ft"}, ["editor=grace,ft", "one name", "lifelong sweep"]),
        ({"editor": "grace", "editor.radius": "1,2"}, ["editor.radius=1,2", "a number above 0", "lifelong sweep"]),
        ({"editor": "grace", "editor.radius": -1}, ["editor.radius=-1", "a number above 0 (default 1.0): "]),
        ({"editor": "grace", "editor.index": "flt"}, ["editor.index=flt", "flat, flat16, ivf, hnsw"]),
        ({"edits": "100,200"}, ["edits=100,200", "a whole number", "lifelong sweep"]),
        ({"edits": "true"}, ["edits=true", "a whole number"]),
        ({"edits.most": 3}, ["edits.most", "one value"]),
        ({"panels": "abc"}, ["panels.at=abc", "a list of whole numbers"]),
        ({"seed": "9" * 400}, ["seed=", "at most 9223372036854775807"]),
        ({"window_s": "inf"}, ["window_s=inf", "a number from 0 to 1e9", "seconds"]),
        ({"threads": 100000}, ["threads=100000", "from 0 to 1024"]),
        ({"model.seed": "1,2"}, ["model.seed=1,2", "a whole number"]),
        ({"clock": "modelled", "clock.edit_s": "abc"}, ["clock.edit_s=abc", "a number from 0", "seconds of an edit"]),
        ({"clock": "replayed", "clock.run": "/nowhere"}, ["/nowhere"]),
        ({"policy": "premt"}, ["policy=premt", "preempt"]),
        ({"stream.edits": 5}, ["stream.edits", "say edits=5"]),
        ({"workers": 2, "clock": "measured"}, ["workers=2", "measured clock"]),
        ({"batch": 3, "editor": "grace", "workers": "x"}, ["workers=x"]),
        ({"edits": 0}, ["edits=0", "a whole number from 1", "default 200"]),
        ({"sed": 1}, ["sed", "'seed'"]),
    ],
)
def test_an_unknown_name_or_value_names_the_near_ones(call: Call, changes: dict, parts: list[str]) -> None:
    the_error(call("run", **changes), *parts)


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"arrivals.rate": "abc"}, ["arrivals.rate=abc", "a number from 1e-9 to 1e9"]),
        ({"arrivals.rate": "1e-300"}, ["arrivals.rate=1e-300", "from 1e-9"]),
        ({"arrivals.rate": "1e-9"}, ["arrivals.rate=1e-09", "would come after", "4e+09"]),
        ({"queries.rate": -4}, ["queries.rate=-4"]),
        ({"queries.rate": "1e9"}, ["queries.rate=1e+09", "about", "queries would come", "at most 1e+08"]),
        ({"withdrawals.rate": 0}, ["withdrawals.rate=0"]),
        ({"withdrawals.rate": "nan"}, ["withdrawals.rate=nan"]),
        ({"queries": "hawkes", "queries.offspring": 1}, ["queries.offspring=1", "below 1"]),
        (
            {"queries": "on_off", "queries.on_s": "1e-9", "queries.off_s": "1e-9"},
            ["queries.on_s and off_s", "phases"],
        ),
        ({"queries.zipf": "x"}, ["queries.zipf=x", "of at least 0"]),
        ({"arrivals": "trace"}, ["arrivals.file", "must be given"]),
        ({"arrivals": "trace", "arrivals.file": "/nowhere"}, ["arrivals.file=/nowhere", "no such file"]),
        ({"queries": "trace", "queries.file": 5}, ["queries.file=", "/5"]),
        ({"arrivals": "gamma", "arrivals.burst": 1}, ["arrivals.burst", "'burstiness'"]),
        ({"out": "/proc/x"}, ["out=/proc/x", "cannot be written"]),
        ({"cache": "/dev/null"}, ["cache=/dev/null", "cannot be written", "no folder"]),
        ({"cache": "/dev/null", "threads": 0}, ["cache=/dev/null", "cannot be written", "no folder"]),
    ],
)
def test_what_can_be_known_is_said_before_anything_is_asked(
    call: Call, tmp_path: Path, changes: dict, parts: list[str]
) -> None:
    """By a dry run and by a run, neither of which leaves anything behind."""
    for flags in ([], ["--dry-run"]):
        the_error(call("run", *flags, **changes), *parts)
    assert not (tmp_path / "runs").exists()


def test_an_editor_that_does_not_fit_the_model_is_named_before_a_folder_is_made(call: Call, tmp_path: Path) -> None:
    found = call("run", editor="grace", **{"editor.module": "mlp.nothing"})
    the_error(found, "mlp.nothing")
    assert not (tmp_path / "runs").exists()


def test_an_unknown_recipe_file_or_part_of_a_bench_is_named(call: Call) -> None:
    the_error(call("run", "frist-look"), "'frist-look'", "Did you mean 'first-look'")
    the_error(call("run", "mine.toml"), "mine.toml", "No such file")
    the_error(call("bench", "probing", editor="grase"), "Did you mean 'grace'")


def test_options_of_panels_go_with_one_listed_step(call: Call) -> None:
    """`panels=2 panels.instant=false` once said that 2 is no tuple."""
    assert call("run", "--dry-run", **{"panels": 2, "panels.instant": "false"})[0] == 0


def write_images(folder: Path) -> None:
    """Write a good picture, a truncated one in two formats, two too large to open, and a link to a text."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    noise = Image.frombytes("RGB", (64, 64), bytes(i * i % 251 for i in range(64 * 64 * 3)))
    for name in ("cut.png", "cut.jpg"):
        noise.save(folder / name)
        (folder / name).write_bytes((folder / name).read_bytes()[: (folder / name).stat().st_size // 2])
    noise.save(folder / "good.png")
    for name, side in (("bomb.png", 50000), ("large.png", 10000)):
        head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
        rows = chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND", b"")
        (folder / name).write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + rows)
    (folder / "link.png").symlink_to(Path(__file__))


@pytest.mark.parametrize(
    ("image", "parts"),
    [
        ("none.png", ["none.png", "No such file"]),
        ("cut.png", ["cut.png", "broken picture", "truncated"]),
        ("cut.jpg", ["cut.jpg", "broken picture", "truncated"]),
        ("bomb.png", ["bomb.png", "limit", "Scale it down"]),
        ("large.png", ["large.png", "10000 x 10000", "limit", "Scale it down"]),
        ("../good.png", ["../good.png", "leaves its root"]),
        ("/etc/hostname", ["/etc/hostname", "leaves its root"]),
        ("link.png", ["link.png", "not a picture"]),
    ],
)
def test_a_bad_picture_is_named_with_its_record(call: Call, tmp_path: Path, image: str, parts: list[str]) -> None:
    """Before anything is asked or written: no run folder is there afterwards."""
    write_images(tmp_path)
    path = tmp_path / "mine.jsonl"
    path.write_text(json.dumps(RECORD | {"image": "good.png"}) + "\n" + json.dumps(RECORD | {"image": image}))
    found = call("run", **{"stream": "jsonl", "stream.path": path})
    the_error(found, "mine.jsonl, line 2, field 'image'", *parts)
    assert not runs_below(tmp_path / "runs") and not list(tmp_path.glob("runs/*"))


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ('{"prompt": \n', ["mine.jsonl, line 2, column", "no JSON"]),
        ("[1]", ["mine.jsonl, line 2", "expected an object, got a list"]),
        ('{"prompt": "a", "target": 3}', ["line 2, field 'target'", "expected a text, got 3"]),
        ('{"promt": "a", "target": "b"}', ["line 2, field 'promt'", "Did you mean 'prompt'"]),
        ('{"prompt": "a"}', ["line 2, field 'target'", "missing"]),
        ('{"id": "x", "prompt": "a", "target": "b"}\n{"id": "x", "prompt": "c", "target": "d"}', ["line 3", "'x'"]),
    ],
)
def test_a_bad_record_is_named(call: Call, tmp_path: Path, text: str, parts: list[str]) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text(json.dumps(RECORD) + "\n" + text)
    the_error(call("run", **{"stream": "jsonl", "stream.path": path}), *parts)


def test_an_empty_stream_says_what_it_expected(call: Call, tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    for text in ("", "\n\n", json.dumps(RECORD | {"split": "fit"})):
        path.write_text(text)
        the_error(call("run", **{"stream": "jsonl", "stream.path": path}), "mine.jsonl", "no record", '"prompt"')


EDITOR = """from contextlib import contextmanager
from lifelong.editing.contract import CollapseError, Editor

class Mine(Editor):
    routed, count = False, 0

    def edit(self, edits):
        self.count += 1
        {edit}

    @contextmanager
    def applied(self, queries, routes):
        count = self.count
        with self.vlm.hook(self.vlm.decoder_layer(1), lambda module, args, output, layout: {output}):
            yield self.vlm.answerer(queries)
"""
REFUSES = {"edit": "if self.count == 2: raise CollapseError(f'loss is nan in edit {edits[0].id}')", "output": "None"}
BREAKS = {"edit": "pass", "output": "output * float('nan') if count == 2 else None"}


@pytest.mark.parametrize("parts", [REFUSES, BREAKS], ids=["refused", "answers nan"])
def test_what_is_not_finite_is_told_and_the_run_goes_on(call: Call, tmp_path: Path, parts: dict) -> None:
    """The editor's own word is a collapse, an answer a gauge of its panel; the report can be written all the same."""
    (tmp_path / "mine.py").write_text(EDITOR.format(**parts))
    code, out, err = call("run", editor=tmp_path / "mine.py")
    log = RunLog.open(out.splitlines()[-1])
    edited = log.table(Edited).to_pylist()
    refused = parts is REFUSES
    assert (
        code == 0
        and log.done()
        and [row["outcome"] == "not finite" for row in edited] == [False, refused, False, False]
    )
    assert (edited[1]["edit_id"] in edited[1]["note"] and edited[1]["note"] in err) == refused
    assert ("answers since the last panel are not finite" in err) == (not refused)
    gauged = [row["value"] for row in log.table(Gauged).to_pylist() if row["name"] == "answers_not_finite"]
    assert (max(gauged) > 0) == (not refused)
    assert call("report", log.folder, "-o", tmp_path / "report")[0] == 0


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("class Mine(:", ["mine.py", "SyntaxError", "line 1"]),
        ("import nowhere_at_all", ["mine.py", "nowhere_at_all"]),
        ("x = 1", ["mine.py", "exactly one Editor class", "found none"]),
    ],
)
def test_an_editor_file_that_cannot_be_used_says_why(call: Call, tmp_path: Path, text: str, parts: list[str]) -> None:
    (tmp_path / "mine.py").write_text(text)
    the_error(call("run", editor=tmp_path / "mine.py"), *parts)


USERS_EDITOR = """from lifelong import Editor, EditorOptions

class Options(EditorOptions):
    tag: str = "x"

class Mine(Editor):
    Options = Options

    def edit(self, edits):
        {edit}

    def route(self, keys):
        {route}
"""


@pytest.mark.parametrize(
    ("edit", "route", "parts"),
    [
        (
            "self.nothing(edits)",
            "return super().route(keys)",
            ["line 10, in edit of ", "AttributeError", "'nothing'"],
        ),
        ("raise KeyError(7)", "return super().route(keys)", ["line 10, in edit of ", "KeyError: 7"]),
        ("return True", "return super().route(keys)", ["edit returned a bool; expected None, or why"]),
        ("return {'else': 'why'}", "return super().route(keys)", ["edit returned a dict", "a dictionary of texts"]),
        ("pass", "return None", ["route returned None", "a list of one Route"]),
        ("pass", "return super().route(keys)[1:]", ["route returned a list of ", "are needed"]),
        ("pass", "return [1] * len(keys)", ["route returned a list of "]),
        ("pass", "return super().route(keys) + undefined", ["line 13, in route", "NameError"]),
        ("self.vlm.generate(edits)", "return super().route(keys)", ["line 10, in edit of ", "Error: "]),
    ],
)
def test_an_error_in_a_users_editor_has_its_file_line_method_and_edit(
    call: Call, tmp_path: Path, edit: str, route: str, parts: list[str]
) -> None:
    path = tmp_path / "mine.py"
    path.write_text(USERS_EDITOR.format(edit=edit, route=route))
    the_error(call("run", editor=path), f"editor={path}", *parts)


def test_a_full_disk_keeps_what_was_committed(call: Call, tmp_path: Path, monkeypatch) -> None:
    """The disk fills at the second panel; the first stays readable, can be reported, and the run can go on."""
    replace = os.replace

    def full(source: Any, target: Any) -> None:
        if Path(target).name == "probed-000001.parquet":
            raise OSError(errno.ENOSPC, "No space left on device", str(target))
        replace(source, target)

    monkeypatch.setattr(files.os, "replace", full)
    the_error(call("run"), "probed-000001.parquet", "No space left", "--resume")
    (folder,) = runs_below(tmp_path / "runs")
    log = RunLog.open(folder)
    assert not log.done() and max(log.table(Probed)["step"].to_pylist()) == 2
    assert not list(folder.rglob("*.tmp"))
    assert call("report", folder, "-o", tmp_path / "report")[0] == 0 and (tmp_path / "report/index.html").is_file()
    monkeypatch.setattr(files.os, "replace", replace)
    assert call("run", "--resume")[0] == 0 and max(RunLog.open(folder).table(Probed)["step"].to_pylist()) == 4


@pytest.fixture
def model_folder(tiny_vlm, tmp_path: Path) -> Path:
    """The tiny model as anybody would save one."""
    folder = tmp_path / "model"
    tiny_vlm.model.save_pretrained(folder)
    tiny_vlm.processor.save_pretrained(folder)
    return folder


def test_a_model_folder_runs_and_one_with_broken_weights_does_not(call: Call, model_folder: Path) -> None:
    assert call("run", model=model_folder, edits=1)[0] == 0
    weights = load_file(model_folder / "model.safetensors")
    name = next(n for n in weights if n.endswith("layers.1.mlp.down_proj.weight"))
    weights[name][0, 0] = float("nan")
    save_file(weights, model_folder / "model.safetensors", metadata={"format": "pt"})
    the_error(call("run", model=model_folder, edits=1), "is not finite", "damaged weights", "dtype=float32")


def test_a_pickle_is_never_loaded_as_a_model(call: Call, model_folder: Path, tmp_path: Path) -> None:
    marker = tmp_path / "unpickled"
    (model_folder / "model.safetensors").unlink()
    torch.save(Bomb(marker), model_folder / "pytorch_model.bin")
    (tmp_path / "weights.pt").write_bytes(pickle.dumps(Bomb(marker)))
    the_error(call("run", model=model_folder), str(model_folder), "safetensors")
    the_error(call("run", model=tmp_path / "weights.pt"), "weights.pt", "model.safetensors")
    assert not marker.exists()


def test_a_pickle_is_never_loaded_as_a_checkpoint(call: Call, tmp_path: Path) -> None:
    marker = tmp_path / "unpickled"
    folder = Path(call("run", editor="grace")[1].splitlines()[-1])
    for path in (folder / "checkpoint" / "objects").iterdir():
        path.write_bytes(pickle.dumps(Bomb(marker)))
    the_error(call("ask", folder, "Who?"), "checkpoint/objects", ".safetensors", "cannot be read", "--fresh")
    pickle.loads(pickle.dumps(Bomb(marker)))
    assert marker.exists(), "the test would prove nothing"
