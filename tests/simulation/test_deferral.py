"""Answers that wait for those of later edits are the answers given at once."""

from __future__ import annotations

from dataclasses import replace

import pytest
from loop_parts import MemoryLog

from lifelong.editing.find import editor_class
from lifelong.log import Edited, Probed
from lifelong.probing.baseline import Baseline
from lifelong.probing.panel import Panel, PanelSettings
from lifelong.simulation.clock import Cost, ModelledClock
from lifelong.simulation.loop import SimulationSettings, simulate
from streams.stream import load_stream
from streams.times.arrivals import timetable
from streams.types import Withdraw

EDITS = 12


@pytest.mark.parametrize("name", ["rag", "oracle", "none"])
def test_facts_do_not_depend_on_how_many_edits_are_answered_together(tiny_vlm, name):
    """With a re-edit and a withdrawal in between, which must not reach back."""
    stream = load_stream("toy", edits=EDITS, seed=5)
    again = replace(stream.edits[7], supersedes=stream.edits[1].id)
    edits = (*stream.edits[:7], again, *stream.edits[8:])
    items = [*edits[:5], Withdraw(edits[2].id), *edits[5:]]
    probes = [p for e in edits for p in stream.probes(e.id)] + list(stream.general)
    baseline = Baseline.prepare(tiny_vlm, probes, max_tokens=4)

    def run(together: int) -> tuple[list, list[int]]:
        editor = editor_class(name)(tiny_vlm, seed=0)
        editor.fit(stream.pool(8, 0))
        settings = PanelSettings(latency_routes=0, latency_answers=0, together=together)
        panel = Panel(
            tiny_vlm, editor, stream.probes, stream.general, settings, baseline, order=[e.id for e in edits]
        )
        answered, log, calls = panel.answer, MemoryLog(), []
        panel.answer = lambda asked: calls.extend([len(asked)] * bool(asked)) or answered(asked)  # type: ignore
        clock = ModelledClock({"edit": Cost(0, 0.5), "remove": Cost(0.1)})
        simulate(
            timetable(items, range(len(items))), editor, panel, clock,
            SimulationSettings((4,)), log,
        )  # fmt: skip
        facts = [*log.facts(Edited), *log.facts(Probed)]  # an edit is logged at once, its probes when answered
        return [replace(f, edit_wall_s=0.0) if isinstance(f, Edited) else f for f in facts], calls

    (one, at_once), (many, waited) = run(1), run(5)
    # Edits 1-4 and their panel, 5 before the withdrawal, 6-7 before the re-edit, 8-12 and the last panel.
    assert set(at_once) == {1} and waited == [4, 1, 1, 2, 5, 1]
    assert len(one) == len(many) > 100
    for a, b in zip(one, many, strict=True):
        if isinstance(a, Probed):
            assert a.score == pytest.approx(b.score, abs=1e-4)
            a = replace(a, score=b.score)
        assert a == b
