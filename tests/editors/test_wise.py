"""WISE against fixed reference vectors (hinges, masks, TIES, routing), and the editor on a tiny random model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from lifelong.editing.contract import CollapseError
from lifelong.editing.ops import edit_generator
from lifelong.editors.wise import Wise, WiseOptions
from lifelong.editors.wise.memory import choose_memory, hinge, sequence_distance, subspace, ties, token_distances
from streams.stream import load_stream
from streams.types import Edit, ImageRef, Query

GOLDEN = Path(__file__).parents[3] / "shared" / "golden" / "wise"
ATOL = 2e-5


@pytest.fixture(scope="module")
def golden() -> tuple[dict, dict[str, Tensor]]:
    if not GOLDEN.is_dir():
        pytest.skip(f"no reference vectors at {GOLDEN}")
    return json.loads((GOLDEN / "case.json").read_text())["cases"], load_file(GOLDEN / "wise.safetensors")


def token_moves(original: Tensor, side: Tensor, activation) -> Tensor:
    return token_distances(side - original, original, activation)


def test_hinge_losses_equal_the_reference(golden):
    case, tensors = golden[0]["hinge"], golden[1]
    limits = case["alpha"], case["beta"], case["gamma"]
    for item in case["items"]:
        original, side = (tensors[f"hinge{item['case']}.{name}_output"] for name in ("original", "side"))
        for name, activation in (("act_silu", "silu"), ("act_identity", "none")):
            far = sequence_distance(token_moves(original, side, activation))
            assert torch.allclose(far, torch.tensor(item[name]["sequence_distances"]), atol=ATOL, rtol=2e-5)
            loss = hinge(far[:-1], far[-1:], *limits)
            assert float(loss) == pytest.approx(item[name]["loss"], abs=ATOL, rel=2e-5)
        if "masked_variant_silu" in item:
            tokens = token_moves(original, side, "silu")[:1]
            near, far = (sequence_distance(tokens, tensors[f"hinge{item['case']}.{m}_mask"]) for m in ("in", "out"))
            wanted = item["masked_variant_silu"]["loss"]
            assert float(hinge(near, far, *limits)) == pytest.approx(wanted, abs=ATOL, rel=2e-5)


def test_ties_merges_equal_the_reference(golden):
    weight, tensors = golden[1]["W"], golden[1]
    for item in golden[0]["merge"]["items"]:
        memories, n = tensors[f"merge{item['case']}.memories"], item["n"]
        merged = weight + ties([m - weight for m in memories], item["density"], [1 / n] * n)
        assert torch.allclose(merged, tensors[f"merge{item['case']}.expected"], atol=ATOL)


@pytest.mark.parametrize(("name", "activation"), [("routing_silu", "silu"), ("routing_identity", "none")])
def test_routing_equals_the_reference(golden, name, activation):
    case, tensors, weight = golden[0][name], golden[1], golden[1]["W"]
    mark = name.replace("routing", "route")
    memories = [tensors[f"{mark}.live"], *tensors[f"{mark}.frozen"]]
    limits = torch.tensor([case["min_distance_live"], *case["min_distance_frozen"]]) * case["act_ratio"]
    names = ["live", "frozen0", "frozen1", "frozen2", "main"]
    for item in case["items"]:
        states = tensors[f"{mark}.query{item['query']}.input"]
        outputs = [states @ m.T for m in (*memories, weight)]
        far = torch.stack([sequence_distance(token_moves(outputs[-1], o, activation)) for o in outputs[:-1]])
        assert torch.allclose(far, torch.tensor(item["distances_live_then_frozen"]), atol=ATOL, rtol=2e-5)
        chosen = int(choose_memory(far[None], limits)[0])
        assert names[chosen] == item["decision"]
        wanted = tensors.get(f"{mark}.query{item['query']}.output")
        assert wanted is None or torch.allclose(outputs[chosen], wanted, atol=ATOL)


def test_a_gradient_stays_in_its_subspace_and_a_change_in_its_bounds(golden):
    tensors = golden[1]
    assert torch.equal(tensors["gradmask.gradient"] * tensors["gradmask.mask"], tensors["gradmask.masked"])
    weight = tensors["W"]
    clamped = weight + (tensors["clamp.side"] - weight).clamp(-1, 1)
    assert torch.allclose(clamped, tensors["clamp.expected"], atol=ATOL)


def test_a_subspace_is_random_of_its_share_and_another_for_every_shard():
    one, two = (subspace(torch.Size((100, 100)), 0.2, edit_generator(0, f"subspace {i}")) for i in (1, 2))
    assert abs(float(one.mean()) - 0.2) < 0.02 and abs(float((one * two).mean()) - 0.04) < 0.02


WORDS = ("bowl", "bridge", "tree", "coat")
EDITS = [Edit(w, Query(f"Who made this {w}?", ImageRef(f"noise:{w}", w)), w[:3], w) for w in WORDS]
EASY: dict[str, Any] = {"learning_rate": 0.3, "stop_loss": 0.3, "layer": 0.25}


def wise(vlm, **options) -> Wise:
    editor = Wise(vlm, WiseOptions(**EASY | options))
    editor.fit(load_stream("toy", edits=2, seed=0).pool(6, 0))
    return editor


def nll(editor: Wise, edit: Edit) -> float:
    with editor.applied([edit.query], editor.route(editor.encode([edit.query]))) as answerer:
        return answerer.score([edit.target])[0].nll


def test_an_edit_is_learnt_inside_the_subspace_and_activates_its_memory(tiny_vlm):
    editor, edit = wise(tiny_vlm), EDITS[0]
    editor.edit([edit])
    assert editor.live is not None and editor.bank_len() == 1
    share = float((editor.live.change != 0).float().mean())
    assert 0.1 < share < 0.3
    assert editor.route(editor.encode([edit.query]))[0].ids == ("bowl",)
    assert nll(editor, edit) < tiny_vlm.score([edit.query], [edit.target])[0].nll / 2


def test_hinges_of_unrelated_questions_keep_them_on_the_main_weight(tiny_vlm):
    with_them, without = wise(tiny_vlm), wise(tiny_vlm)
    without.unrelated = []
    for editor in (with_them, without):
        editor.edit(EDITS[:1])
    keys = with_them.encode(with_them.unrelated)
    moves = [float(e._movement(keys, e.live.change).mean()) for e in (with_them, without) if e.live is not None]
    assert moves[0] < moves[1]


@pytest.mark.parametrize(("mode", "sizes"), [("merge", [4]), ("retrieve", [2, 2])])
def test_shards_freeze_and_merge_and_every_edit_stays_with_a_memory(tiny_vlm, mode, sizes):
    editor = wise(tiny_vlm, mode=mode, shard=1, merge=2, steps=10)
    seen = []
    for edit in EDITS:
        editor.edit([edit])
        seen.append([len(m.members) for m in editor.frozen])
        ids = {i for m in editor.frozen for i in m.members}
        assert ids == {e.id for e in EDITS[: EDITS.index(edit) + 1]} and editor.live is None
    assert seen[0] == [1] and seen[1] == [2] and seen[3] == sizes
    routes = editor.route(editor.encode([e.query for e in EDITS]))
    assert all(set(r.ids) <= set(WORDS) and (r.group or not r.ids) for r in routes)


def test_two_edits_of_one_subspace_crowd_each_other_less_than_two_of_one_element(tiny_vlm):
    roomy, narrow = wise(tiny_vlm, subspace=1.0), wise(tiny_vlm, subspace=0.005)
    for editor in (roomy, narrow):
        editor.edit(EDITS[:2])
    assert sum(nll(roomy, e) for e in EDITS[:2]) < sum(nll(narrow, e) for e in EDITS[:2])


def test_what_fit_keeps_are_unrelated_questions_and_they_can_be_carried_over(tiny_vlm):
    editor, twin = wise(tiny_vlm), Wise(tiny_vlm)
    twin.load_fitted(editor.fitted())
    assert twin.unrelated == editor.unrelated and len(twin.unrelated) > 3


def test_a_collapse_names_the_edit_and_keeps_the_memory(tiny_vlm):
    editor = wise(tiny_vlm)
    with pytest.raises(CollapseError, match="edit tree"):
        wild = Wise(tiny_vlm, WiseOptions(learning_rate=1e38, norm=1e38, stop_loss=0))
        wild.edit([EDITS[2]])
    editor.edit(EDITS[:1])
    with pytest.raises(ValueError, match="already"):
        editor.edit(EDITS[:1])
    assert editor.live is not None and editor.live.members == ("bowl",)
    assert np.isfinite(editor.live.least)
