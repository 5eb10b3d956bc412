"""Law 11 with editors that learn: learnt or loaded, killed or not, the facts are the same bit for bit."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from runs_alike import facts_of

import lifelong
from lifelong.editing.find import editor_class
from lifelong.log import files

EIGHT = ("grace", "rag", "serac", "unike", "liveedit", "lemoe", "mend", "t_patcher")
POINTS = random.Random(21)


def words_of(editor: str, **more: Any) -> dict[str, Any]:
    """A small run of an editor, its training and descents cut short."""
    words: dict[str, Any] = {"editor": editor, "model": "tiny", "stream": "toy", "edits": 7, "panels.every": 2}
    words |= {"threads": 1, "panels.latency_routes": 2, "panels.latency_answers": 1, "fit.edits": 24, **more}
    few = {"steps": 8, "fit_steps": 8, "pool": 24, "batch": 8, "routing_batch": 16}
    known = editor_class(editor).Options.model_fields
    return words | {f"editor.{name}": n for name, n in few.items() if name in known}


class Killed(BaseException):
    """Stands for a kill: nothing in the package may catch it."""


@pytest.mark.parametrize("editor", ["unike", "serac"])
def test_a_trained_editor_goes_on_as_if_never_interrupted_and_learnt_equals_loaded(
    editor: str, tmp_path: Path, monkeypatch
) -> None:
    words = words_of(editor, cache=str(tmp_path / "cache"), edits=4)
    learnt = lifelong.run(quiet=True, out=str(tmp_path / "learnt"), **words)
    loaded = lifelong.run(quiet=True, out=str(tmp_path / "loaded"), **words)
    assert facts_of(loaded) == facts_of(learnt)
    replace = os.replace

    def killing(source, target):
        replace(source, target)
        if str(target).endswith("panel-000000.json"):
            raise Killed

    monkeypatch.setattr(files.os, "replace", killing)
    with pytest.raises(Killed):
        lifelong.run(quiet=True, out=str(tmp_path / "killed"), **words)
    monkeypatch.undo()
    resumed = lifelong.run(quiet=True, resume=True, out=str(tmp_path / "killed"), **words)
    assert facts_of(resumed) == facts_of(learnt)


@pytest.mark.soak
@pytest.mark.parametrize("editor", EIGHT)
def test_a_process_killed_at_random_points_ends_with_the_facts_of_one_never_killed(
    editor: str, tmp_path: Path
) -> None:
    """Twenty seeded points over eight editors; the first ones of each lie where it learns, if it does."""
    words = words_of(editor)
    begun = time.monotonic()
    whole = run(words, tmp_path / "whole", tmp_path / "cache-1", kill_after_s=None)
    took_s = time.monotonic() - begun
    for point in range(3 if EIGHT.index(editor) < 4 else 2):
        out, cache = tmp_path / f"killed-{point}", tmp_path / f"cache-{1 + point % 2}"
        run(words, out, cache, kill_after_s=took_s * POINTS.uniform(0.3, 0.95))
        assert facts_of(run(words, out, cache, kill_after_s=None)) == facts_of(whole), f"{editor}, point {point}"


def run(words: dict[str, Any], out: Path, cache: Path, *, kill_after_s: float | None) -> Path:
    """Run or resume in a process of its own, which may be killed, and return the run's folder."""
    said = [f"{key}={value}" for key, value in words.items()]
    resume = ["--resume"] if out.is_dir() and list(out.glob("*/manifest.json")) else []
    command = [sys.executable, "-m", "lifelong.cli", "run", *said, f"out={out}", f"cache={cache}", *resume]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        _, said_wrong = process.communicate(timeout=kill_after_s)
        assert process.returncode == 0, said_wrong.decode()
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
    return next(iter(out.glob("*/")), out)
