"""The gold fact in the prompt: always the right edit, stated as `rag` states it, and nothing out of scope."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lifelong.editing.facts.statement import StatementOptions
from lifelong.editors.rag import Rag, RagOptions
from lifelong.editors.told import Told
from streams.stream import Stream, load_stream
from streams.types import Prompt

OTHER = "Remember: {question} {answer}."


@pytest.fixture(scope="module")
def stream() -> Stream:
    return load_stream("toy", edits=6, seed=0)


@pytest.fixture
def told(tiny_vlm, stream) -> Told:
    known = {e.id for e in stream.edits}
    editor = Told(tiny_vlm)
    editor.reveal(lambda edit_id: stream.probes(edit_id) if edit_id in known else ())
    editor.edit(stream.edits)
    return editor


def test_every_probe_in_scope_meets_its_own_edit_and_no_other_meets_any(tiny_vlm, stream, told):
    probes = [p for e in stream.edits for p in stream.probes(e.id)] + list(stream.general)
    queries, targets = [p.query for p in probes], [p.target for p in probes]
    routes = told.route(told.encode(queries))
    assert [r.ids for r in routes] == [(p.edit_id,) if p.reference == "target" else () for p in probes]
    facts = {e.id: f"Update: {e.query.prompt} The answer is {e.target}." for e in stream.edits}
    asked = [
        Prompt((*([p.query.image] if p.query.image else []), f"{facts[p.edit_id]} {p.query.prompt}"))
        if p.reference == "target"
        else p.query
        for p in probes
    ]
    with told.applied(queries, routes) as answerer:
        scored = answerer.score(targets)
    for got, expected in zip(scored, tiny_vlm.score(asked, targets), strict=True):
        assert np.array_equal(got.logprobs, expected.logprobs)


@pytest.mark.parametrize("template", [StatementOptions().template, OTHER])
def test_a_fact_is_stated_as_rag_states_it(tiny_vlm, stream, told, template):
    edit = stream.edits[0]
    rag = Rag(tiny_vlm, RagOptions(threshold=0.999, image_weight=0.5, template=template))
    gold = Told(tiny_vlm, StatementOptions(template=template))
    for editor in (rag, gold):
        editor.edit([edit])
    scores = []
    for editor in (rag, gold):
        with editor.applied([edit.query], editor.route(editor.encode([edit.query]))) as answerer:
            scores.append(answerer.score([edit.target])[0].logprobs)
    assert np.array_equal(scores[0], scores[1])


def test_a_newer_edit_takes_the_older_ones_place_and_its_removal_leaves_the_base(stream, told):
    first = stream.edits[0]
    told.edit([replace(first, id="again", target="north", supersedes=first.id)])
    keys = told.encode([first.query])
    assert told.route(keys)[0].ids == ("again",) and first.id not in told.facts and told.holds("again")
    before = told.nbytes()
    told.remove(["again", first.id])
    assert not told.route(keys)[0].in_scope and told.nbytes() < before and not told.holds("again")


def test_a_loaded_state_states_the_same_facts(tiny_vlm, stream, told):
    twin = Told(tiny_vlm)
    twin.load(told.state())
    twin.reveal(stream.probes)
    queries = [p.query for p in stream.probes(stream.edits[0].id)]
    assert twin.route(twin.encode(queries)) == told.route(told.encode(queries)) and twin.facts == told.facts
