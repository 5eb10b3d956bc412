"""IKE: which demonstrations an edit gets, in which order, and what the model is then asked."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lifelong.editing.facts.statement import STATEMENT, StatedFact
from lifelong.editors.ike import PATTERN, ROOM, Ike, IkeOptions, forms_of
from lifelong.running.prepare import resolve
from lifelong.running.words import ConfigError
from streams.stream import load_stream
from streams.types import Edit, ImageRef, Prompt, Query

PICTURE = ImageRef("noise:a", "a")
EDIT = Edit("a", Query("Who made this bowl?", PICTURE), "Ann", "bowl")
POOL = load_stream("toy", edits=2, seed=0).pool(12, 0)


@pytest.fixture(autouse=True)
def no_context(tiny_vlm, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny model has a token a byte, and reads few sentences."""
    monkeypatch.setattr(tiny_vlm.lengths, "context", None)


def fitted(tiny_vlm, **options) -> Ike:
    editor = Ike(tiny_vlm, IkeOptions.model_validate(options))
    editor.fit(POOL)
    return editor


def test_copy_update_and_retain_come_one_to_three_to_four():
    assert [PATTERN.count(form) for form in ("copy", "update", "retain")] == [1, 3, 4]


def test_a_demonstration_states_the_fact_asks_and_answers():
    item = POOL.items[0]
    fact, forms = StatedFact.of(item.edit), forms_of(item, STATEMENT)
    assert forms["copy"] == [f"Update: {fact.question} The answer is {fact.answer}. {fact.question} {fact.answer}."]
    old = next(p for p in item.probes if p.axis == "locality")
    assert f"{fact.said(STATEMENT)} {old.query.prompt} {old.target}." in forms["retain"]
    assert all(text.endswith(f"{fact.answer}.") and fact.said(STATEMENT) in text for text in forms["update"])


def test_the_nearest_demonstration_stands_next_to_the_edit(tiny_vlm):
    editor = fitted(tiny_vlm, demonstrations=4)
    editor.edit([EDIT])
    facts = [StatedFact.of(i.edit).said(STATEMENT) for i in POOL.items]
    near = editor.text.encode(facts) @ editor.text.encode([StatedFact.of(EDIT).said(STATEMENT)])[0]
    order = [facts[i] for i in np.argsort(-near)[:4]]
    assert [next(f for f in facts if text.startswith(f)) for text in editor.chosen["a"]] == order[::-1]


def test_the_prompt_is_demonstrations_edit_question_and_only_the_questions_picture(tiny_vlm):
    editor = fitted(tiny_vlm, demonstrations=2)
    editor.edit([EDIT])
    words = [*editor.chosen["a"], "Update: Who made this bowl? The answer is Ann.", "Who made this bowl?"]
    with editor.applied([EDIT.query], editor.route(editor.encode([EDIT.query]))) as answerer:
        got = answerer.score(["Ann"])[0]
    expected = tiny_vlm.score([Prompt((PICTURE, " ".join(words)))], ["Ann"])[0]
    assert np.array_equal(got.logprobs, expected.logprobs)


def test_every_query_gets_an_edit_as_published_and_a_threshold_lets_some_go(tiny_vlm):
    """Its failure mode: without a scope an unrelated question is answered after some edit."""
    strange = Query("What is the capital of Kenya?")
    free, gated = fitted(tiny_vlm, demonstrations=1), fitted(tiny_vlm, demonstrations=1, threshold=0.99)
    for editor in (free, gated):
        editor.edit([EDIT])
    assert [r.ids for r in free.route(free.encode([strange, EDIT.query]))] == [("a",), ("a",)]
    assert [r.ids for r in gated.route(gated.encode([strange, EDIT.query]))] == [(), ("a",)]


def test_replaced_and_evicted_edits_leave_nothing_behind(tiny_vlm):
    editor = fitted(tiny_vlm, demonstrations=1, capacity=2, eviction="fifo")
    editor.edit([EDIT, replace(EDIT, id="b", target="Bob", supersedes="a")])
    assert list(editor.chosen) == ["b"]
    for i in range(3):
        editor.edit([Edit(str(i), Query(f"Who has number {i}?"), "Ann", "bowl")])
    assert sorted(editor.chosen) == sorted(editor.book.facts) == ["1", "2"]


def test_what_fit_kept_can_be_loaded(tiny_vlm):
    editor, twin = fitted(tiny_vlm), Ike(tiny_vlm)
    twin.load_fitted(editor.fitted())
    for one in (editor, twin):
        one.edit([EDIT])
    assert twin.chosen == editor.chosen and len(twin.chosen["a"]) == 8


@pytest.mark.parametrize("k", [0, -1])
def test_ike_without_demonstrations_is_refused_and_the_editor_that_it_would_be_is_named(k: int):
    with pytest.raises(ConfigError, match=f"editor.demonstrations={k}: .*what shows none is editor=rag"):
        resolve(None, {"editor": "ike", "editor.demonstrations": k})


def test_an_edit_before_fit_is_refused_for_there_is_nothing_to_show(tiny_vlm):
    with pytest.raises(ValueError, match="`fit` takes them from a pool"):
        Ike(tiny_vlm).edit([EDIT])


@pytest.mark.parametrize("context", [1 << 20, 900, 500, 10])
def test_the_nearest_demonstrations_are_shown_that_the_models_context_holds(tiny_vlm, monkeypatch, context):
    whole = fitted(tiny_vlm, demonstrations=8)
    monkeypatch.setattr(tiny_vlm.lengths, "context", context)
    editor = fitted(tiny_vlm, demonstrations=8)
    for one in (whole, editor):
        one.edit([EDIT])
    texts, shown = whole.chosen["a"], editor.chosen["a"]
    assert len(texts) == 8 and shown == texts[8 - len(shown) :], "those farthest from the edit are left out"
    said = StatedFact.of(EDIT).said(STATEMENT)
    tokens = [len((said + "".join(texts[8 - n :])).encode()) for n in range(1, 9)]  # a token is a byte here
    assert len(shown) == max(1, sum(n <= ROOM * context for n in tokens))
