"""The event loop: order, batches, visibility, panels, withdrawals, collapse, and going on after a kill."""

from __future__ import annotations

from dataclasses import replace
from itertools import count

import pytest
from loop_parts import BankEditor, HomePanel, MemoryLog, arriving, some_edits

from lifelong.editing.contract import UnsupportedError
from lifelong.log import Edited, Gauged, Probed, RunLog, Timed
from lifelong.simulation.clock import Cost, MeasuredClock, ModelledClock
from lifelong.simulation.loop import ResumeError, SimulationSettings, simulate
from streams.times.arrivals import timetable
from streams.types import Posed, Probe, Query, Withdraw


def modelled(edit_s: float = 0.5, **options) -> ModelledClock:
    return ModelledClock({"edit": Cost(0, edit_s), "remove": Cost(0.1)}, **options)


def simulated(arrivals, editor=None, clock=None, panels=(), events=None, workers=1) -> tuple[MemoryLog, HomePanel]:
    editor, log = editor or BankEditor(), MemoryLog()
    panel = HomePanel(editor, [a.item for a in arrivals if hasattr(a.item, "query")])
    settings = SimulationSettings(tuple(panels), workers)
    simulate(
        arrivals,
        editor,
        panel,
        clock or modelled(),
        settings,
        log,
        on_event=None if events is None else events.append,
    )
    return log, panel


def scores(log: MemoryLog) -> list:
    return [[replace(f, sim_s=0.0) for f in part if isinstance(f, Probed)] for part in log.panels]


@pytest.mark.parametrize("turn", [1, 4])
def test_law_1_scores_at_a_step_ignore_arrivals_and_clocks(turn) -> None:
    edits, panels = some_edits(30), (1, 5, 10, 20)
    runs = []
    for name, rate, clock in [
        ("poisson", 0.1, modelled(0.0)),
        ("poisson", 50.0, modelled(3.0)),
        ("constant", 1.0, modelled(1.0, distribution="exponential")),
        ("constant", 9.0, MeasuredClock()),
    ]:
        arrivals = arriving(edits, name, rate)
        runs.append(scores(simulated(arrivals, BankEditor(turn, capacity=12), clock, panels)[0]))
    assert runs[0] == runs[1] == runs[2] == runs[3]
    values = [f.score for part in runs[0] for f in part]
    assert 0 < sum(values) < len(values)


def test_an_edit_waits_its_turn_and_is_visible_at_the_end_of_its_service() -> None:
    log, _ = simulated(timetable(some_edits(3), [0.0, 0.5, 10.0]), clock=modelled(2.0))
    assert [(f.edit_id, f.arrived_sim_s, f.visible_sim_s) for f in log.edited()] == [
        ("e0", 0.0, 2.0),
        ("e1", 0.5, 4.0),
        ("e2", 10.0, 12.0),
    ]
    gauges = {f.name: f.value for f in log.panels[-1] if isinstance(f, Gauged)}
    assert gauges["wait_mean_s"] == pytest.approx(1.5 / 3) and gauges["in_system_max"] == 2


def test_a_batch_waits_until_it_is_full_and_the_last_one_until_the_stream_ends() -> None:
    editor = BankEditor(turn=4)
    log, panel = simulated(timetable(some_edits(6), [1, 2, 3, 4, 5, 6]), editor, modelled(0.25), panels=(3, 4))
    assert editor.batches == [4, 2]
    assert [f.visible_sim_s for f in log.edited()] == [5.0] * 4 + [6.5] * 2
    assert [f.step for f in log.edited()] == [4] * 4 + [6] * 2
    assert panel.calls == [(4, False), (6, True)]  # a panel inside a batch falls at its end, once


def test_withdrawal_goes_in_order_cuts_a_batch_short_and_is_noted_where_it_fails() -> None:
    edits, events = some_edits(5), []
    items = [*edits[:2], Withdraw("e0"), Withdraw("never"), Withdraw("e0"), *edits[2:]]
    editor = BankEditor(turn=3)
    log, panel = simulated(arriving(items), editor, panels=(2,), events=events)
    assert editor.batches == [2, 3] and "e0" not in editor.bank and panel.retired == {"e0": ""}
    assert [(f.name, f.value) for f in log.facts(Gauged) if f.kind == "withdrawn"] == [
        ("e0", 1.0),
        ("never", 0.0),
        ("e0", 0.0),
    ]
    assert [e["text"].split()[0] for e in events if e["kind"] == "note"] == ["never", "e0"]


def test_an_editor_that_cannot_take_back_is_noted_and_the_run_goes_on() -> None:
    class Keeper(BankEditor):
        def remove(self, ids) -> None:
            raise UnsupportedError("cannot")

    events: list = []
    log, panel = simulated(arriving([*some_edits(2), Withdraw("e1")]), Keeper(), events=events)
    assert panel.retired == {} and panel.calls == [(2, True)]
    assert [e["text"] for e in events if e["kind"] == "note"] == ["e1 was not taken back: cannot"]


def test_a_collapse_is_logged_and_a_mistake_is_not_called_one() -> None:
    edits = some_edits(3)
    edits[1] = replace(edits[1], target="bad")
    log, _ = simulated(arriving(edits))
    assert [(f.outcome, "finite" in f.note) for f in log.edited()] == [
        ("applied", False),
        ("not finite", True),
        ("applied", False),
    ]
    editor = BankEditor()
    editor.bank.add(["e1"], editor.encode([Query("x")])["text"])
    with pytest.raises(ValueError, match="already holds"):
        simulated(arriving(some_edits(2)), editor)


def test_a_superseded_edit_is_retired_when_its_successor_becomes_visible() -> None:
    edits = some_edits(3)
    edits[2] = replace(edits[2], supersedes="e0")
    _, panel = simulated(arriving(edits), panels=(2,))
    assert panel.retired == {"e0": "e2"}


def test_bad_arrivals_are_refused_by_name() -> None:
    posed = Posed(Probe("p", "e0", "reliability", "edit", "text", Query("?"), "answer"), "edited", "e0")
    for arrivals, message in [
        ((), "at least one"),
        (arriving([posed]), "nobody answers"),
        (arriving([*some_edits(1), *some_edits(1)]), "'e0' arrives twice"),
        (tuple(reversed(arriving(some_edits(2)))), "before"),
    ]:
        with pytest.raises(ValueError, match=message):
            simulated(arrivals)
    with pytest.raises(ValueError, match="workers"):
        simulated(arriving(some_edits(1)), clock=MeasuredClock(), workers=2)


class Killed(Exception):
    """The process died."""


class FragileLog(RunLog):
    """A run log that dies before (or after) a chosen commit."""

    at, after = -1, False

    def commit(self, panel_index, facts, checkpoint) -> None:
        if panel_index == self.at and not self.after:
            raise Killed
        super().commit(panel_index, facts, checkpoint)
        if panel_index == self.at:
            raise Killed


def plain(log: RunLog) -> list:
    tables = [log.table(fact).to_pylist() for fact in (Edited, Probed, Gauged, Timed)]
    return [
        [{k: v for k, v in r.items() if "wall" not in k} for r in t if "wall" not in r.get("name", "")]
        for t in tables
    ]


def go(log: RunLog, workers: int, turn: int, resume=None, leaves=lambda: False) -> bool:
    """Run 40 edits of which two are withdrawn, with five panels, in a random queue."""
    items = [*some_edits(15), Withdraw("e3"), Withdraw("e14"), *some_edits(40)[15:]]
    arrivals = arriving(items, rate=2.0)
    editor = BankEditor(turn, capacity=20)
    panel = HomePanel(editor, [i for i in items if not isinstance(i, Withdraw)])
    clock = modelled(0.45 * workers, distribution="exponential", seed=5)
    settings = SimulationSettings((1, 7, 16, 20, 30), workers)
    return simulate(arrivals, editor, panel, clock, settings, log, resume, leaves=leaves)


@pytest.mark.parametrize("workers,turn", [(1, 1), (1, 3), (3, 1)])
@pytest.mark.parametrize("at,after", [(0, False), (1, True), (3, False), (4, True)])
def test_law_11_killed_and_resumed_equals_uninterrupted(tmp_path, workers, turn, at, after) -> None:
    whole = RunLog.create(tmp_path / "whole", "", {})
    assert go(whole, workers, turn)
    broken = FragileLog.create(tmp_path / "broken", "", {})
    assert isinstance(broken, FragileLog)
    broken.at, broken.after = at, after
    with pytest.raises(Killed):
        go(broken, workers, turn)
    again = RunLog.go_on(tmp_path / "broken")
    go(again, workers, turn, again.checkpoint())
    assert plain(again) == plain(whole)
    assert len(again.table(Edited)) == 40


@pytest.mark.parametrize("workers,turn", [(1, 1), (1, 3), (3, 1)])
def test_a_loop_that_is_asked_to_leave_commits_what_was_done_and_goes_on_from_there(tmp_path, workers, turn) -> None:
    """Asked at every fifth service, between panels and at them; no edit is made twice and none is lost."""
    whole = RunLog.create(tmp_path / "whole", "", {})
    go(whole, workers, turn)
    log, services, ended, edits = RunLog.create(tmp_path / "left", "", {}), count(1), False, [0]
    while not ended:
        ended = go(log, workers, turn, log.checkpoint(), leaves=lambda: next(services) % 5 == 0)
        edits.append(len(log.table(Edited)))
        log = RunLog.go_on(tmp_path / "left")
    assert plain(log) == plain(whole)
    assert edits[-1] == 40 and len(set(edits)) == len(edits) > 3


def test_a_checkpoint_of_other_arrivals_is_refused() -> None:
    log, _ = simulated(arriving(some_edits(4)), panels=(2,))
    editor = BankEditor()
    with pytest.raises(ResumeError, match="--fresh"):
        arrivals = arriving(some_edits(4), seed=1)
        panel = HomePanel(editor, [])
        simulate(arrivals, editor, panel, modelled(), SimulationSettings((2,)), log, log.checkpoints[0])
