"""The run log: facts come back as they were written, panel by panel, whatever happens in between."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import lifelong.log.files as files_module
from lifelong.log import FACTS_SCHEMA, Edited, Gauged, LogError, Probed, RunLog, Timed
from lifelong.log.checkpoint import State, load_state, save_state


def edited(step: int) -> Edited:
    return Edited(step, 0.5 * step, f"e{step}", 0.0, 0.5 * step, 0.01)


def probed(step: int, score: float = 1.0) -> Probed:
    words = ("p1", "e1", 0, "reliability", "", "image", "partial", "generated")
    return Probed(step, 1.5, *words, score=score, answer="Lisbon", routed_ids=("e1", "e2"), routed_n=2)


def new(folder: Path) -> RunLog:
    return RunLog.create(folder, "editor = 'none'\n", {"seed": 0})


def empty() -> State:
    return State({}, {})


def test_facts_come_back_in_order_and_typed(tmp_path: Path) -> None:
    log = new(tmp_path / "r")
    log.commit(0, [edited(1), probed(1), Timed(1, 1, "route", 0.002)], empty())
    log.commit(1, [edited(2), probed(2, 0.0), Gauged(2, 1.0, "bank", "bank_len", 2.0)], empty())
    again = RunLog.open(tmp_path / "r")
    rows = again.table(Probed).to_pylist()
    assert [r["step"] for r in rows] == [1, 2] and [r["score"] for r in rows] == [1.0, 0.0]
    assert rows[0]["routed_ids"] == ["e1", "e2"] and rows[0]["route_score"] is None
    assert (
        again.table(Edited).num_rows == 2 and again.table(Gauged).num_rows == 1 and again.table(Timed).num_rows == 1
    )


def test_a_part_without_its_manifest_is_not_committed(tmp_path: Path) -> None:
    log = new(tmp_path / "r")
    log.commit(0, [probed(1)], empty())
    first = tmp_path / "r" / "facts" / "probed-000000.parquet"
    (first.parent / "probed-000001.parquet").write_bytes(first.read_bytes())
    (first.parent / ".probed-000002.parquet.99.tmp").write_bytes(b"torn")
    assert RunLog.open(log.folder).table(Probed).num_rows == 1
    RunLog.go_on(log.folder)
    assert [p.name for p in first.parent.iterdir()] == ["probed-000000.parquet"]


def test_a_full_disk_is_a_clear_error_and_keeps_what_was_committed(tmp_path: Path, monkeypatch) -> None:
    log = new(tmp_path / "r")
    log.commit(0, [probed(1)], empty())

    def full(*_args, **_kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files_module.os, "fsync", full)
    with pytest.raises(LogError, match="probed-000001.parquet.*No space left.*--resume"):
        log.commit(1, [probed(2)], empty())
    monkeypatch.undo()
    assert RunLog.open(log.folder).table(Probed).num_rows == 1
    log.commit(1, [probed(2)], empty())
    assert log.table(Probed).num_rows == 2


def test_a_broken_part_is_named(tmp_path: Path) -> None:
    log = new(tmp_path / "r")
    log.commit(0, [probed(1)], empty())
    (log.folder / "facts" / "probed-000000.parquet").write_bytes(b"PAR1 torn")
    with pytest.raises(LogError, match="probed-000000.parquet"):
        log.table(Probed)


def test_panels_are_committed_once_and_in_order(tmp_path: Path) -> None:
    log = new(tmp_path / "r")
    log.commit(0, [], empty())
    for wrong in (0, 2):
        with pytest.raises(ValueError, match="the next one is 1"):
            log.commit(wrong, [], empty())


def test_only_the_last_two_checkpoints_and_their_objects_are_kept(tmp_path: Path) -> None:
    log = new(tmp_path / "r")
    for panel in range(4):
        state = State({"sealed": torch.arange(4.0), "open": torch.full((2,), float(panel))}, {"step": panel})
        log.commit(panel, [], state)
    assert log.checkpoints() == [2, 3]
    assert len(list((log.folder / "checkpoint" / "objects").iterdir())) == 3  # one sealed, two open
    last, before = log.checkpoint(), log.checkpoint(2)
    assert last is not None and before is not None
    assert last.meta == {"step": 3} and torch.equal(before.tensors["open"], torch.full((2,), 2.0))


def test_an_unchanged_tensor_is_not_written_again(tmp_path: Path) -> None:
    log = new(tmp_path / "r")
    log.commit(0, [], State({"keys": torch.ones(3, dtype=torch.bfloat16)}, {}))
    (file,) = (log.folder / "checkpoint" / "objects").iterdir()
    before = file.stat().st_mtime_ns
    log.commit(1, [], State({"keys": torch.ones(3, dtype=torch.bfloat16)}, {}))
    assert file.stat().st_mtime_ns == before


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    log = new(tmp_path / "r")
    log.commit(0, [], State({"keys": torch.ones(3)}, {}))
    (file,) = (log.folder / "checkpoint" / "objects").iterdir()
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(LogError, match=file.name):
        log.checkpoint()


def test_another_schema_is_refused_and_names_fresh(tmp_path: Path) -> None:
    log = new(tmp_path / "r")
    manifest = log.folder / "manifest.json"
    manifest.write_text(manifest.read_text().replace(f'"facts_schema": {FACTS_SCHEMA}', '"facts_schema": 99'))
    with pytest.raises(LogError, match="--fresh"):
        RunLog.open(log.folder)


def test_a_run_is_not_created_over_another_and_done_is_last(tmp_path: Path) -> None:
    log = new(tmp_path / "r")
    assert not log.done()
    log.commit(0, [], empty())
    log.finish()
    assert RunLog.open(log.folder).done()
    with pytest.raises(LogError, match="--resume"):
        new(tmp_path / "r")


def test_fitted_state_comes_back_equal(tmp_path: Path) -> None:
    tensors = {"a": torch.randn(3, 2), "b": torch.arange(3, dtype=torch.int64)}
    save_state(tmp_path / "fit.safetensors", State(tensors, {"threshold": 0.5}))
    state = load_state(tmp_path / "fit.safetensors")
    again, meta = state.tensors, state.meta
    assert meta == {"threshold": 0.5} and all(torch.equal(again[k], v) for k, v in tensors.items())


def test_the_log_is_read_without_torch(tmp_path: Path) -> None:
    log = new(tmp_path / "r")
    log.commit(0, [probed(1)], State({"keys": torch.ones(3)}, {}))
    code = (
        "import sys; from lifelong.log import RunLog, Probed; "
        f"assert RunLog.open({str(log.folder)!r}).table(Probed).num_rows == 1; "
        "bad = {'torch', 'faiss', 'transformers', 'safetensors'} & set(sys.modules); assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
