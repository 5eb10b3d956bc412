"""The oracle: every in-scope probe is answered by its target, everything else is the base; only references look."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lifelong.editing.contract import Privileged
from lifelong.editing.find import editor_class, editor_names
from lifelong.editors.oracle import Oracle
from lifelong.log import Probed, RunLog
from lifelong.running.run import run
from streams.stream import Stream, load_stream


@pytest.fixture(scope="module")
def stream() -> Stream:
    return load_stream("toy", edits=6, seed=0)


def probes_of(stream: Stream):
    """The stream's probe table, with nothing about edits that a test makes up."""
    known = {e.id for e in stream.edits}
    return lambda edit_id: stream.probes(edit_id) if edit_id in known else ()


@pytest.fixture
def oracle(tiny_vlm, stream) -> Oracle:
    editor = Oracle(tiny_vlm)
    editor.reveal(probes_of(stream))
    editor.edit(stream.edits)
    return editor


def test_every_in_scope_probe_is_answered_by_its_target_and_others_by_the_base(tiny_vlm, stream, oracle):
    probes = [p for e in stream.edits for p in stream.probes(e.id)] + list(stream.general)
    queries, targets = [p.query for p in probes], [p.target for p in probes]
    routes = oracle.route(oracle.encode(queries))
    assert [r.ids for r in routes] == [(p.edit_id,) if p.reference == "target" else () for p in probes]
    with oracle.applied(queries, routes) as answerer:
        scored, texts = answerer.score(targets), answerer.generate()
    base, decoded = tiny_vlm.score(queries, targets), tiny_vlm.generate(queries)
    for p, s, text, b, d in zip(probes, scored, texts, base, decoded, strict=True):
        if p.reference == "target":
            assert s.exact and s.nll < 1e-5 and text == p.target
        else:
            assert np.array_equal(s.argmax_ids, b.argmax_ids) and text == d


def test_a_wrong_target_is_scored_as_unlikely_and_finite(stream, oracle):
    edit = stream.edits[0]
    with oracle.applied([edit.query], oracle.route(oracle.encode([edit.query]))) as answerer:
        plain, ranked = answerer.score(["salt wheel"])[0], answerer.score([edit.target], top=3)[0]
    assert not plain.exact and np.isfinite(plain.logprobs).all() and plain.logprobs.min() < -10
    assert ranked.top_ids is not None
    assert ranked.top_ids[-len(ranked.target_ids) - 1 : -1, 0].tolist() == ranked.target_ids.tolist()


def test_a_later_edit_takes_over_and_its_removal_leaves_the_base(stream, oracle):
    first = stream.edits[0]
    oracle.edit([replace(first, id="again", target="north", supersedes=first.id)])
    keys = oracle.encode([first.query])
    assert oracle.route(keys)[0].ids == ("again",)
    oracle.remove(["again", first.id])
    assert not oracle.route(keys)[0].in_scope


def test_edits_learn_their_questions_also_when_the_probes_come_later(tiny_vlm, stream, oracle):
    late = Oracle(tiny_vlm)
    late.load(oracle.state())
    late.reveal(stream.probes)
    queries = [p.query for p in stream.probes(stream.edits[0].id)]
    assert late.route(late.encode(queries)) == oracle.route(oracle.encode(queries))


def test_in_a_run_every_answer_is_right_at_every_step(tmp_path):
    """The ceiling: all in-scope probes of all edits, and agreement with the base on all others, at every panel."""
    folder = run(quiet=True, editor="oracle", stream="toy", model="tiny", edits=6, out=str(tmp_path), panels=[2, 6])
    rows = RunLog.open(folder).table(Probed).to_pylist()
    kept = [r["score"] for r in rows if r["edit_id"] and r["scorer"] == "generated"]
    assert len(kept) > 100 and set(kept) == {1.0}


def test_no_method_can_be_shown_probes_only_two_references():
    assert [name for name in editor_names() if issubclass(editor_class(name), Privileged)] == ["oracle", "told"]
