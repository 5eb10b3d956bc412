"""Claims about `restore_every`: chunks of edits, each on the unedited model, as if nothing had come before."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from loop_parts import BankEditor, HomePanel, MemoryLog, arriving, some_edits
from runs_alike import SMALL, facts_of, out_of

import lifelong
from lifelong.log import Edited, Gauged, Probed, RunLog, Timed, files
from lifelong.running.config import load_config
from lifelong.running.prepare import baseline_of, due_of, panel_of, prepare, resolve, run_loop
from lifelong.simulation.clock import Cost, MeasuredClock, ModelledClock
from lifelong.simulation.loop import SimulationSettings, simulate

RUN: dict[str, Any] = {**SMALL, "edits": 7, "restore_every": 3, "panels": [1, 2], "panels.sample": 1}


class ChunkPanel(HomePanel):
    """Notes which panels were whole."""

    def full(self, step, sim_s, history, retired, *, last, whole=False) -> list[Probed | Gauged | Timed]:
        self.calls.append((step, whole))
        return [*self._ask(step, sim_s, list(history))]


@pytest.mark.parametrize("clock", [MeasuredClock(), ModelledClock({"edit": Cost(0, 0.5)})])
@pytest.mark.parametrize("turn", [1, 2, 4])
def test_the_bank_is_empty_again_after_every_chunk_and_no_batch_reaches_beyond_one(turn: int, clock) -> None:
    edits, editor, log = some_edits(8), BankEditor(turn), MemoryLog()
    panel = ChunkPanel(editor, edits)
    settings = SimulationSettings((3, 6), restore_every=3)
    simulate(arriving(edits), editor, panel, clock, settings, log)
    assert panel.calls == [(3, True), (6, True), (8, False)] and panel.restarted == 2
    asked = [{f.edit_id for f in part if isinstance(f, Probed) and f.step == step}
             for part, step in zip(log.panels, (3, 6, 8), strict=True)]  # fmt: skip
    assert asked == [{"e0", "e1", "e2"}, {"e3", "e4", "e5"}, {"e6", "e7"}] and editor.bank_len() == 2
    told = [(f.step, f.value) for f in log.facts(Gauged) if f.kind == "restored"]
    assert told == [(3, 3.0), (6, 3.0)]
    assert [e.step for e in log.edited()][-1] == 8 and max(editor.batches) <= min(turn, 3)


@pytest.mark.parametrize("editor", ["grace", "ft"])
def test_a_chunk_is_answered_as_by_a_new_editor_that_saw_nothing_else(editor: str, tmp_path: Path) -> None:
    """The law behind `end-of-chunk`: chunk k of a run equals a run of its edits alone."""
    changes = {**RUN, "editor": editor, "editor.steps": 3, "panels": [100], "edits": 4, "restore_every": 2}
    changes |= {"out": str(tmp_path), "panels.latency_routes": 0, "panels.latency_answers": 0}
    ready = prepare(resolve(None, changes))
    with ready.computing():
        baseline = baseline_of(ready, lambda _: None)

        def asked(ready) -> list[Probed]:
            made, log = ready.editor(), MemoryLog()
            panel, steps = panel_of(ready, made, baseline), ready.config.steps(len(ready.stream))
            run_loop(ready, made, panel, log, steps, None, lambda _: None)
            made.close()
            return log.facts(Probed)

        whole, of = asked(ready), {edit.id: n // 2 for n, edit in enumerate(ready.stream.edits)}
        for chunk in range(2):
            ids = [edit_id for edit_id, n in of.items() if n == chunk]
            alone = asked(replace(ready, stream=_Part(ready.stream, ids)))
            mine = [f for f in whole if of.get(f.edit_id) == chunk]
            theirs = [f for f in alone if f.edit_id]
            assert len(mine) > 5 and _cells(mine) == _cells(theirs)
            untouched = [replace(f, age=2) for f in whole if not f.edit_id and f.step == 2 * (chunk + 1)]
            assert untouched and _cells(untouched) == _cells([f for f in alone if not f.edit_id])


def _cells(facts: list[Probed]) -> set[tuple]:
    return {(f.probe_id, f.age, f.variant, f.scorer, f.score, f.answer, f.routed_ids, f.route_score) for f in facts}


class _Part:
    """A part of a stream: some of its edits, in order, with their probes."""

    def __init__(self, stream, ids: list[str]) -> None:
        self.edits = tuple(stream.edit(i) for i in ids)
        self._of = stream

    def __len__(self) -> int:
        return len(self.edits)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._of, name)


LONG: dict[str, Any] = {**RUN, "edits": 5, "editor.steps": 3, "panels.every": 1, "panels.instant": False}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lifelong.run(quiet=True, out=str(tmp_path_factory.mktemp("whole")), **LONG)


@pytest.mark.parametrize("at", [3, 4])  # the panel that is lost: the next one after a chunk's end, and one inside
def test_a_run_in_chunks_that_was_killed_goes_on_as_if_it_had_not_been(
    at: int, uninterrupted: Path, tmp_path: Path, monkeypatch
) -> None:
    words: dict[str, Any] = {**LONG, "out": str(tmp_path), "cache": str(out_of(uninterrupted) / ".cache")}

    class Killed(BaseException):
        pass

    rename = os.replace

    def killing(source, target):
        if f"panel-{at:06d}" in str(target) and str(target).endswith(".json"):
            raise Killed
        rename(source, target)

    monkeypatch.setattr(files.os, "replace", killing)
    with pytest.raises(Killed):
        lifelong.run(quiet=True, **words)
    monkeypatch.undo()
    torn = tmp_path / uninterrupted.relative_to(out_of(uninterrupted))
    assert RunLog.open(torn).last_panel() == at - 1
    assert lifelong.run(quiet=True, resume=True, **words) == torn
    assert facts_of(torn) == facts_of(uninterrupted)


def test_a_chunks_end_has_a_panel_about_all_of_it_and_ages_count_within_it(tmp_path: Path) -> None:
    folder = lifelong.run(
        quiet=True,
        out=str(tmp_path),
        **{**RUN, "editor": "ft", "editor.steps": 2, "panels.instant": False, "panels.gaps": [1]},
    )
    log = RunLog.open(folder)
    rows = [r for r in log.table(Probed).to_pylist() if r["edit_id"] and r["axis"] == "reliability"]
    step_of = {r["edit_id"]: r["step"] for r in log.table(Edited).to_pylist()}
    by_step = {step: {step_of[r["edit_id"]] for r in rows if r["step"] == step} for step in (3, 6, 7)}
    assert by_step == {3: {1, 2, 3}, 6: {4, 5, 6}, 7: {7}}, "no sample at a chunk's end, no gap across one"
    assert all(r["age"] == r["step"] - step_of[r["edit_id"]] for r in rows)


def test_as_many_probes_are_foreseen_as_are_asked(uninterrupted: Path) -> None:
    rows = RunLog.open(uninterrupted).table(Probed).to_pylist()
    due = due_of(prepare(resolve(None, {**LONG, "out": str(out_of(uninterrupted))})))
    for step in range(1, 6):
        asked = {row["probe_id"] for row in rows if row["step"] == step}
        assert sum(due.at_panel(step - 1, step)) == len(asked), step


def test_chunks_of_one_need_no_panel_each_and_a_run_without_is_named_as_before() -> None:
    assert load_config(None, {"restore_every": 1, "panels": [4]}).steps(10) == (4, 10)
    assert load_config(None, {"restore_every": 1, "panels": [4], "panels.instant": False}).steps(3) == (1, 2, 3)
    assert load_config(None, {"restore_every": 4, "panels": [2]}).steps(10) == (2, 4, 8, 10)
    assert "restore_every" not in load_config(None).table()


@pytest.mark.parametrize("beside", [{"workers": 2}, {"queries": "poisson", "queries.rate": 1.0}, {"window_s": 1.0}])
def test_what_does_not_go_with_chunks_is_said(beside: dict[str, Any]) -> None:
    with pytest.raises(lifelong.ConfigError, match="restore_every=3: .* Leave out"):
        load_config(None, {"restore_every": 3, **beside})


def test_commands_about_one_long_stream_refuse_chunks(tmp_path: Path) -> None:
    small = {**SMALL, "restore_every": 3, "out": str(tmp_path)}
    with pytest.raises(lifelong.ConfigError, match="one long stream"):
        lifelong.route_settings(**small)
    with pytest.raises(lifelong.ConfigError, match="after every edit"):
        lifelong.single(**small)
