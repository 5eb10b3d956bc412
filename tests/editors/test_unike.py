"""UniKE's latent memory, directions and neurons against reference vectors, and the editor on a tiny random model."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from lifelong.editing.contract import CollapseError
from lifelong.editing.patches.neurons import Neurons, Patches, patched
from lifelong.editors.unike import Unike, UnikeOptions, encoders, spaces
from lifelong.editors.unike.encoders import Encoder
from lifelong.editors.unike.latent import LatentMemory, attend, mix, relevance, zeta
from lifelong.running.config import recipe_names
from lifelong.studies.sweep import cells
from streams.stream import load_stream
from streams.types import Edit, ImageRef, Prompt, Query

GOLDEN = Path(__file__).parents[3] / "shared" / "golden" / "unike"
EDIT = Edit("a", Query("Who made this bowl?", ImageRef("noise:a", "a")), "Ann", "bowl")
OTHER = Edit("b", Query("Where is the long bridge?"), "Rome", "bridge")
SMALL = {
    "steps": 60,
    "check_every": 5,
    "fit_steps": 200,
    "fit_batch": 24,
    "fit_rate": 1e-3,
    "inner": 64,
    "silent": 200,
}


@pytest.fixture(scope="module")
def golden() -> tuple[list[dict], dict[str, torch.Tensor], dict]:
    if not GOLDEN.is_dir():
        pytest.skip(f"no reference vectors at {GOLDEN}")
    case = json.loads((GOLDEN / "case.json").read_text())
    return case["cases"]["latent_ike"], load_file(GOLDEN / "unike.safetensors"), case["hyper"]


def encoder(tensors: dict[str, torch.Tensor], name: str) -> Encoder:
    out = Encoder(16, 32).requires_grad_(False)
    names = {"inner.weight": "W1", "inner.bias": "b1", "outer.weight": "W2", "outer.bias": "b2"}
    out.load_state_dict({ours: tensors[f"{name}.{theirs}"] for ours, theirs in names.items()})
    return out


@pytest.mark.parametrize("number", range(4))
def test_what_a_query_reads_equals_the_reference(golden, number):
    cases, t, hyper = golden
    memory = LatentMemory(16, 32)
    memory.learn(t["memory.h_sem"], t["memory.h_pos"])
    memory.semantic = encoder(t, "enc_sem")
    x = t[f"query{number}.x"]
    picked = memory.pick(x[-1:], hyper["top_k"])
    assert picked[0].tolist() == cases[number]["picked"]
    known = attend(x[None], *memory.read(picked))
    alpha = memory.alpha(x[-1:], picked)
    assert torch.allclose(known[0], t[f"query{number}.h_know"], atol=1e-5)
    assert float(alpha) == pytest.approx(cases[number]["alpha"], abs=1e-5)
    assert torch.allclose(mix(x[None], known, alpha)[0], t[f"query{number}.mix_A"], atol=1e-5)
    # Eq. 7 as printed is ours with the two shares exchanged.
    assert torch.allclose(mix(x[None], known, 1 - alpha)[0], t[f"query{number}.mix_B"], atol=1e-5)


def test_zeta_and_the_patched_output_equal_the_reference(golden):
    _, t, hyper = golden
    direction = zeta(encoder(t, "enc_tru"), t["memory.h_pos"], t["memory.h_neg"])
    assert torch.allclose(direction, t["zeta"], atol=1e-5)
    new = Neurons(
        torch.ones(4, 16), 16, activation="relu", scale=2.0, rng=torch.Generator(), direction=direction,
        beta=hyper["beta"],
    )  # fmt: skip
    with torch.no_grad():
        new.keys.copy_(t["patch.K"])
        new.bias.copy_(t["patch.b_K"])
        new.raw.copy_(t["patch.V"] / 2)
        assert new.turned is not None
        new.turned.copy_(t["W_zeta"])
    q, out = t["patch.q"], t["patch.out"]
    assert torch.allclose(t["patch.ffn_out"] + new.added(q), out, atol=1e-5)
    frozen = Patches(16, 16)
    frozen.add("a", new.rows(torch.zeros(4, 16)))
    assert torch.allclose(t["patch.ffn_out"] + frozen.added(q), out, atol=1e-5)


def test_edits_and_pool_are_one_memory():
    memory = LatentMemory(3, 4)
    assert memory.pick(torch.eye(3), 2).tolist() == [[-1, -1]] * 3
    memory.learn(torch.eye(3)[:2], torch.eye(3)[:2] * 5)
    memory.add("gone", torch.ones(3), torch.ones(3))
    memory.add("mine", torch.tensor([0.0, 0.0, 2.0]), torch.full((3,), 7.0))
    memory.edits.remove(["gone"])
    picked = memory.pick(torch.tensor([[0.1, 0.2, 1.0]]), 4)
    known, there = memory.read(picked)
    assert known[0, :, 0].tolist() == [7.0, 0.0, 5.0, 0.0] and there.tolist() == [[True, True, True, False]]


def test_the_semantic_loss_wants_own_answers_and_the_truthful_loss_like_truths():
    eye = torch.eye(4)
    assert encoders.semantic_loss(eye, eye, eye, 0.1) < 1e-3 < encoders.semantic_loss(eye, eye.roll(1, 0), eye, 0.1)
    # Two of each kind at one point: of three others the like one attracts, -log softmax.
    like = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    expected = float(-torch.log(torch.tensor(1 / (1 + 2 * np.exp(-2)))))
    assert float(encoders.truthful_loss(like, -like, 1.0)) == pytest.approx(expected, abs=1e-6)


def test_relevance_is_the_cosine_with_the_encoded_reading():
    same = Encoder(2, 2)
    with torch.no_grad():
        for layer in (same.inner, same.outer):
            layer.weight.copy_(torch.eye(2))
            layer.bias.zero_()
        found = relevance(same, torch.tensor([[3.0, 4.0]]), torch.tensor([[1.0, 0.0]]))
    assert float(found) == pytest.approx(0.6)


def options(**changes: object) -> UnikeOptions:
    return UnikeOptions.model_validate({**SMALL, **changes})


@pytest.fixture(scope="module")
def fitted(tiny_vlm):
    """What fit learns on the tiny model, once for all ablations: none of their options changes it."""
    editor = Unike(tiny_vlm, options())
    editor.fit(load_stream("toy", edits=6, seed=0).pool(24, 0))
    return editor.fitted()


def make(vlm, fitted, **changes: object) -> Unike:
    editor = Unike(vlm, options(**changes))
    editor.load_fitted(fitted)
    return editor


def nll(editor: Unike, edit: Edit) -> float:
    with editor.applied([edit.query], editor.route(editor.encode([edit.query]))) as answerer:
        return answerer.score([edit.target])[0].nll


def test_an_edit_is_learnt_with_what_it_reads_and_ten_neurons_a_layer(tiny_vlm, fitted):
    editor = make(tiny_vlm, fitted)
    before = nll(editor, EDIT)
    editor.edit([EDIT])
    assert nll(editor, EDIT) < before / 3 and editor.bank_len() == 1
    assert [len(site.patches) for site in editor.sites] == [10, 10, 10]  # of four layers, the first is left alone
    assert all(memory.edits.ids() == ["a"] for memory in editor.memories)


def test_later_edits_are_silent_on_states_as_they_are_in_use(tiny_vlm, fitted):
    """What is kept of an edit is what its neurons meet afterwards, with those of the layers below at work."""
    editor = make(tiny_vlm, fitted, external="none")
    editor.edit([EDIT])
    ids = tiny_vlm.target_ids(EDIT.target)
    hidden = tiny_vlm.hidden([EDIT.query], editor.from_layer, [EDIT.target])
    at = torch.arange(len(ids)) + len(hidden.states[0]) - len(ids) - 1
    met = {}
    with patched(tiny_vlm, editor.sites), ExitStack() as stack:
        for i, site in enumerate(editor.sites):
            stack.enter_context(
                tiny_vlm.hook(site.module, lambda _, args, out, layout, i=i: met.update({i: args[0][0]}))
            )
        tiny_vlm.resume(hidden)
    assert len(editor.sites) > 1
    for i, site in enumerate(editor.sites):
        kept = site.patches.table("states")
        expected = met[i][at].float()[torch.arange(len(kept)) % len(ids)]
        assert torch.allclose(kept, expected, atol=1e-4), i


def test_the_parts_can_be_had_alone(tiny_vlm, fitted):
    intrinsic, external = make(tiny_vlm, fitted, external="none"), make(tiny_vlm, fitted, intrinsic=False)
    before = nll(intrinsic, EDIT)
    for editor in (intrinsic, external):
        editor.edit([EDIT])
    assert nll(intrinsic, EDIT) < before / 3 and not any(len(m.edits) for m in intrinsic.memories)
    assert not any(len(site.patches) for site in external.sites) and nll(external, EDIT) != before
    with pytest.raises(ValueError, match="external"):
        options(intrinsic=False, external="none")


def test_alpha_decides_how_much_is_read(tiny_vlm, fitted):
    moved = []
    for alpha in (0.0, 0.1, 0.5):
        editor = make(tiny_vlm, fitted, intrinsic=False, alpha=alpha)
        before = nll(editor, OTHER)
        editor.edit([EDIT])
        moved.append(abs(nll(editor, OTHER) - before))
    assert moved[0] == 0 < 1e-5 < min(moved[1:]) and moved[1] != moved[2]
    dynamic = make(tiny_vlm, fitted).reader.read([EDIT.query, OTHER.query])
    assert all(bool((r.alpha >= 0).all()) and bool((r.alpha <= 1).all()) for r in dynamic)


def test_in_context_states_the_nearest_facts_before_the_question(tiny_vlm, fitted):
    editor = make(tiny_vlm, fitted, intrinsic=False, external="in-context", demonstrations=2)
    editor.edit([EDIT])
    (prompt,) = editor._asked([EDIT.query])
    assert isinstance(prompt, Prompt)
    assert prompt.text.endswith("Update: Who made this bowl? The answer is Ann. Who made this bowl?")
    assert prompt.text.count("Update:") == 2 and len(prompt.images) == 1
    with editor.applied([EDIT.query], editor.route(editor.encode([EDIT.query]))) as answerer:
        assert answerer.score(["Ann"])[0].nll == pytest.approx(tiny_vlm.score([prompt], ["Ann"])[0].nll, abs=1e-4)


def test_zeta_turns_the_values_and_its_kinds_differ(tiny_vlm, fitted):
    kinds = {kind: make(tiny_vlm, fitted, zeta=kind)._directions() for kind in ("truthful", "semantic", "random")}
    assert make(tiny_vlm, fitted, zeta="none")._directions() == [None] * 3
    lengths = [[float(d.norm()) for d in kinds[kind] if d is not None] for kind in ("truthful", "random")]
    assert lengths[0] == pytest.approx(lengths[1], rel=1e-5)
    values = []
    for kind in kinds:
        editor = make(tiny_vlm, fitted, zeta=kind, steps=1, beta=1.0)
        editor.edit([EDIT])
        values.append(editor.sites[-1].patches.table("values"))
    assert not torch.allclose(values[0], values[1], atol=1e-2)
    assert not torch.allclose(values[0], values[2], atol=1e-2)


def test_trained_encoders_tell_truth_and_meaning_apart_better_than_untrained(tiny_vlm, fitted):
    pool = load_stream("toy", edits=6, seed=0).pool(24, 0)
    trained, raw = make(tiny_vlm, fitted), Unike(tiny_vlm, options())
    after, before = (
        spaces.spaces(e.vlm, e.layers[0], e.memories[0], pool, items=60, method="pca") for e in (trained, raw)
    )
    assert after[1].separation[1] > before[1].separation[1]  # truthfulness
    assert after[0].separation[1] > before[0].separation[1]  # semantics


def test_tsne_keeps_clusters_together_and_both_pictures_are_finite(tiny_vlm, fitted):
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), 20)
    points = 5 * np.eye(10)[labels] + rng.normal(0, 0.3, (60, 10))
    flat = spaces.tsne(points, steps=250)
    assert flat.shape == (60, 2) and spaces.nearest_alike(flat, labels) == 1.0
    editor, pool = make(tiny_vlm, fitted), load_stream("toy", edits=6, seed=0).pool(8, 1)
    found = spaces.spaces(editor.vlm, editor.layers[-1], editor.memories[-1], pool, items=10)
    assert [s.name for s in found] == ["semantic", "truthful"]
    assert all(np.isfinite(s.before).all() and len(s.after) == len(s.kinds) == len(s.numbers) for s in found)


def test_a_neighbourhood_has_the_perplexity_asked_for():
    points = np.random.default_rng(0).normal(size=(50, 4))
    distances = spaces.distances_within(points)
    brute = ((points[:, None] - points[None]) ** 2).sum(-1)
    assert np.allclose(distances, brute, atol=1e-9)
    joint = spaces.neighbourhoods(distances, 10.0)
    assert joint.sum() == pytest.approx(1.0, abs=1e-6) and np.allclose(joint, joint.T)


def test_a_collapse_leaves_nothing_behind(tiny_vlm, fitted):
    editor = make(tiny_vlm, fitted, learning_rate=3e37)
    with pytest.raises(CollapseError, match="edit a"):
        editor.edit([EDIT])
    assert editor.bank_len() == 0 and editor.nbytes() == 0 and editor.revision == 0


def test_ablations_share_one_fit():
    same = [options(), options(zeta="none", external="in-context"), options(states=8, alpha=0.3)]
    learnt = [Unike.fit_options(o) for o in same]
    assert learnt[0] == learnt[1] == learnt[2] != {}


def test_the_ablation_recipe_runs_every_published_row():
    assert "unike-ablation" in recipe_names()
    found = [UnikeOptions.model_validate(c.config.editor.options) for c in cells("unike-ablation")]
    assert all(c.config.editor.name == "unike" for c in cells("unike-ablation"))
    assert {(o.intrinsic, o.external) for o in found} == {
        (True, "latent"), (True, "none"), (False, "latent"), (True, "in-context"), (False, "in-context")
    }  # fmt: skip
    assert {o.zeta for o in found} == {"none", "random", "semantic", "truthful"}
    assert len({o.states for o in found}) >= 4 and len({o.alpha for o in found}) >= 3
