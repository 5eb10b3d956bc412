"""A run that is asked to stop: what was done until then is committed, wherever that is, and nothing is done twice."""

from __future__ import annotations

import os
import signal
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from runs_alike import SMALL, facts_of

import lifelong
from lifelong.log import Edited, RunLog
from lifelong.log.hive import runs_below
from lifelong.running import run as running
from lifelong.running.signals import Stopped, asked_to_stop, patient, stoppable

RUN: dict[str, Any] = {**SMALL, "edits": 7, "panels": [3]}


def stopped_again_and_again(out: Path, every: int, monkeypatch, **changes: Any) -> tuple[Path, list[int]]:
    """Run, asked to stop when it looks so often, until it is finished; its folder, and the edits at each stop."""
    edits: list[int] = []
    asked = count(1)
    monkeypatch.setattr(running, "asked_to_stop", lambda: signal.SIGTERM if next(asked) % every == 0 else 0)
    for _ in range(20):
        try:
            return lifelong.run(quiet=True, resume=True, out=str(out), **{**RUN, **changes}), edits
        except Stopped:
            (found,) = runs_below(out)
            edits.append(len(RunLog.open(found).table(Edited)))
    raise AssertionError(f"no end after {edits}")


@pytest.mark.parametrize(
    "every, changes",
    [
        (2, {}),
        (2, {"editor": "ft", "editor.steps": 2}),
        (2, {"restore_every": 3, "panels.instant_axes": ["reliability"]}),
        (7, {"queries.rate": 2.0, "arrivals": "poisson", "clock": "modelled"}),
    ],
    ids=["grace", "ft", "chunks", "traffic"],
)
def test_what_was_done_when_a_run_is_asked_to_stop_is_kept_and_the_facts_are_as_ever(
    every: int, changes: dict[str, Any], tmp_path: Path, monkeypatch
) -> None:
    whole = lifelong.run(quiet=True, out=str(tmp_path / "whole"), **{**RUN, **changes})
    stopped, edits = stopped_again_and_again(tmp_path / "stopped", every, monkeypatch, **changes)
    assert len(set(edits)) >= 3 and edits == sorted(edits) and edits[-1] < 7
    assert facts_of(stopped) == facts_of(whole)


def test_a_signal_waits_for_a_patient_part_and_a_second_ctrl_c_does_not(capfd) -> None:
    with pytest.raises(Stopped, match="SIGTERM"), stoppable():
        with patient():
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGTERM)  # a cluster says it twice
            assert asked_to_stop() == signal.SIGTERM
        assert "committed first" in capfd.readouterr().err
        with patient():
            os.kill(os.getpid(), signal.SIGINT)
            raise AssertionError("it went on after Ctrl-C")


def test_outside_of_a_patient_part_the_first_signal_is_raised_at_once() -> None:
    with pytest.raises(Stopped, match="SIGINT"), stoppable():
        with patient():
            pass
        os.kill(os.getpid(), signal.SIGINT)
        raise AssertionError("it went on")
