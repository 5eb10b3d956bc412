"""How many threads a run takes: the better of one and all where it names none, and the same again after a resume."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from runs_alike import SMALL

import lifelong
from lifelong.log import RunLog
from lifelong.running import threads

FREE = {k: v for k, v in SMALL.items() if k != "threads"}


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    """A process that may use two threads, and the number from before at the end."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def measured(monkeypatch, one_s: float, all_s: float) -> list[str]:
    """Let the measurement say this; returns a list that grows with each."""
    calls: list[str] = []
    monkeypatch.setattr(threads, "seconds_of", lambda *_: (calls.append("measured"), [one_s, all_s])[1])
    return calls


@pytest.mark.parametrize("one_s, all_s, best", [(1.0, 0.6, 2), (1.0, 0.95, 1), (1.0, 15.0, 1)])
def test_a_run_takes_the_better_of_one_and_all_and_says_so(one_s, all_s, best, monkeypatch, tmp_path, capsys) -> None:
    calls = measured(monkeypatch, one_s, all_s)
    folder = lifelong.run(out=str(tmp_path), **FREE)
    assert RunLog.open(folder).manifest["threads"] == torch.get_num_threads() == best and calls == ["measured"]
    assert f"threads: {best}" in capsys.readouterr().err


def test_the_measurement_runs_the_model_with_each_number(tiny_vlm) -> None:
    probes = lifelong.load_stream("toy", edits=2).every_probe()[:4]
    found = threads.seconds_of(tiny_vlm, probes, (1, 2))
    assert len(found) == 2 and min(found) > 0


def test_what_has_a_number_or_does_no_work_measures_nothing(monkeypatch, tmp_path) -> None:
    calls = measured(monkeypatch, 1.0, 0.5)
    lifelong.dry_run(out=str(tmp_path), **FREE)
    lifelong.run(quiet=True, out=str(tmp_path / "one"), threads=1, **FREE)
    assert not calls and torch.get_num_threads() == 1


def test_a_resumed_run_computes_with_the_threads_it_began_with(monkeypatch, tmp_path) -> None:
    measured(monkeypatch, 1.0, 9.0)
    commit = RunLog.commit

    def killed(self, panel_index, *others):
        if panel_index == 1:
            raise KeyboardInterrupt
        commit(self, panel_index, *others)

    monkeypatch.setattr(RunLog, "commit", killed)
    with pytest.raises(KeyboardInterrupt):
        lifelong.run(quiet=True, out=str(tmp_path), **FREE)
    monkeypatch.setattr(RunLog, "commit", commit)
    torch.set_num_threads(2)
    lifelong.run(quiet=True, resume=True, out=str(tmp_path), **FREE)
    assert torch.get_num_threads() == 1
