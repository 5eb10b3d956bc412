"""LTE: what alignment learns, when the trained weights answer, and how edits are found."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lifelong.editing.contract import Route
from lifelong.editing.facts.statement import STATEMENT
from lifelong.editors.lte import Lte, LteOptions, train
from streams.stream import Stream, load_stream
from streams.types import Edit, ImageRef, Query

SMALL = {"steps": 60, "batch": 6, "rank": 4, "pool": 24, "learning_rate": 5e-3}
EDIT = Edit("a", Query("Who made this bowl?", ImageRef("noise:a", "a")), "Ann", "bowl")
STRANGE = Query("What is the capital of Kenya?")


@pytest.fixture(scope="module")
def stream() -> Stream:
    return load_stream("toy", edits=6, seed=0)


@pytest.fixture(scope="module")
def trained(tiny_vlm, stream) -> Lte:
    editor = Lte(tiny_vlm, LteOptions.model_validate(SMALL))
    editor.fit(stream.pool(24, 0))
    return editor


def like(trained: Lte, **options) -> Lte:
    """A new editor with other options and the same fit."""
    editor = Lte(trained.vlm, LteOptions.model_validate({**SMALL, **options}))
    editor.load_fitted(trained.fitted())
    return editor


def test_an_untrained_change_is_no_change(tiny_vlm):
    editor = Lte(tiny_vlm, LteOptions.model_validate(SMALL))
    for name, weight in editor.adapter.weights().items():
        assert torch.equal(weight, tiny_vlm.changes.parameter(name))


def test_the_change_of_a_weight_is_alpha_over_rank_times_b_a(trained, tiny_vlm):
    name, weight = next(iter(trained.weights.items()))
    down, up = trained.adapter.down[0], trained.adapter.up[0]
    torch.testing.assert_close(weight - tiny_vlm.changes.parameter(name), 32 / 4 * up @ down, atol=1e-6, rtol=1e-4)


def test_training_asks_each_kind_of_question_as_the_paper_says(stream):
    examples = [train.alignment_example(item, STATEMENT) for item in stream.pool(6, 0).items]
    groups = train.questions(examples, np.random.default_rng(0))
    statements = [e.said for e in examples]
    assert all(p.text.startswith(s) for p, s in zip(dict(groups["reliability"]), statements, strict=True))
    assert all(any(p.text.startswith(s) for s in statements) for p, _ in groups["stated"])
    assert not any(p.text.startswith(STATEMENT.partition("{")[0]) for p, _ in groups["plain"])


def test_training_beats_the_untrained_self_on_edits_it_never_saw(trained, tiny_vlm, stream):
    fresh = Lte(tiny_vlm, trained.options)
    nll = {}
    for name, weights in (("trained", trained.weights), ("fresh", fresh.weights)):
        editor = like(trained, threshold=-1)
        editor.weights = weights
        editor.edit(stream.edits)
        queries = [e.query for e in stream.edits]
        with editor.applied(queries, editor.route(editor.encode(queries))) as answerer:
            nll[name] = np.mean([s.nll for s in answerer.score([e.target for e in stream.edits])])
    assert nll["trained"] < nll["fresh"] - 0.1


@pytest.mark.parametrize("active", ["always", "in_scope"])
def test_the_trained_weights_answer_out_of_scope_only_if_always_active(trained, tiny_vlm, active):
    """Its failure mode, as published: questions out of every scope meet the aligned model, not the base."""
    editor = like(trained, active=active, threshold=1)
    editor.edit([EDIT])
    with editor.applied([STRANGE], editor.route(editor.encode([STRANGE]))) as answerer:
        got = answerer.score(["Nairobi"])[0].logprobs
    base = tiny_vlm.score([STRANGE], ["Nairobi"])[0].logprobs
    assert np.array_equal(got, base) == editor.routed == (active == "in_scope")


def test_batches_mixed_of_both_equal_rows_alone(trained):
    editor = like(trained, active="in_scope")
    editor.edit([EDIT])
    queries, here = [STRANGE, EDIT.query, STRANGE], Route(("a",), (1.0,))
    routes = [Route(), here, Route()]
    with editor.applied(queries, routes) as answerer:
        together, texts = answerer.score(["Ann"] * 3), answerer.generate([1, 0])
    for i, query in enumerate(queries):
        with editor.applied([query], routes[i : i + 1]) as answerer:
            np.testing.assert_allclose(answerer.score(["Ann"])[0].logprobs, together[i].logprobs, atol=1e-4)
            assert i == 2 or answerer.generate()[0] == texts[1 - i]
