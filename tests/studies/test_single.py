"""Single edits: the editor is the same before every one of them, and the first one is a run's first step."""

from __future__ import annotations

import math
from typing import Any

import pytest

from lifelong import run, single
from lifelong.log import Probed
from lifelong.probing.scorers import TEACHER_FORCED
from lifelong.studies.five import five
from lifelong.studies.trials import last_probes

TINY: dict[str, Any] = {"model": "tiny", "stream": "toy"}


@pytest.mark.parametrize("editor", ["ft", "grace"])
def test_the_first_edit_alone_is_what_a_run_of_one_edit_shows(editor, tmp_path):
    alone = single(editor=editor, edits=1, out=str(tmp_path / "a"), **TINY)
    quick: dict[str, Any] = {"panels.latency_routes": 0, "panels.latency_answers": 0}
    folder = run(editor=editor, edits=1, out=str(tmp_path / "b"), quiet=True, **TINY, **quick)
    theirs = {(f.probe_id, f.scorer): (f.score, f.answer) for f in last_probes(folder) if f.edit_id}
    assert theirs and theirs == {(f.probe_id, f.scorer): (f.score, f.answer) for f in alone.facts}


def test_the_published_metrics_leave_out_hard_locality_and_count_a_probe_once():
    asked = [("locality", "far", 1.0), ("locality", "near", 0.0), ("locality", "same-image", 0.0)]
    facts = [
        Probed(1, 0.0, str(i), "e", 0, axis, variant, "image", "plain", TEACHER_FORCED, score)
        for i, (axis, variant, score) in enumerate([*asked, ("reliability", "", 0.5)])
    ]
    found = five([*facts, facts[0]])
    assert found["M-Loc"] == 1.0 and found["Rel"] == 0.5 and math.isnan(found["T-Loc"])
    assert all(math.isnan(value) for value in five([]).values())


def test_an_edits_facts_are_the_same_wherever_it_stands(tmp_path):
    found = []
    for order in ("shuffled", "grouped"):
        changes = {**TINY, "stream.order": order}
        alone = single(editor="ft", edits=20, **{"editor.steps": 2}, out=str(tmp_path), **changes)
        found.append({edit_id: [f for f in alone.facts if f.edit_id == edit_id] for edit_id in ids_of(alone)})
    both = [edit_id for edit_id in found[0] if edit_id in found[1]]
    assert len(both) > 3 and both != [edit_id for edit_id in found[1] if edit_id in found[0]]  # else it says nothing
    assert all(found[0][edit_id] == found[1][edit_id] for edit_id in both)


def ids_of(alone):
    return dict.fromkeys(f.edit_id for f in alone.facts)
