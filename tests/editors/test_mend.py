"""MEND's transform against fixed reference vectors, its gradients against autograd, the editor on a tiny model."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from lifelong.editing.contract import CollapseError
from lifelong.editing.weights.gradient_transform import GradientTransform, RunningMoments
from lifelong.editing.weights.hypernet import Factors, gradient_factors, lessons_of, losses_of
from lifelong.editors.mend import Mend, MendOptions
from lifelong.log.checkpoint import State
from streams.stream import load_stream
from streams.types import Edit, ImageRef, Query

GOLDEN = Path(__file__).parents[3] / "shared" / "golden" / "mend"
EDIT = Edit("a", Query("Who made this bowl?", ImageRef("noise:a", "a")), "Ann", "bowl")
OTHER = Edit("b", Query("Where is the long bridge?"), "Rome", "bridge")


def golden_network(tensors: dict[str, torch.Tensor], name: str, hyper: dict) -> GradientTransform:
    sizes = {"rank": hyper["rank"], "modes": hyper["modes"], "layers": hyper["layers"]}
    network = GradientTransform(hyper["d_in"], hyper["d_out"], rate=0.0, **sizes)
    with torch.no_grad():
        network.rate.copy_(tensors[f"{name}.lr"])
        for i, layer in enumerate(network.layers):
            for mine, theirs in (("up", "A"), ("down", "B"), ("bias", "b"), ("scale", "scale"), ("shift", "shift")):
                getattr(layer, mine).copy_(tensors[f"{name}.layer{i}.{theirs}"])
    return network


@pytest.mark.parametrize("name", ["identity_init", "trained_like"])
def test_transformed_gradients_and_weights_equal_the_published_code(name):
    if not GOLDEN.is_dir():
        pytest.skip(f"no reference vectors at {GOLDEN}")
    case, tensors = json.loads((GOLDEN / "case.json").read_text()), load_file(GOLDEN / "mend.safetensors")
    network, close = golden_network(tensors, name, case["hyper"]), case["tolerance"]
    weight = tensors[f"{name}.W0"]
    for step in case["cases"][name]:
        of = f"{name}.edit{step['edit']}"
        u, delta = tensors[f"{of}.u"], tensors[f"{of}.delta"]
        kept = (u != 0).any(-1) & (delta != 0).any(-1)
        network.train(step["statistics_updated"])
        with torch.no_grad():
            new_u, new_delta = network(u[kept], delta[kept], step["mode"])
            change = Factors(new_delta[None], new_u[None], torch.ones(1, len(new_u), dtype=torch.bool)).dense()
            weight = weight + network.rate[step["mode"]] * change
        moments = {"mean_u": network.inputs.mean, "std_u": network.inputs.std()}
        moments |= {"mean_delta": network.gradients.mean, "std_delta": network.gradients.std()}
        found = {"u_tilde": new_u, "delta_tilde": new_delta, "pseudo_gradient": change, "W_after": weight, **moments}
        for what, value in found.items():
            torch.testing.assert_close(value, tensors[f"{of}.{what}"], atol=close["abs"], rtol=close["rel"])
        assert network.inputs.count == step["count_k"] and int(kept.sum()) == step["kept_tokens"]


def test_moments_do_not_care_how_tokens_are_grouped():
    tokens, whole, parts = torch.randn(20, 3) * 5 + 2, RunningMoments(3), RunningMoments(3)
    whole.see(tokens)
    for group in tokens.split([1, 7, 12]):
        parts.see(group)
    torch.testing.assert_close(parts.mean, whole.mean)
    torch.testing.assert_close(parts.std(), tokens.std(0))


def test_a_fresh_transform_is_the_identity_and_can_learn():
    network = GradientTransform(4, 3, rank=2, modes=2, rate=-1e-4)
    u, delta = torch.randn(5, 4), torch.randn(5, 3)
    out = network.eval()(u, delta, 1)
    assert torch.equal(out[0], u) and torch.equal(out[1], delta)
    (out[0].sum() + out[1].sum()).backward()
    gradient = network.get_parameter("layers.0.up").grad
    assert gradient is not None and int(torch.count_nonzero(gradient)) > 0


@pytest.mark.parametrize("module", ["language", "vision"])
def test_outer_products_add_up_to_the_gradient(tiny_vlm, module):
    editor = Mend(tiny_vlm, MendOptions(module=module, first_layer=0.5))
    questions = editor.region.questions([EDIT.query], [EDIT.target])
    found, _ = gradient_factors(editor.region, questions, "test")
    weights = {n: w.clone().requires_grad_() for n, w in editor.weights.base.items()}
    with tiny_vlm.swap(weights):
        questions.losses().sum().backward()
    assert len(found) == (4 if module == "language" else 2)
    for name, factors in found.items():
        torch.testing.assert_close(factors.dense(), weights[editor.parameters[name]].grad, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("module", ["language", "vision"])
def test_rows_of_a_training_batch_meet_their_own_weights(tiny_vlm, module):
    editor = Mend(tiny_vlm, MendOptions(module=module, rate=3e-3))
    lessons = lessons_of(load_stream("toy", edits=2).pool(8, 0), editor.region, "test")[:3]
    asked = [(x.edit.query, x.edit.target) for x in lessons]
    found, _ = gradient_factors(editor.region, editor.region.questions(*zip(*asked, strict=True)), "test")
    with torch.no_grad():
        change = editor.transforms.changes(found)
        together = losses_of(editor.region, change, lessons, np.random.default_rng(0))
        rng, alone = np.random.default_rng(0), []
        for i, lesson in enumerate(lessons):
            dense = {editor.parameters[n]: f.take([i]).dense() for n, f in change.items()}
            none = {n: f.take([i]) for n, f in change.items()}
            none = {n: Factors(f.left * 0, f.right, f.kept) for n, f in none.items()}
            with tiny_vlm.swap({n: w + dense[n] for n, w in editor.weights.base.items()}):
                alone.append(losses_of(editor.region, none, [lesson], rng))
    counts = [("text" in x.same, "image" in x.same) for x in lessons]
    for side, place in (("text", 0), ("image", 1)):
        values = [a.same[side] for a, c in zip(alone, counts, strict=True) if c[place]]
        torch.testing.assert_close(together.same[side], torch.stack(values).mean(), atol=1e-4, rtol=1e-4)


def nll(editor: Mend, edits: list[Edit]) -> list[float]:
    queries = [e.query for e in edits]
    with editor.applied(queries, editor.route(editor.encode(queries))) as answerer:
        return [s.nll for s in answerer.score([e.target for e in edits])]


SHORT = MendOptions(steps=60, batch=8, first_layer=0.5, learning_rate=1e-3, rate_learning_rate=1e-3)


@pytest.fixture(scope="module")
def learnt(tiny_vlm) -> State:
    """What a short fit gives."""
    editor = Mend(tiny_vlm, SHORT)
    editor.fit(load_stream("toy", edits=8, seed=1).pool(64, 0))
    return editor.fitted()


def test_training_beats_the_untrained_transform(tiny_vlm, learnt):
    stream, options = load_stream("toy", edits=8, seed=1), SHORT
    trained, fresh = Mend(tiny_vlm, options), Mend(tiny_vlm, options)
    trained.load_fitted(learnt)
    gains = []
    for edit in stream.edits:
        (base,) = nll(Mend(tiny_vlm, options), [edit])
        for editor in (trained, fresh):
            start = editor.state()
            editor.edit([edit])
            gains.append(base - nll(editor, [edit])[0])
            editor.load(start)
    assert np.mean(gains[0::2]) > np.mean(gains[1::2]) + 0.5 and np.mean(gains[1::2]) > 0


def test_edits_add_up_on_the_live_weights_and_wear_the_first_one_out(tiny_vlm, learnt):
    editor = Mend(tiny_vlm, SHORT)
    editor.load_fitted(learnt)
    editor.edit([EDIT])
    once = {n: w - editor.weights.base[n] for n, w in editor.weights.now.items()}
    (after,) = nll(editor, [EDIT])
    for i, edit in enumerate(load_stream("toy", edits=30, seed=2).edits):
        editor.edit([replace(edit, id=f"e{i}")])
    grown = {n: w - editor.weights.base[n] for n, w in editor.weights.now.items()}
    assert nll(editor, [EDIT])[0] > after + 0.5 and editor.revision == 31
    assert all(grown[n].norm() > 2 * once[n].norm() for n in once)


def test_the_running_average_weighs_edits_by_their_tokens(tiny_vlm):
    options = MendOptions(rate=1e-3, average=True)
    one, mean = Mend(tiny_vlm, options), Mend(tiny_vlm, options)
    one.edit([EDIT])
    mean.edit([EDIT])
    mean.weights.load(mean.weights.base)  # so that the second gradient is the base's too
    mean.edit([OTHER])
    alone = Mend(tiny_vlm, options)
    alone.edit([OTHER])
    n, m = (len(tiny_vlm.target_ids(e.target)) for e in (EDIT, OTHER))
    for name, base in mean.weights.base.items():
        wanted = (n * (one.weights.now[name] - base) + m * (alone.weights.now[name] - base)) / (n + m)
        torch.testing.assert_close(mean.weights.now[name] - base, wanted, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("rate", [1e4, 3e38])
def test_a_collapse_names_the_edit_and_leaves_everything_as_it_was(tiny_vlm, rate):
    editor = Mend(tiny_vlm, MendOptions(rate=rate))
    with pytest.raises(CollapseError, match="edit a"):
        editor.edit([EDIT])
    assert editor.revision == 0 and all(torch.equal(w, editor.weights.base[n]) for n, w in editor.weights.now.items())
