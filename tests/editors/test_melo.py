"""MELO's clusters against fixed reference vectors, and the editor on a tiny random model."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from lifelong.editing.contract import CollapseError
from lifelong.editing.ops import residual
from lifelong.editors.melo import Melo, MeloOptions
from lifelong.editors.melo.clusters import Clusters
from streams.types import Edit, ImageRef, Query

GOLDEN = Path(__file__).parents[3] / "shared" / "golden" / "melo_clusters"
CASES = ["scripted_batch_of_one", "split_leaves_nobody", "batches"]
ACTIONS = {"first": "first_batch_new_cluster", "far": "new_far", "join": "join", "split": "new_conflict_split"}


@pytest.mark.parametrize("name", CASES)
def test_clusters_equal_the_published_rule(name):
    if not GOLDEN.is_dir():
        pytest.skip(f"no reference vectors at {GOLDEN}")
    case = json.loads((GOLDEN / "case.json").read_text())["cases"][name]
    tensors = load_file(GOLDEN / "melo.safetensors")
    clusters, forgotten = Clusters(10, 0.5), 0
    for batch, step in enumerate(case["steps"]):
        mark = f"{name}.batch{batch}"
        keys, before = tensors[f"{mark}.keys"], list(clusters.labels)
        ids = [f"{batch}-{i}" for i in range(len(keys))]
        placed = clusters.place(ids, keys, [(label,) for label in step["labels"]], batch)
        for one, wanted in zip(placed, step["actions"], strict=True):
            assert ACTIONS[one.action] == wanted["action"]
            assert one.near is None or before.index(one.near) == wanted["nearest"]
            assert wanted["distance"] is None or one.distance == pytest.approx(wanted["distance"], abs=1e-5)
        entries = list(clusters.labels)
        assert np.allclose(
            clusters.centres.keys_of(clusters.centres.rows_of(entries)), tensors[f"{mark}.centres"], atol=1e-5
        )
        assert np.allclose(clusters.centres.radii(), tensors[f"{mark}.radii"], atol=1e-5)
        members = [m for entry in entries for m in clusters.members[entry]]
        assert np.allclose(
            clusters.points.keys_of(clusters.points.rows_of(members)), tensors[f"{mark}.members"], atol=1e-5
        )
        blocks = [[-100 if b < 0 else b for b in clusters.block(clusters.members[entry])] for entry in entries]
        assert blocks == step["member_blocks"] and clusters.conflicts == step["conflicts"]
        forgotten += sum(len(one.forgotten) for one in placed)
        assert clusters.forgotten == forgotten == step["forgotten_so_far"]
    found = clusters.find(tensors[f"{name}.probes"])
    used = [-100 if member is None else clusters.block([member])[0] for member, _ in found]
    assert used == case["probes"]["block"]


def put(clusters: Clusters, edit_id: str, key, label: tuple[int, ...], block: int = 0) -> str:
    (placed,) = clusters.place([edit_id], np.asarray([key], dtype=np.float32), [label], block)
    return placed.action


def test_answers_with_equal_sums_of_tokens_are_different_answers():
    clusters = Clusters(2, 0.5)
    put(clusters, "a", [0, 0], (1, 3))
    assert put(clusters, "b", [0.4, 0], (2, 2)) == "split"


def test_a_conflict_forgets_the_members_that_lie_outside_afterwards():
    clusters = Clusters(2, 0.5)
    put(clusters, "a", [0, 0], (1,))
    assert put(clusters, "b", [0.8, 0], (1,), 1) == "join"  # the centre moves to 0.4
    assert put(clusters, "c", [0.4, 0.6], (2,), 2) == "split"  # 0.6 away: the radius falls to 0.3
    assert "a" not in clusters and "b" not in clusters and clusters.forgotten == 2
    assert clusters.find(np.array([[0.4, 0]], np.float32))[0][0] is None


def test_clusters_go_on_from_their_state():
    clusters, twin = Clusters(2, 0.5), Clusters(2, 0.5)
    for i, (key, label) in enumerate([([0, 0], 1), ([0.8, 0], 1), ([0.4, 0.6], 2), ([9, 9], 3)]):
        put(clusters, f"edit-{i}", key, (label,), i)
    clusters.remove("edit-3")
    twin.load(clusters.state())
    assert put(twin, "d", [0.5, 0], (1,)) == put(clusters, "d", [0.5, 0], (1,)) == "join"
    assert twin.centres.radii() == clusters.centres.radii() and twin.members == clusters.members


def test_a_block_adds_up_down_x_to_every_token():
    x, down, up = torch.randn(1, 3, 5), torch.randn(1, 1, 2, 5), torch.randn(1, 1, 4, 2)
    added = residual(x, down, up, torch.ones(1, 1), lambda inner: inner)
    assert torch.allclose(added, x @ down[0, 0].T @ up[0, 0].T, atol=1e-6)


def edits() -> list[Edit]:
    return [
        Edit("a", Query("Who made this bowl?", ImageRef("noise:a", "a")), "Ann", "bowl"),
        Edit("b", Query("Where is the long bridge?"), "Rome", "bridge"),
        Edit("c", Query("Which tree is it?", ImageRef("noise:c", "c")), "oak", "tree"),
    ]


def nll(editor: Melo, edit: Edit) -> float:
    with editor.applied([edit.query], editor.route(editor.encode([edit.query]))) as answerer:
        return answerer.score([edit.target])[0].nll


def base(edit: Edit, vlm) -> float:
    return vlm.score([edit.query], [edit.target])[0].nll


def test_a_batch_shares_one_block_and_each_edit_is_routed_home_and_learnt(tiny_vlm):
    editor, batch = Melo(tiny_vlm, MeloOptions(turn=2, key_layer=0.25)), edits()
    editor.edit(batch[:2])
    editor.edit(batch[2:])
    assert len(editor.blocks) == 2 and editor.bank_len() == 3
    routes = editor.route(editor.encode([e.query for e in batch]))
    assert [r.ids for r in routes] == [("a",), ("b",), ("c",)]
    assert all(nll(editor, e) < base(e, tiny_vlm) / 2 for e in batch)


def test_a_block_goes_when_its_last_edit_is_taken_back(tiny_vlm):
    editor, batch = Melo(tiny_vlm, MeloOptions(steps=2)), edits()
    editor.edit(batch)
    editor.remove(["a", "b", "never"])
    assert len(editor.blocks) == 1
    editor.remove(["c"])
    assert len(editor.blocks) == 0 and editor.nbytes() == 0


def test_a_reedit_wins_and_hides_both_by_the_published_rule(tiny_vlm):
    edit = edits()[0]
    again = replace(edit, id="again", target="Bob")
    kept, replaced = Melo(tiny_vlm, MeloOptions(steps=2, supersede="keep")), Melo(tiny_vlm, MeloOptions(steps=2))
    for editor in (kept, replaced):
        editor.edit([edit])
        editor.edit([again])
    assert not kept.route(kept.encode([edit.query]))[0].in_scope
    assert replaced.route(replaced.encode([edit.query]))[0].ids == ("again",)


def test_of_two_edits_of_one_question_in_a_batch_the_later_one_is_learnt(tiny_vlm):
    editor, edit = Melo(tiny_vlm, MeloOptions(steps=2)), edits()[0]
    editor.edit([edit, replace(edit, id="again", target="Bob")])
    assert editor.route(editor.encode([edit.query]))[0].ids == ("again",) and not editor.holds("a")


def test_a_collapse_names_the_edits_and_stores_nothing(tiny_vlm):
    editor = Melo(tiny_vlm, MeloOptions(learning_rate=3e37))
    with pytest.raises(CollapseError, match="edits a, b"):
        editor.edit(edits()[:2])
    assert editor.bank_len() == 0 and editor.nbytes() == 0
