"""T-Patcher's losses against the published ones, and the editor on a tiny random model."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from lifelong.editing.contract import CollapseError
from lifelong.editing.patches.losses import Penalty, activation_loss, heard, memory_loss
from lifelong.editing.patches.neurons import Patches, initial_keys
from lifelong.editors.t_patcher import TPatcher, TPatcherOptions
from streams.stream import load_stream
from streams.types import Edit, ImageRef, Query

GOLDEN = Path(__file__).parents[3] / "shared" / "golden" / "tpatcher"
EDIT = Edit("a", Query("Who made this bowl?", ImageRef("noise:a", "a")), "Ann", "bowl")
OTHER = Edit("b", Query("Where is the long bridge?"), "Rome", "bridge")


def penalty(kind: str, margin: float) -> Penalty:
    """A penalty from its published name, such as top5_exp."""
    top, _, form = kind.rpartition("_")
    return Penalty(form=form, margin=margin, top=int(top[3:]) if top else None)  # type: ignore[arg-type]


@pytest.mark.parametrize("number", range(6))
def test_losses_and_key_initialisation_equal_the_published_ones(number):
    if not GOLDEN.is_dir():
        pytest.skip(f"no reference vectors at {GOLDEN}")
    case = json.loads((GOLDEN / "case.json").read_text())["cases"]["losses"][number]
    tensors = load_file(GOLDEN / "tpatcher.safetensors")
    states, keys, bias, memory, stored, acts, start = (
        tensors[f"case{number}.{name}"]
        for name in (
            "token_states", "keys", "key_bias", "memory_states", "memory_activations", "activations", "initial_keys",
        )
    )  # fmt: skip
    assert torch.allclose((states * keys).sum(-1) + bias, acts, atol=1e-5)
    assert torch.allclose(memory @ keys.T + bias, stored, atol=1e-5)
    assert torch.allclose(initial_keys(states[0]), start, atol=1e-5)
    active = penalty(case["activation_loss_type"], case["margin_a"])
    assert float(activation_loss(acts, active)) == pytest.approx(case["activation_loss"], abs=1e-5, rel=1e-5)
    relative, absolute = case["memory_loss_type"].split("+")
    loss = memory_loss(stored, acts, penalty(relative, case["margin_1"]), penalty(absolute, -case["margin_2"]))
    assert float(loss) == pytest.approx(case["memory_loss"], abs=1e-5, rel=1e-5)


def test_a_patch_adds_activation_times_value_on_every_token():
    patches = Patches(3, 2)
    one = {"keys": torch.eye(3)[:2], "bias": torch.tensor([0.0, -1.0]), "values": torch.eye(2)}
    patches.add("a", {**one, "states": torch.zeros(2, 3)})
    added = patches.added(torch.tensor([[[2.0, 3.0, 9.0], [-1.0, 0.5, 9.0]]]))
    assert torch.equal(added, torch.tensor([[[2.0, 2.0], [0.0, 0.0]]]))


def test_silent_neurons_are_left_out_and_nothing_else_changes():
    torch.manual_seed(0)
    patches, bias = Patches(8, 6), -2.0 * torch.rand(500)
    given = {"keys": torch.randn(500, 8), "bias": bias, "values": torch.randn(500, 6), "states": torch.zeros(500, 8)}
    patches.add("a", given)
    states = torch.randn(2, 5, 8)
    seen = []
    for added in (patches.added, lambda q: torch.relu(q @ given["keys"].T + bias) @ given["values"]):
        asked = states.clone().requires_grad_()
        out = added(asked)
        (out * torch.linspace(-1, 1, 6)).sum().backward()
        seen.append((out.detach(), asked.grad))
    torch.testing.assert_close(seen[0], seen[1], atol=1e-5, rtol=1e-5)
    patches.table("bias").fill_(-1e9)
    assert not patches.added(states).any()
    patches.table("bias")[7] = torch.nan  # what is not a number is never taken for silence
    assert patches.added(states).isnan().all() and patches.added(states.clone().requires_grad_()).isnan().all()


@pytest.mark.parametrize("top", [1, 7, 60, 10**6, None])
def test_the_memory_loss_of_the_states_that_are_heard_is_that_of_all(top):
    torch.manual_seed(1)
    states, bias = torch.randn(200, 8), torch.randn(3)
    relative, absolute = Penalty(margin=3.0, top=top), Penalty("margin", margin=3.0, top=top)
    seen = []
    for few in (False, True):
        keys = torch.linspace(-1, 1, 24).reshape(3, 8).requires_grad_()
        acts = keys.sum(1)[None]
        rows = heard(states @ keys.T + bias, acts, relative, absolute) if few else torch.arange(200)
        loss = memory_loss(states[rows] @ keys.T + bias, acts, relative, absolute)
        loss.backward()
        seen.append((loss.detach(), keys.grad))
        assert few is False or top is None or len(rows) <= 2 * top
    torch.testing.assert_close(seen[0], seen[1], atol=1e-5, rtol=1e-5)


def test_neurons_of_an_owner_leave_and_the_others_stay():
    patches = Patches(2, 2)
    for i, owner in enumerate("abc" * 30):
        rows = {name: torch.full((2, *shape), float(i)) for name, shape in patches.shapes.items()}
        patches.add(owner + str(i), rows)
    patches.remove(["b1", "c89", "never-there"])
    assert len(patches) == 176 and patches.table("bias")[:4].tolist() == [0.0, 0.0, 2.0, 2.0]
    twin = Patches(2, 2)
    twin.load(patches.state())
    assert twin.owners == patches.owners and torch.equal(twin.table("values"), patches.table("values"))


def options(**changes: object) -> TPatcherOptions:
    return TPatcherOptions.model_validate({"steps": 100, "stop_loss": 0.5, "memory": 64, **changes})


def nll(editor: TPatcher, edit: Edit) -> float:
    with editor.applied([edit.query], editor.route(editor.encode([edit.query]))) as answerer:
        return answerer.score([edit.target])[0].nll


def test_an_edit_is_learnt_by_one_neuron_for_each_wrong_token(tiny_vlm):
    editor = TPatcher(tiny_vlm, options(memory_weight=0.0))
    wrong = tiny_vlm.score([EDIT.query], [EDIT.target])[0]
    before, mistakes = nll(editor, EDIT), int((wrong.argmax_ids != wrong.target_ids).sum())
    editor.edit([EDIT])
    assert editor.bank_len() == mistakes and nll(editor, EDIT) < before / 3
    editor.edit([replace(EDIT, id="again")])
    assert editor.bank_len() == mistakes  # known by now: no mistake, no neuron


def test_earlier_neurons_are_frozen_and_act_on_every_query(tiny_vlm):
    editor = TPatcher(tiny_vlm, options())
    editor.edit([EDIT])
    keys, other = editor.patches.table("keys").clone(), nll(editor, OTHER)
    editor.edit([OTHER])
    assert torch.equal(editor.patches.table("keys")[: len(keys)], keys)
    assert nll(editor, OTHER) < other and not editor.route(editor.encode([OTHER.query]))[0].in_scope


def leak(editor: TPatcher, queries: list[Query], targets: list[str]) -> float:
    """How far answers to unrelated questions move, in nats."""
    base = editor.vlm.score(queries, targets)
    with editor.applied(queries, editor.route(editor.encode(queries))) as answerer:
        pairs = zip(answerer.score(targets), base, strict=True)
        return float(np.mean([np.abs(a.logprobs - b.logprobs).mean() for a, b in pairs]))


def test_stored_states_keep_neurons_silent_elsewhere(tiny_vlm):
    stream = load_stream("toy", edits=6, seed=0)
    asked = [(p.query, p.target) for item in stream.pool(24, 0).items for p in item.probes][:60]
    trained, blind = TPatcher(tiny_vlm, options(memory=512)), TPatcher(tiny_vlm, options())
    trained.fit(stream.pool(24, 0))
    for editor in (trained, blind):
        editor.edit([EDIT])
    queries, targets = [q for q, _ in asked], [t for _, t in asked]
    assert leak(trained, queries, targets) < leak(blind, queries, targets)


def test_interference_grows_with_the_number_of_edits(tiny_vlm):
    stream = load_stream("toy", edits=8, seed=0)
    editor = TPatcher(tiny_vlm, options(memory=512))
    editor.fit(stream.pool(24, 0))
    probes = stream.probes(stream.edits[-1].id)
    queries, targets = [p.query for p in probes], [p.target for p in probes]
    moved = []
    for edit in stream.edits[:7]:
        editor.edit([edit])
        moved.append(leak(editor, queries, targets))
    assert moved[-1] > moved[0] > 0


def test_a_non_finite_loss_names_the_edit_and_stores_nothing(tiny_vlm):
    editor = TPatcher(tiny_vlm, options(learning_rate=3e37))
    with pytest.raises(CollapseError, match="edit a"):
        editor.edit([EDIT])
    assert editor.bank_len() == 0 and editor.revision == 0
