"""GRACE's radius rule against fixed reference vectors, and the editor on a tiny random model."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from lifelong.editing.contract import CollapseError
from lifelong.editors.grace import Grace, GraceOptions
from lifelong.editors.grace.codebook import Codebook
from lifelong.models.vlm import VLM
from streams.stream import load_stream
from streams.types import Edit, ImageRef, Query

GOLDEN = Path(__file__).parents[3] / "shared" / "golden" / "grace"
CASES = ["scripted", "scripted_moving_average", "random", "single_label_then_split", "edge_exact_conflict"]
ACTIONS = {
    "first": "first",
    "new_far": "far",
    "new_conflict_split": "split",
    "expand": "expand",
    "inside_same_label_no_change": "inside",
}


def codebook(width: int = 2, moving_average: bool = False) -> Codebook:
    return Codebook(width, 1, radius=1.0, moving_average=moving_average)


def put(book: Codebook, edit_id: str, key, label: int) -> str:
    key = np.asarray(key, dtype=np.float32)
    return book.commit(edit_id, key, (label,), book.plan(key, (label,)), torch.zeros(1))


@pytest.mark.parametrize("name", CASES)
def test_keys_radii_and_decisions_equal_the_published_rule(name):
    if not GOLDEN.is_dir():
        pytest.skip(f"no reference vectors at {GOLDEN}")
    case = json.loads((GOLDEN / "case.json").read_text())["cases"][name]
    tensors = load_file(GOLDEN / "grace.safetensors")
    book = codebook(12, case["expand_mode"] == "moving_average")
    for i, step in enumerate(case["steps"]):
        key, label = tensors[f"{name}.edit_keys"][i], (step["label"],)
        plan = book.plan(key, label)
        assert plan.action == ACTIONS[step["action"]]
        book.commit(f"edit-{i}", key, label, plan, torch.zeros(1))
        assert np.allclose(book.radii(), tensors[f"{name}.step{i:02d}.radii"], atol=1e-5)
        rows = np.array([book.bank.row_of(entry) for entry in book.labels])
        assert np.allclose(book.bank.keys_of(rows), tensors[f"{name}.step{i:02d}.keys"], atol=1e-5)
        assert [label for (label,) in book.labels.values()] == step["labels"]
    entries = list(book.labels)
    used = [-1 if entry is None else entries.index(entry) for entry, _ in book.find(tensors[f"{name}.probes"])]
    assert used == case["probes"]["used_entry_or_minus1"]


def test_labels_with_equal_mean_token_are_different_labels():
    book = codebook()
    key = np.array([0, 0], dtype=np.float32)
    book.commit("a", key, (1, 3), book.plan(key, (1, 3)), torch.zeros(1))
    assert book.plan(np.array([0.5, 0], dtype=np.float32), (2, 2)).action == "split"


def test_one_entry_serves_edits_of_one_label_and_leaves_with_the_last():
    book = codebook()
    assert put(book, "a", [0, 0], 7) == put(book, "b", [0.5, 0], 7)
    book.remove("a")
    assert len(book) == 1 and book.find(np.zeros((1, 2), np.float32))[0][0] is not None
    book.remove("b")
    assert len(book) == 0 and book.find(np.zeros((1, 2), np.float32)) == [(None, math.inf)]


def test_a_codebook_goes_on_from_its_state():
    book, twin = codebook(), codebook()
    for edit_id, key, label in (("a", [0, 0], 1), ("b", [1.5, 0], 2), ("c", [9, 9], 1)):
        put(book, edit_id, key, label)
    book.remove("c")
    twin.load(book.state())
    assert put(twin, "d", [1.4, 0], 2) == put(book, "d", [1.4, 0], 2)
    assert twin.radii() == book.radii() and twin.members == book.members


def two_edits() -> list[Edit]:
    return [
        Edit("a", Query("Who made this bowl?", ImageRef("noise:a", "a")), "Ann", "bowl"),
        Edit("b", Query("Where is the long bridge?"), "Rome", "bridge"),
    ]


def answers(editor: Grace, queries: list[Query], targets: list[str]):
    routes = editor.route(editor.encode(queries))
    with editor.applied(queries, routes) as answerer:
        return answerer.generate(), answerer.score(targets), routes


def test_edits_are_routed_home_and_their_first_token_is_said(tiny_vlm):
    editor, edits = Grace(tiny_vlm), two_edits()
    editor.edit(edits[:1])
    editor.edit(edits[1:])
    said, _, routes = answers(editor, [e.query for e in edits], [e.target for e in edits])
    assert [text[0] for text in said] == ["A", "R"]  # one vector cannot write more through random layers
    assert [r.ids for r in routes] == [("a",), ("b",)] and editor.bank_len() == 2


def test_scoring_and_decoding_see_the_same_value(tiny_vlm):
    editor, edits = Grace(tiny_vlm), two_edits()
    editor.edit(edits[:1])
    routes = editor.route(editor.encode([edits[0].query]))
    with editor.applied([edits[0].query], routes) as answerer:
        text = answerer.generate(max_tokens=1)[0]
        assert tiny_vlm.tokenizer.decode(answerer.score(["Ann"])[0].argmax_ids[:1]) == text


def test_free_generation_says_at_least_95_percent_of_edits_on_the_shipped_model():
    editor = Grace(VLM.load("atlas"))
    edits = load_stream("atlas", edits=30, seed=5).edits
    right = 0
    for edit in edits:
        editor.edit([edit])
        right += answers(editor, [edit.query], [edit.target])[0] == [edit.target]
    assert right / len(edits) >= 0.95


def test_a_second_edit_with_the_label_and_key_of_the_first_shares_its_entry(tiny_vlm):
    editor, edit = Grace(tiny_vlm, GraceOptions(supersede="keep")), two_edits()[0]
    editor.edit([edit])
    editor.edit([replace(edit, id="twin")])
    (route,) = editor.route(editor.encode([edit.query]))
    assert route.ids == ("a", "twin") and route.group and editor.bank_len() == 1


def test_a_reedit_wins_and_defers_by_the_published_rule(tiny_vlm):
    edit = two_edits()[0]
    again = replace(edit, id="again", target="Bob")
    kept, replaced = Grace(tiny_vlm, GraceOptions(supersede="keep")), Grace(tiny_vlm)
    for editor in (kept, replaced):
        editor.edit([edit])
        editor.edit([again])
    assert not kept.route(kept.encode([edit.query]))[0].in_scope
    assert replaced.route(replaced.encode([edit.query]))[0].ids == ("again",)


def test_a_reedit_that_fails_leaves_the_older_answer(tiny_vlm, monkeypatch):
    editor, edit = Grace(tiny_vlm), two_edits()[0]
    editor.edit([edit])
    before = editor.state()

    def collapses(*_):
        raise CollapseError("no number")

    monkeypatch.setattr(editor, "_train", collapses)
    with pytest.raises(CollapseError):
        editor.edit([replace(edit, id="again", target="Bob")])
    assert editor.state().meta == before.meta
    assert editor.route(editor.encode([edit.query]))[0].ids == ("a",)


def test_a_non_finite_loss_names_the_edit_and_stores_nothing(tiny_vlm):
    editor = Grace(tiny_vlm, GraceOptions(learning_rate=3e37, stop_loss=0))
    with pytest.raises(CollapseError, match="edit a"):
        editor.edit(two_edits()[:1])
    assert editor.bank_len() == 0 and not editor.route(editor.encode([two_edits()[0].query]))[0].in_scope


def test_an_unknown_module_is_refused_with_near_names(tiny_vlm):
    with pytest.raises(ValueError, match="down_proj"):
        Grace(tiny_vlm, GraceOptions(module="mlp.down_prj"))
