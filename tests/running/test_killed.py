"""Law 11 with editors that learn: learnt or loaded, killed or not, the facts are the same bit for bit."""

from __future__ import annotations

import multiprocessing
import os
import random
import time
from pathlib import Path
from typing import Any

import pytest
from runs_alike import facts_of

import lifelong
from lifelong.editing.find import editor_class
from lifelong.log import files
from lifelong.log.hive import runs_below

EIGHT = ("grace", "rag", "serac", "unike", "liveedit", "lemoe", "mend", "t_patcher")


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
    """Twenty seeded points over eight editors; before some of them the editor learns, before others it loads."""
    words = words_of(editor)
    whole = run(words, tmp_path / "whole", tmp_path / "cache-0")
    files_in_all = len(list((tmp_path / "whole").rglob("*")))
    draw = random.Random(f"21 {editor}")
    for point in range(3 if EIGHT.index(editor) < 4 else 2):
        out, cache = tmp_path / f"killed-{point}", tmp_path / f"cache-{point % 2}"
        run(words, out, cache, kill_at=draw.randrange(1, files_in_all))
        assert facts_of(run(words, out, cache)) == facts_of(whole), f"{editor}, point {point}"


def run(words: dict[str, Any], out: Path, cache: Path, *, kill_at: int = 0) -> Path:
    """Run or resume in a process of its own, killed when so many files lie in `out`, and return the run's folder."""
    start = multiprocessing.get_context("forkserver")  # the package is imported once, and every run is a fork of that
    start.set_forkserver_preload(["lifelong.models.tiny", "lifelong.running.run", "lifelong.simulation.loop"])
    resume = bool(runs_below(out))
    process = start.Process(target=run_here, args=(words, str(out), str(cache), resume))
    process.start()
    while kill_at and process.is_alive() and len(list(out.rglob("*"))) < kill_at:
        time.sleep(0.002)
    if kill_at:
        process.kill()  # SIGKILL
    process.join()
    assert process.exitcode == 0 or kill_at
    return next(iter(runs_below(out)), out)


def run_here(words: dict[str, Any], out: str, cache: str, resume: bool) -> None:
    """Do the run: what the process is for."""
    lifelong.run(quiet=True, resume=resume, out=out, cache=cache, **words)
