"""LEMoE: the paper's formulas on small tensors, routing by anchors, short batches, and how gates dilute."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from lifelong.editing.contract import Keys
from lifelong.editing.ops import residual
from lifelong.editors.lemoe import Lemoe, LemoeOptions
from lifelong.editors.lemoe.gating import clustered, gates, whitening
from streams.stream import load_stream
from streams.types import Edit, ImageRef, Query

WORDS = ("bowl", "bridge", "tree", "coat", "lamp", "ship")


def edits(start: int = 0, stop: int = 6) -> list[Edit]:
    return [Edit(w, Query(f"Who made this {w}?", ImageRef(f"noise:{w}", w)), w[::-1], w) for w in WORDS[start:stop]]


def nll(editor: Lemoe, edit: Edit) -> float:
    with editor.applied([edit.query], editor.route(editor.encode([edit.query]))) as answerer:
        return answerer.score([edit.target])[0].nll


def base(vlm, edit: Edit) -> float:
    return vlm.score([edit.query], [edit.target])[0].nll


def test_gates_are_a_softmax_over_all_anchors_cut_to_the_top_k():
    best, share = gates(torch.tensor([[1.0, 3.0, 2.0]]), 2)
    assert best.tolist() == [[1, 2]]
    assert torch.allclose(share, torch.tensor([[1.0, 3.0, 2.0]]).softmax(-1)[:, [1, 2]])


def test_the_mixture_is_the_weighted_sum_of_its_experts():
    x, down, up = torch.randn(1, 3, 5), torch.randn(1, 2, 4, 5), torch.randn(1, 2, 6, 4)
    weights = torch.tensor([[0.7, 0.2]])
    one_by_one = sum(w * F.silu(x @ d.T) @ u.T for w, d, u in zip(weights[0], down[0], up[0], strict=True))
    assert torch.allclose(residual(x, down, up, weights, F.silu), torch.as_tensor(one_by_one), atol=1e-5)


def test_the_value_is_the_projection_of_the_mean_input_embedding(tiny_vlm):
    editor, query = Lemoe(tiny_vlm, LemoeOptions(route_width=8)), Query("Where?")
    mean = tiny_vlm.hidden([query], 0).states[0].mean(0)
    mean = mean / mean.square().mean().sqrt()
    value = F.normalize(editor.up @ F.silu(editor.down @ mean), dim=0)
    assert np.allclose(editor.encode([query])["value"][0], value.numpy(), atol=1e-5)


def test_whitened_inputs_are_uncorrelated_and_of_equal_variance():
    inputs = torch.randn(400, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([5.0, 1.0, 0.5]) + 7
    inputs[:, 2] += inputs[:, 0]
    mean, white = whitening(inputs, shrink=1e-6)
    assert torch.allclose(torch.cov(white @ (inputs - mean).T), torch.eye(3), atol=1e-2)


def test_a_fitted_whitening_tells_questions_apart_better_than_none(tiny_vlm):
    plain, fitted = Lemoe(tiny_vlm), Lemoe(tiny_vlm)
    fitted.fit(load_stream("toy", edits=2, seed=0).pool(24, 0))
    queries = [e.query for e in load_stream("toy", edits=12, seed=0).edits]
    alike = []
    for editor in (plain, fitted):
        values = editor.encode(queries)["value"]
        alike.append(float((values @ values.T)[np.triu_indices(len(values), 1)].mean()))
    assert alike[1] < alike[0] - 0.2


def test_clustering_puts_like_with_like_and_no_group_overflows():
    values = np.array([[0, 0], [9, 9], [0, 1], [9, 8], [1, 0], [8, 9]], np.float32)
    assert sorted(clustered(values, 3, seed=1)) == [[0, 2, 4], [1, 3, 5]]
    groups = clustered(np.random.default_rng(0).normal(size=(23, 4)), 5, seed=0)
    assert sorted(i for g in groups for i in g) == list(range(23)) and max(map(len, groups)) <= 5


def test_a_batch_is_learnt_and_its_expert_serves_all_its_edits(tiny_vlm):
    editor, batch = Lemoe(tiny_vlm, LemoeOptions(learning_rate=2e-2, stop_loss=0.3)), edits(0, 3)
    editor.edit(batch)
    (route,) = editor.route(editor.encode([batch[1].query]))
    assert set(route.ids) == {"bowl", "bridge", "tree"} and route.group and editor.bank_len() == 1
    assert all(nll(editor, e) < base(tiny_vlm, e) / 2 for e in batch)


def test_a_batch_short_of_edits_is_served_at_once(tiny_vlm):
    editor = Lemoe(tiny_vlm, LemoeOptions(per_expert=2, learning_rate=2e-2, stop_loss=0.3))
    for low in (0, 2):
        editor.edit(edits(low, min(low + 2, 3)))
        assert all(r.in_scope for r in editor.route(editor.encode([e.query for e in edits(0, 3)])))
    assert editor.bank_len() == 2 and nll(editor, edits()[2]) < base(tiny_vlm, edits()[2]) / 2


def test_a_window_orders_its_edits_by_clusters_and_trains_one_expert_each(tiny_vlm):
    editor = Lemoe(tiny_vlm, LemoeOptions(per_expert=3, window=2, steps=1))
    assert editor.turn == 6
    editor.edit(edits())
    values = editor.encode([e.query for e in edits()])["value"]
    groups = clustered(values, 3, seed=0)
    assert list(editor.members.values()) == [tuple(WORDS[i] for i in g) for g in groups]


def test_anchors_route_edits_home_and_their_gates_shrink_with_every_expert(tiny_vlm):
    editor, queries = (
        Lemoe(tiny_vlm, LemoeOptions(per_expert=1, steps=20, stop_loss=0, temperature=0.3)),
        [e.query for e in edits()],
    )
    first = []
    for edit in edits():
        editor.edit([edit])
        first.append(editor.route(editor.encode(queries[:1]))[0].weights[0])
    home = [r.ids == (e.id,) for r, e in zip(editor.route(editor.encode(queries)), edits(), strict=True)]
    assert sum(home) >= 4 and first[0] == pytest.approx(1) and first[-1] < first[0]


def test_two_experts_are_applied_together(tiny_vlm):
    editor = Lemoe(tiny_vlm, LemoeOptions(per_expert=1, top_k=2, steps=5, temperature=0.3))
    for edit in edits(0, 3):
        editor.edit([edit])
    (route,) = editor.route(editor.encode([edits()[0].query]))
    assert len(route.ids) == 2 and sum(route.weights) < 1
    assert nll(editor, edits()[0]) != pytest.approx(base(tiny_vlm, edits()[0]), abs=1e-4)


def test_raw_inner_products_may_prefer_a_long_anchor_to_a_near_one(tiny_vlm):
    raw, unit = (Lemoe(tiny_vlm, LemoeOptions(route_width=2, unit=u)) for u in (False, True))
    for editor in (raw, unit):
        for name, anchor in (("near", [1.0, 0.0]), ("long", [3.0, 3.0])):
            key = editor._sized(torch.tensor([anchor])).numpy()
            editor.bank.add([name], key, {"down": torch.zeros(1, 1, 1), "up": torch.zeros(1, 1, 1)})
            editor.members[name] = (name,)
    query = Keys({"value": np.array([[1.0, 0.0]], np.float32)})
    assert raw.route(query)[0].ids == ("long",) and unit.route(query)[0].ids == ("near",)


def test_a_reedit_replaces_an_expert_that_serves_no_other_edit(tiny_vlm):
    first = Edit("a", Query("Who?"), "Ann", "s")
    again, other = replace(first, id="b", target="Bob"), Edit("c", Query("Where?"), "Rome", "s")
    alone, editor = (Lemoe(tiny_vlm, LemoeOptions(steps=3)) for _ in range(2))
    alone.edit([again])
    editor.edit([first])
    editor.edit([again])
    routes = editor.route(editor.encode([first.query]))
    assert routes == alone.route(alone.encode([first.query])) and not editor.holds("a")
    editor.edit([replace(first, id="d"), other])
    editor.edit([replace(first, id="e", target="Bob")])
    assert editor.holds("d") and editor.bank_len() == 2  # its expert still serves another edit
