"""Retrieval in the prompt: what is compared, when it fires, what the model is then asked."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lifelong.editors.rag import WEIGHTS, Rag, RagOptions
from streams.stream import load_stream
from streams.types import Edit, ImageRef, Prompt, Query

PICTURE = ImageRef("noise:a", "a")
EDIT = Edit("a", Query("Who made this bowl?", PICTURE), "Ann", "bowl")


def route(editor: Rag, query: Query):
    return editor.route(editor.encode([query]))[0]


@pytest.mark.parametrize("keys", ["both", "text", "image"])
def test_the_edits_own_query_has_cosine_one(tiny_vlm, keys):
    editor = Rag(tiny_vlm, RagOptions(keys=keys, threshold=0.999))
    editor.edit([EDIT])
    found = route(editor, EDIT.query)
    assert found.ids == ("a",) and found.scores[0] == pytest.approx(1, abs=1e-5)


def test_the_cosine_is_the_weighted_mean_of_text_and_image(tiny_vlm):
    editor = Rag(tiny_vlm, RagOptions(threshold=-1, image_weight=0.25))
    editor.edit([EDIT])
    other = Query("Where is it?", ImageRef("noise:b", "b"))
    assert editor.book.text is not None and editor.book.image is not None
    words = editor.book.text.encode([EDIT.query.prompt, other.prompt])
    looks = editor.book.image.encode([PICTURE, ImageRef("noise:b", "b")])
    expected = 0.75 * words[0] @ words[1] + 0.25 * looks[0] @ looks[1]
    assert route(editor, other).scores[0] == pytest.approx(expected, abs=1e-5)


def test_a_text_only_query_is_compared_by_text_alone(tiny_vlm):
    editor = Rag(tiny_vlm, RagOptions(threshold=0.999))
    editor.edit([EDIT])
    assert route(editor, Query(EDIT.query.prompt)).ids == ("a",)
    assert not route(editor, Query(EDIT.query.prompt, ImageRef("noise:b", "b"))).in_scope


def test_the_routed_fact_is_stated_before_the_query(tiny_vlm):
    editor = Rag(tiny_vlm, RagOptions(threshold=0.999))
    editor.edit([EDIT])
    prompt = Prompt((PICTURE, "Update: Who made this bowl? The answer is Ann. Who made this bowl?"))
    with editor.applied([EDIT.query], [route(editor, EDIT.query)]) as answerer:
        got = answerer.score(["Ann"])[0]
    assert np.array_equal(got.logprobs, tiny_vlm.score([prompt], ["Ann"])[0].logprobs)


def test_at_most_k_facts_are_stated_best_first(tiny_vlm):
    editor = Rag(tiny_vlm, RagOptions(threshold=-1, k=2))
    for i, prompt in enumerate(["Who made this bowl?", "Who made this bowl then?", "Where?"]):
        editor.edit([Edit(str(i), Query(prompt), "Ann", "bowl")])
    found = route(editor, Query("Who made this bowl?"))
    assert len(found.ids) == 2 and found.ids[0] == "0" and found.scores[0] >= found.scores[1]


def test_a_superseding_edit_replaces_the_old_one(tiny_vlm):
    editor = Rag(tiny_vlm, RagOptions(threshold=0.9))
    editor.edit([EDIT])
    editor.edit([replace(EDIT, id="b", target="Bob", supersedes="a")])
    assert route(editor, EDIT.query).ids == ("b",) and editor.bank_len() == 1


def test_a_full_first_in_first_out_bank_forgets_the_oldest_edit(tiny_vlm):
    editor = Rag(tiny_vlm, RagOptions(threshold=0.999, capacity=2, eviction="fifo"))
    edits = [Edit(str(i), Query(prompt), "Ann", "bowl") for i, prompt in enumerate(["Who?", "Where is it?", "When?"])]
    for edit in edits:
        editor.edit([edit])
    assert [route(editor, e.query).ids for e in edits] == [(), ("1",), ("2",)]  # law 3: min(1, 2/3) go home
    editor.remove(["0"])
    assert editor.bank_len() == 2


def test_what_fit_found_gives_way_to_the_options(tiny_vlm):
    pool = load_stream("toy", edits=2, seed=0).pool(12, 0)
    free, fixed = Rag(tiny_vlm), Rag(tiny_vlm, RagOptions(image_weight=0.25, threshold=2.0 / 3))
    for editor in (free, fixed):
        editor.fit(pool)
    assert fixed.book.weight == 0.25 and free.book.weight in WEIGHTS
    twin = Rag(tiny_vlm)
    twin.load_fitted(free.fitted())
    assert (twin.book.weight, twin.thresholds) == (free.book.weight, free.thresholds)


def test_fit_refuses_more_strangers_than_it_lets_in(tiny_vlm):
    pool = load_stream("toy", edits=2, seed=0).pool(30, 0)
    editor = Rag(tiny_vlm)
    editor.fit(pool)
    for item in pool.items:
        editor.edit([item.edit])
    asked = [p for item in pool.items for p in item.probes if p.query.image is not None]
    fired = [bool(r.ids) for r in editor.route(editor.encode([p.query for p in asked]))]
    own = np.mean([f for f, p in zip(fired, asked, strict=True) if p.axis == "reliability"])
    strange = np.mean([f for f, p in zip(fired, asked, strict=True) if p.reference == "baseline"])
    assert own > 0.9 and strange < own
