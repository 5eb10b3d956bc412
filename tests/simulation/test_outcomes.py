"""What became of each edit: applied, no-op, skipped by the method, or not finite; and what the base knew of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from loop_parts import BankEditor, MemoryLog, SilentPanel, arriving, some_edits
from runs_alike import SMALL

import lifelong
from lifelong.editing.contract import Editor, State
from lifelong.editing.weights.regions import relative_change
from lifelong.editors.ft import FineTuning, FtOptions
from lifelong.editors.grace import Grace, GraceOptions
from lifelong.editors.lemoe import Lemoe, LemoeOptions
from lifelong.editors.liveedit import LiveEdit
from lifelong.editors.liveedit.options import LiveEditOptions
from lifelong.editors.t_patcher import TPatcher
from lifelong.editors.t_patcher.options import TPatcherOptions
from lifelong.log import Edited, Gauged, RunLog
from lifelong.log.facts import OUTCOMES
from lifelong.probing.asking import Reply
from lifelong.probing.baseline import Baseline
from lifelong.running.run import outcomes_told
from lifelong.simulation.clock import Cost, ModelledClock
from lifelong.simulation.loop import simulate
from lifelong.simulation.roles import SimulationSettings
from streams.stream import load_stream
from streams.types import Edit, ImageRef, Query

SHOWN = Edit("shown", Query("Who made this bowl?", ImageRef("noise:a", "a")), "Ann", "bowl")
TOLD = Edit("told", Query("Who made the long bridge?"), "Rome", "bridge")


def made(editor: Editor, edits: Sequence[Edit], **settings) -> list[Edited]:
    """Return what the loop notes of edits."""
    log, clock = MemoryLog(), ModelledClock({"edit": Cost(0.1)})
    simulate(arriving(edits), editor, SilentPanel(), clock, SimulationSettings(**settings), log)  # pyright: ignore
    return log.edited()


def outcomes(editor: Editor, edits: Sequence[Edit], **settings) -> list[str]:
    return [fact.outcome for fact in made(editor, edits, **settings)]


class Picky(BankEditor):
    """Passes over every second edit, and says so only of those called `odd`."""

    def edit(self, edits: Sequence[Edit]) -> dict[str, str]:
        taken = [e for e in edits if int(e.id[1:]) % 2 == 0]
        if taken:
            super().edit(taken)
        return {e.id: "it is odd" for e in edits if e not in taken and e.target == "odd"}

    def routing_banks(self):
        return [self.bank]


def test_an_edit_is_applied_a_no_op_skipped_or_not_finite() -> None:
    edits = some_edits(5)
    edits[3], edits[4] = replace(edits[3], target="odd"), replace(edits[4], target="bad")
    found = made(Picky(), edits)
    assert [f.outcome for f in found] == ["applied", "no-op", "applied", "skipped", "not finite"]
    assert [f.note for f in found] == ["", "", "", "it is odd", "the loss is not finite"]
    assert {f.outcome for f in found} == set(OUTCOMES)


def test_one_batch_may_hold_edits_that_are_taken_and_others_that_are_passed_over() -> None:
    edits = [replace(e, target="odd") for e in some_edits(4)]
    assert outcomes(Picky(turn=4), edits) == ["applied", "skipped", "applied", "skipped"]


class Diary(Editor):
    """Keeps its edits in a table and nothing else; what it does not tell in `state` nobody can see."""

    def __init__(self, vlm, *, tells: bool) -> None:
        super().__init__(vlm)
        self.table: dict[str, str] = {}
        self.tells = tells

    def edit(self, edits: Sequence[Edit]) -> None:
        self.table |= {e.query.digest: e.target for e in edits}


class OpenDiary(Diary):
    def state(self) -> State:
        return State({}, {"table": self.table})


def test_without_banks_a_change_is_seen_in_the_state_and_without_a_state_it_is_believed() -> None:
    same = [replace(e, query=Query("the same")) for e in some_edits(2)]
    assert outcomes(OpenDiary(BankEditor().vlm, tells=True), same) == ["applied", "no-op"]
    assert outcomes(Diary(BankEditor().vlm, tells=False), same) == ["applied", "applied"]


@pytest.mark.parametrize(
    ("editor", "edits", "expected"),
    [
        (lambda vlm: FineTuning(vlm, FtOptions(stop_loss=100.0)), [SHOWN, TOLD], ["no-op", "no-op"]),
        (lambda vlm: FineTuning(vlm, FtOptions(module="vision", steps=1)), [SHOWN, TOLD], ["applied", "skipped"]),
        (
            lambda vlm: LiveEdit(vlm, LiveEditOptions.model_validate({"text_only": "paper"})),
            [SHOWN, TOLD],
            ["applied", "skipped"],
        ),
        (lambda vlm: Grace(vlm, GraceOptions(steps=1)), [TOLD, replace(TOLD, id="again")], ["applied", "applied"]),
        (
            lambda vlm: Lemoe(vlm, LemoeOptions(per_expert=2, steps=1)),
            [TOLD, replace(TOLD, id="again", target="Bonn")],
            ["skipped", "applied"],
        ),
    ],
    ids=["ft in no need", "ft of the vision side", "liveedit as published", "grace joining", "lemoe replacing"],
)
def test_shipped_editors_say_what_became_of_an_edit(tiny_vlm, editor, edits, expected) -> None:
    assert outcomes(editor(tiny_vlm), edits) == expected


def test_t_patcher_passes_over_what_the_model_says_already(tiny_vlm) -> None:
    said = tiny_vlm.generate([TOLD.query], max_tokens=1)[0]
    editor = TPatcher(tiny_vlm, TPatcherOptions(memory=0, steps=2, neurons=1))
    editor._wrong = lambda right: []  # type: ignore[method-assign]
    (fact,) = made(editor, [replace(TOLD, target=said or "a")])
    assert fact.outcome == "skipped" and "says it already" in fact.note


def test_a_run_in_which_no_edit_changed_anything_says_so_and_none_is_meant_to(tmp_path: Path, capsys) -> None:
    words = {**SMALL, "out": str(tmp_path), "panels.latency_routes": 0, "edits": 4}
    folder = lifelong.run(**{**words, "editor": "ft", "editor.stop_loss": 100.0})
    assert "none of 4 edits changed anything: 4 no-op" in capsys.readouterr().err
    assert RunLog.open(folder).table(Edited)["outcome"].to_pylist() == ["no-op"] * 4
    gauged = [r for r in RunLog.open(folder).table(Gauged).to_pylist() if r["name"] == "weight_drift"]
    assert gauged and {(r["kind"], r["value"], r["n"]) for r in gauged} == {("weights", 0.0, 1)}
    none = lifelong.run(**{**words, "editor": "none"})
    assert RunLog.open(none).table(Edited)["outcome"].to_pylist() == ["no-op"] * 4
    assert "changed" not in capsys.readouterr().err
    assert not [r for r in RunLog.open(none).table(Gauged).to_pylist() if r["kind"] == "weights"]


def test_the_last_line_counts_what_did_not_change_the_editor() -> None:
    assert outcomes_told(["applied"] * 3, Editor) == ""
    assert outcomes_told(["applied", "skipped"], Editor) == "1 of 2 edits changed nothing: 1 skipped"


def test_weight_drift_is_the_relative_norm_of_the_change(tiny_vlm) -> None:
    base = {"a": torch.tensor([[3.0, 4.0]]), "b": torch.eye(2), "bias": torch.ones(2)}
    now = {"a": torch.tensor([[3.0, 1.0]]), "b": torch.eye(2) * 2, "bias": torch.zeros(2)}
    assert relative_change(now, base) == (pytest.approx((11 / 27) ** 0.5), 2)
    editor = FineTuning(tiny_vlm, FtOptions(learning_rate=3e-2))
    assert editor.weight_drift() == (0.0, 1)
    editor.edit([SHOWN])
    (name,) = editor.weights.base
    moved, size = (editor.weights.now[name] - editor.weights.base[name]).norm(), editor.weights.base[name].norm()
    assert editor.weight_drift() == (pytest.approx(float(moved / size), rel=1e-5), 1) and moved > 0


def test_an_edit_is_an_update_where_the_base_gave_an_answer_that_was_right() -> None:
    asked = Query("Who made it?")
    baseline = Baseline({asked.digest: Reply("  ANN\n", {})}, 4)
    assert baseline.knowledge_of(asked, ("Bob", "Ann")) == "updated"
    assert baseline.knowledge_of(asked, ("Bob",)) == "unknown"
    assert baseline.knowledge_of(asked, ()) == "" and baseline.knowledge_of(Query("Else?"), ("Ann",)) == ""


@pytest.mark.parametrize("name", ["toy", "atlas"])
def test_a_stream_of_a_world_knows_what_was_right_before(name: str) -> None:
    stream = load_stream(name, edits=30, seed=0, order="reversals")
    assert all(stream.truths(e.id) for e in stream.edits)
    back = [e for e in stream.edits if e.source == "reversal"]
    assert back and all(e.target in stream.truths(e.id) for e in back)
    assert all(e.target not in stream.truths(e.id) for e in stream.edits if e.source == "counterfactual")
