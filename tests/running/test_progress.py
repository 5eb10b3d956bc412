"""What a run shows: how long it still takes, from costs measured so far, and that something is shown at all."""

from __future__ import annotations

import io
import math
import re
import threading
from pathlib import Path
from typing import Any

import pytest
from runs_alike import SMALL

import lifelong
from lifelong.log import Fact, Gauged, Probed, Timed
from lifelong.probing.due import DueProbes, PanelSettings, ever_asked
from lifelong.running.config import Panels
from lifelong.running.progress import Progress, busy_machine, heartbeat, pace
from lifelong.running.remaining import Remaining
from streams.stream import load_stream


class Machine:
    """A made-up run on a clock of its own: seconds for an edit, a probe that is answered, a panel, its samples."""

    def __init__(self, edits: int, *, routed: bool, **costs: float) -> None:
        self.stream = load_stream("toy", edits=edits, seed=0)
        self.panels = Panels()
        self.steps = self.panels.steps(len(self.stream.edits))
        self.due = DueProbes(self.stream, self.panels, routed=routed)
        self.routed, self.now_s = routed, 0.0
        self.costs = {"edit": 0.2, "answer": 0.05, "route": 0.002, "panel": 0.4, "latency": 3.0, **costs}
        self.progress = Progress("made-up", edits, stream=io.StringIO(), quiet=True, clock=lambda: self.now_s)

    def estimates(self, until: int | None = None) -> list[tuple[int, float, float]]:
        """Run to the end, or to a panel; (step, seconds said to be left, seconds that were left) at each panel."""
        self.progress.begin(0, Remaining(self.due, self.steps))
        said, before, sampled = [], 0, 0
        for step in (s for s in self.steps if until is None or s <= until):
            for edit in range(before + 1, step + 1):
                self.now_s += self.costs["edit"]
                self.progress.at(edit, self.costs["edit"])
            old, new = self.due.at_panel(before, step)
            now = self.due.at_once(before, step)
            samples = step == self.steps[-1] or step >= 1.5 * sampled
            sampled = step if samples else sampled
            facts = self._facts(step, now, old, new, samples=samples, first=before == 0)
            self.progress.panel(step, facts)
            said.append((step, self.progress.left_wall_s(), self.now_s))
            before = step
        return [(step, left, self.now_s - at) for step, left, at in said]

    def _facts(self, step: int, now: int, old: int, new: int, *, samples: bool, first: bool) -> list[Fact]:
        c = self.costs
        answered = now + (0 if self.routed else old + new)
        answer_s, route_s = c["answer"] * answered, c["route"] * (now + old + new)
        warm_up_s = 2.0 if first else 0.0
        self.now_s += answer_s + route_s + c["panel"] + warm_up_s + (c["latency"] if samples else 0.0)
        values = {"probes_asked": now + old + new, "probes_reused": now + old + new - answered,
                  "answer_wall_s": answer_s, "route_wall_s": route_s, "bank_len": step}  # fmt: skip
        facts: list[Fact] = [Gauged(step, 0.0, "panel", name, float(value)) for name, value in values.items()]
        facts += [
            Probed(step, 0.0, f"p{n}", "e", 0 if n < new else step, "reliability", "", "", "", "generated", 1.0,
                   reused=self.routed)
            for n in range(old + new)
        ]  # fmt: skip
        if samples:  # 40 routes and 10 answers, and three queries before them
            part = c["latency"] / (40 + 3 + 10 + 3)
            facts += [Timed(step, step, "encode", part / 2) for _ in range(40)]
            facts += [Timed(step, step, "route", part / 2) for _ in range(40)]
            facts += [Timed(step, step, "answer", part / 2) for _ in range(10)]
            facts += [Timed(step, step, "apply", part / 2) for _ in range(10)]
        return facts


@pytest.mark.parametrize("routed", [True, False])
@pytest.mark.parametrize(
    "costs", [{}, {"panel": 6.0}, {"edit": 3.0}, {"answer": 0.5}, {"latency": 0.3}, {"route": 0.2}]
)
def test_the_time_left_is_right_from_the_second_panel_on(routed: bool, costs: dict[str, float]) -> None:
    first, *later = Machine(100, routed=routed, **costs).estimates()
    assert math.isnan(first[1])
    for step, said, true in later[:-1]:
        assert true / 1.5 <= said <= true * 1.5, (step, said, true)


def test_edits_that_take_longer_than_any_before_are_not_taken_for_done() -> None:
    """Four seconds an edit after a panel, .2 before: what is left of the stretch is told at the new pace."""
    machine = Machine(100, routed=True)
    machine.estimates(until=50)
    for edit in range(51, 91):
        machine.now_s += 4.0
        machine.progress.at(edit, 4.0)
    assert machine.steps[-2:] == (50, 100) and machine.progress.left_wall_s() >= 10 * 4.0


def test_nothing_is_said_about_the_time_before_it_can_be() -> None:
    machine = Machine(50, routed=True)
    machine.progress.begin(0, Remaining(machine.due, machine.steps))
    machine.now_s = 10.0
    machine.progress.at(1)
    assert "left" not in machine.progress.line() and "10.0 s an edit" in machine.progress.line()
    assert pace(0, 3.0) == "" and pace(40, 10.0) == "4.0 edits/s" and pace(5, 60.0) == "12.0 s an edit"


@pytest.mark.parametrize(
    "settings",
    [PanelSettings(), PanelSettings(sample=5), PanelSettings(instant=False, sample=3), PanelSettings(most=4),
     PanelSettings(instant_axes=("reliability",))],
)  # fmt: skip
@pytest.mark.parametrize("routed", [True, False])
def test_counts_of_due_probes_are_those_of_the_probes_themselves(settings: PanelSettings, routed: bool) -> None:
    """At a first panel nothing was asked at a panel before: what is asked then are the probes of `ever_asked`."""
    stream = load_stream("toy", edits=30, seed=3, order="reedits")
    due = DueProbes(stream, settings, routed=routed)
    off = settings.model_copy(update={"instant": False})
    for step in (1, 7, len(stream.edits)):
        old, new = due.at_panel(0, step)
        assert old + new == len(ever_asked(stream, off, [step], routed=routed))
        assert old == len(stream.general)
    at_once = settings.model_copy(update={"instant": True})
    first = DueProbes(stream, at_once, routed=routed).at_once(0, len(stream.edits))
    asked = ever_asked(stream, at_once, [], routed=routed)
    assert first == len(asked) - len(stream.general)


def test_of_a_thousand_failed_edits_six_lines_tell() -> None:
    shown = io.StringIO()
    with Progress("made-up", 1000, stream=shown) as progress:
        for edit in range(1, 1001):
            progress.note(f"edit {edit}: no number.")
    lines = [line for line in shown.getvalue().splitlines() if "no number" in line]
    assert [re.findall(r"edit (\d+):", line) for line in lines] == [["1"], ["2"], ["3"], ["10"], ["100"], ["1000"]]
    assert "shows all" in lines[2] and "1000 edits" in lines[-1]


def test_something_is_shown_while_something_works() -> None:
    said: list[str] = []
    told = threading.Event()

    def say(text: str) -> None:
        said.append(text)
        if len(said) == 3:
            told.set()

    with heartbeat(say, "learning", every_s=0.01):
        assert said[0] == "learning"
        assert told.wait(60)
    assert all(text.startswith("learning: ") and text.endswith("s so far") for text in said[1:])


def test_a_run_shows_what_it_does_before_it_begins_with_it() -> None:
    shown = io.StringIO()
    with Progress("a run", 3, stream=shown) as progress:
        with progress.doing("loading the stream and the model"):
            assert shown.getvalue() == "a run: loading the stream and the model\n"
        with progress.doing("what is found at once", after_s=1000.0):
            progress.say("a\x1b[31mb")
    assert shown.getvalue().splitlines()[-1] == "a run: a\\x1b[31mb"


def test_the_last_line_about_the_frozen_model_is_a_finished_one(tmp_path: Path, capsys) -> None:
    said = []
    for again in ({}, {"name": "again"}, {"name": "again"}):
        lifelong.run(**{**SMALL, "editor": "none", "edits": 2, "panels": [2], "out": str(tmp_path), **again})
        said.append(capsys.readouterr().err)
    asked, cached = r"asked the frozen model (\d+) queries\n", r"answers to all (\d+) queries are in the cache\n"
    first, second = re.search(asked, said[0]), re.search(cached, said[1])
    assert first and second and first[1] == second[1] and not re.search(asked, said[1])
    assert said[2].splitlines()[-1] == "again: finished already"


def test_a_machine_with_more_work_than_cores_is_said_to_be_one(monkeypatch: Any) -> None:
    monkeypatch.setattr("os.getloadavg", lambda: (6.2, 1.0, 1.0))
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    assert "load average 6.2 on 2 cores" in busy_machine()
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    assert busy_machine() == ""
