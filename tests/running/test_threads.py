"""How many threads a run takes: what it names, or the better of one and all, chosen once and part of its name."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from runs_alike import SMALL

import lifelong
from lifelong.log import RunLog
from lifelong.running import threads

FREE = {k: v for k, v in SMALL.items() if k != "threads"} | {"edits": 2, "panels": [1]}


@pytest.fixture(autouse=True)
def two_threads(monkeypatch) -> None:
    """A process whose torch says that it computes with two threads, and with what it is set to: it takes one.

    Two real ones beside another test wait for each other for minutes, which is what the choice is there for.
    """
    number = [2]
    monkeypatch.setattr(torch, "get_num_threads", lambda: number[0])
    monkeypatch.setattr(torch, "set_num_threads", lambda threads: number.__setitem__(0, threads))


def measured(monkeypatch, one_s: float, all_s: float) -> list[str]:
    """Let the measurement say this; returns a list that grows with each."""
    calls: list[str] = []
    monkeypatch.setattr(threads, "seconds_of", lambda *_: (calls.append("measured"), [one_s, all_s])[1])
    return calls


@pytest.mark.parametrize("one_s, all_s, best", [(1.0, 0.6, 2), (1.0, 0.95, 1), (1.0, 15.0, 1)])
def test_a_run_takes_the_better_of_one_and_all_and_says_so(one_s, all_s, best, monkeypatch, tmp_path, capsys) -> None:
    calls = measured(monkeypatch, one_s, all_s)
    folder = lifelong.run(out=str(tmp_path), **FREE)
    log = RunLog.open(folder)
    assert log.manifest["threads"] == log.config()["threads"] == best and calls == ["measured"]
    assert f"threads: {best}" in capsys.readouterr().err


def test_the_choice_is_made_once_and_equal_commands_find_the_same_folder(monkeypatch, tmp_path) -> None:
    said: list[str] = []
    calls = measured(monkeypatch, 1.0, 0.5)
    planned = lifelong.dry_run(out=str(tmp_path), say=said.append, **FREE)
    assert "threads: 2" in said[0]
    measured(monkeypatch, 1.0, 9.0)
    assert lifelong.run(quiet=True, out=str(tmp_path), **FREE) == planned and calls == ["measured"]
    assert lifelong.dry_run(out=str(tmp_path), threads=2, **FREE) == planned
    assert lifelong.dry_run(out=str(tmp_path), threads=1, **FREE) != planned


def test_a_run_leaves_the_process_as_many_threads_as_it_found(monkeypatch, tmp_path) -> None:
    measured(monkeypatch, 1.0, 9.0)
    alone = lifelong.run(quiet=True, out=str(tmp_path), **FREE)
    assert RunLog.open(alone).manifest["threads"] == 1 and torch.get_num_threads() == 2
    edit = lifelong.load_stream("toy", edits=2, seed=0).edits[0]
    lifelong.ask(alone, edit.query.prompt)
    lifelong.single(cache=str(tmp_path / ".cache"), **FREE)
    assert torch.get_num_threads() == 2


def test_a_damaged_choice_is_measured_again_and_said(monkeypatch, tmp_path) -> None:
    measured(monkeypatch, 1.0, 0.5)
    lifelong.dry_run(out=str(tmp_path), **FREE)
    (kept,) = (tmp_path / ".cache" / "threads").iterdir()
    kept.write_text(kept.read_text().replace('"threads": 2', '"threads": 1'))
    said: list[str] = []
    lifelong.dry_run(out=str(tmp_path), say=said.append, **FREE)
    assert "damaged" in said[0] and "threads: 2" in said[1]


def test_the_measurement_runs_the_model_with_each_number(tiny_vlm) -> None:
    probes = lifelong.load_stream("toy", edits=2).every_probe()[:4]
    found = threads.seconds_of(tiny_vlm, probes, (1, 2))
    assert len(found) == 2 and min(found) > 0 and torch.get_num_threads() == 2


def test_a_run_with_a_number_measures_nothing(monkeypatch, tmp_path) -> None:
    calls = measured(monkeypatch, 1.0, 0.5)
    folder = lifelong.dry_run(out=str(tmp_path), threads=1, **FREE)
    assert not calls and not Path(folder).exists() and not (tmp_path / ".cache").exists()
