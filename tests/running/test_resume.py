"""Law 11: a run that was killed anywhere and gone on with gives the facts of one that was never interrupted."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from runs_alike import SMALL, facts_of, out_of

import lifelong
from lifelong.log import RunLog, files

RUN = {**SMALL, "panels.every": 1}
POINTS = [random.Random(11).randrange(start, start + 12) for start in (4, 16, 28)]  # of about 45 files written


class Killed(BaseException):
    """Stands for a kill: nothing in the package may catch it."""


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lifelong.run(quiet=True, out=str(tmp_path_factory.mktemp("whole")), **RUN)


@pytest.mark.parametrize("point", POINTS)
def test_killed_at_a_random_write_and_resumed(point: int, uninterrupted: Path, tmp_path: Path, monkeypatch) -> None:
    left = [point]
    replace = os.replace

    def killing(source, target):
        left[0] -= 1
        if left[0] == 0:
            raise Killed
        replace(source, target)

    monkeypatch.setattr(files.os, "replace", killing)
    cache = str(out_of(uninterrupted) / ".cache")
    with pytest.raises(Killed):
        lifelong.run(quiet=True, out=str(tmp_path), cache=cache, **RUN)
    monkeypatch.undo()
    folder = lifelong.run(quiet=True, resume=True, out=str(tmp_path), cache=cache, **RUN)
    assert facts_of(folder) == facts_of(uninterrupted)
    assert not list(folder.rglob("*.tmp"))


def test_a_process_killed_in_the_middle_is_gone_on_with(uninterrupted: Path, tmp_path: Path) -> None:
    words = [f"{key}={value}" for key, value in RUN.items()]
    command = [sys.executable, "-m", "lifelong.cli", "run", *words, f"out={tmp_path}"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    folder = tmp_path / uninterrupted.relative_to(out_of(uninterrupted))
    while process.poll() is None and not list(folder.glob("checkpoint/panel-*.json")):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert RunLog.open(folder).last_panel() >= 0
    assert lifelong.run(quiet=True, resume=True, out=str(tmp_path), **RUN) == folder
    assert facts_of(folder) == facts_of(uninterrupted)
