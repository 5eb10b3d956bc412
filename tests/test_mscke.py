"""MSCKE: published scores, keys that stay where they are, what is trained, and what answers in scope."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from lifelong import contract
from lifelong.check_bench import Bench
from lifelong.counterfactual import CopyTraining, CounterfactualCopy
from lifelong.counterfactual_mend import CounterfactualMend
from lifelong.editor import Keys
from lifelong.editors.mscke import Mscke, MsckeOptions
from lifelong.ops import NotFiniteError
from lifelong.scope import Fusion, ScopeClassifier, fuse, rho, squared_distances
from lifelong.scope_training import ScopeTraining, fit_scope, inside_of, outside_of
from lifelong.sweeps import cells
from streams.stream import load_stream
from streams.types import Edit, ImageRef, Pool, Query

GOLDEN = Path(__file__).parents[2] / "shared" / "golden" / "mscke_scope"
golden = pytest.mark.skipif(not GOLDEN.is_dir(), reason="the golden folder is not beside this checkout")
PICTURE = ImageRef("noise:a", "a")
EDIT = Edit("a", Query("Who made this bowl?", PICTURE), "Ann", "bowl")
SMALL = {"width": 16, "steps": 4, "batch": 8, "answer_batch": 4}


def options(**changes: object) -> MsckeOptions:
    return MsckeOptions.model_validate({**SMALL, **changes})


def model_of(editor: Mscke) -> CounterfactualCopy:
    assert isinstance(editor.model, CounterfactualCopy)
    return editor.model


def route(editor: Mscke, query: Query):
    return editor.route(editor.encode([query]))[0]


# Parity


@pytest.fixture(scope="module")
def reference() -> tuple[dict, dict[str, Tensor]]:
    return json.loads((GOLDEN / "case.json").read_text()), load_file(str(GOLDEN / "mscke.safetensors"))


def alone(images: Tensor) -> tuple[Tensor, Tensor]:
    """Every item sees its own picture, one vector."""
    return images[:, None], torch.ones(len(images), 1, dtype=torch.bool)


def all_of(images: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """Every one of n items sees the pictures of all: what the released code feeds its attention."""
    return images[None].expand(n, -1, -1), torch.ones(n, len(images), dtype=torch.bool)


@golden
@pytest.mark.parametrize("n", [1, 2, 3, 6])
@pytest.mark.parametrize("fusion", ["dot", "cat", "text"])
def test_distances_and_scores_equal_the_published_ones(reference, n: int, fusion: str) -> None:
    case, t = reference
    kinds: dict[str, Fusion] = {"dot": "dot", "cat": "concatenation", "text": "text"}
    kind = kinds[fusion]
    text, image = t["edit_text"][:n], t["edit_image"][:n]
    edits = fuse(kind, text, *(all_of(image, n) if kind == "dot" else alone(image)))
    apart = squared_distances(fuse(kind, t["query_text"], *alone(t["query_image"])), edits)
    close = rho(apart, case["hyper"]["scale"])
    torch.testing.assert_close(apart, t[f"cache{n}.{fusion}.squared_distance"], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(close, t[f"cache{n}.{fusion}.rho"], atol=1e-5, rtol=1e-5)
    if fusion == "dot":
        torch.testing.assert_close(edits, t[f"cache{n}.dot.edit_keys"], atol=1e-5, rtol=1e-5)
    row = next(r for r in case["cases"]["mscke"] if (r["cached"], r["fusion"]) == (n, fusion))
    assert close.argmax(1).tolist() == row["best"]
    assert (close.amax(1) > case["hyper"]["threshold"]).tolist() == row["in_scope"]


@golden
def test_a_batch_of_queries_moves_its_own_keys_when_it_shares_its_pictures(reference) -> None:
    _, t = reference
    queries = fuse("dot", t["query_text"], *all_of(t["query_image"], 12))
    edits = fuse("dot", t["edit_text"], *all_of(t["edit_image"], 6))
    expected = t["cache6.dot.batched_queries.rho"]
    torch.testing.assert_close(rho(squared_distances(queries, edits)), expected, atol=1e-5, rtol=1e-5)


@golden
def test_released_keys_drift_with_the_cache_and_ours_do_not(reference) -> None:
    case, t = reference
    drift = {row["cached"]: row for row in case["cases"]["key_drift_of_edit_0"]}
    first = fuse("dot", t["edit_text"][:1], *alone(t["edit_image"][:1]))
    for n, row in drift.items():
        text, image = t["edit_text"][:n], t["edit_image"][:n]
        released = fuse("dot", text, *all_of(image, n))[:1]
        moved = squared_distances(released, first)[0, 0]
        assert float(moved) == pytest.approx(row["squared_distance_to_key_when_alone"], abs=1e-5)
        assert float(rho(moved)) == pytest.approx(row["self_rho"], abs=1e-5)
        assert torch.equal(fuse("dot", text, *alone(image))[:1], first)
    assert drift[max(drift)]["self_rho"] < 0.5


@golden
@pytest.mark.parametrize("n", [1, 2, 3, 6])
def test_the_bank_routes_as_published(reference, tiny_vlm, n: int) -> None:
    case, t = reference
    editor = Mscke(tiny_vlm, options())
    keys = [
        fuse("concatenation", t[f"{side}_text"], *alone(t[f"{side}_image"])).numpy() for side in ("edit", "query")
    ]
    editor.bank.add([str(i) for i in range(n)], keys[0][:n])
    row = next(r for r in case["cases"]["mscke"] if (r["cached"], r["fusion"]) == (n, "cat"))
    for found, best, near, inside in zip(
        editor.route(Keys({"key": keys[1]})), row["best"], row["best_rho"], row["in_scope"], strict=True
    ):
        assert found.in_scope == inside
        if inside:
            assert found.ids == (str(best),) and found.scores[0] == pytest.approx(near, abs=1e-5)


# Fusions


def test_dot_attends_to_the_patches_that_the_words_ask_for() -> None:
    text, patches = torch.tensor([[3.0, 0.0]]), torch.tensor([[[3.0, 0.0], [0.0, 3.0], [9.0, 9.0]]])
    seen = torch.tensor([[True, True, False]])
    share = torch.softmax(torch.tensor([9.0, 0.0]), 0)
    expected = torch.tensor([[3.0, 0.0, 3 * share[0], 3 * share[1]]])
    torch.testing.assert_close(fuse("dot", text, patches, seen), expected)
    torch.testing.assert_close(fuse("concatenation", text, patches, seen)[:, 2:], torch.tensor([[1.5, 1.5]]))


@pytest.mark.parametrize("fusion", ["dot", "concatenation"])
def test_a_query_without_a_picture_has_zeros_in_its_place(fusion) -> None:
    found = fuse(fusion, torch.ones(2, 3), torch.ones(2, 4, 3), torch.zeros(2, 4, dtype=torch.bool))
    assert torch.equal(found, torch.cat([torch.ones(2, 3), torch.zeros(2, 3)], 1))


def test_cross_attention_weighs_projected_patches() -> None:
    torch.manual_seed(0)
    classifier = ScopeClassifier(6, 5, width=4, fusion="cross-attention").eval()
    text, patches = torch.randn(2, 6), torch.randn(2, 3, 9)
    words, looks = classifier.text(text), classifier.image(patches)
    for i, z in enumerate(classifier(text, patches, torch.ones(2, 3, dtype=torch.bool))):
        scores = classifier.offers(looks[i]) @ classifier.asks(words[i]) / 2
        seen = scores.softmax(0) @ classifier.gives(looks[i])
        torch.testing.assert_close(z, torch.cat([words[i], seen]))


# The memory


def test_an_untrained_edit_is_in_scope_of_its_own_query_and_not_of_another_picture(tiny_vlm) -> None:
    editor = Mscke(tiny_vlm, options(threshold=0.99))
    editor.edit([EDIT])
    assert route(editor, EDIT.query).ids == ("a",) and route(editor, EDIT.query).scores == (1.0,)
    assert not route(editor, Query(EDIT.query.prompt, ImageRef("noise:b", "b"))).in_scope
    assert not route(editor, Query(EDIT.query.prompt)).in_scope


def test_the_same_words_about_two_pictures_go_home_by_sight_and_not_by_words(tiny_vlm) -> None:
    other = replace(EDIT, id="b", query=Query(EDIT.query.prompt, ImageRef("noise:b", "b")), target="Bob")
    found = {}
    for fusion in ("dot", "text"):
        editor = Mscke(tiny_vlm, options(fusion=fusion))
        for edit in (EDIT, other):
            editor.edit([edit])
        found[fusion] = [route(editor, e.query).ids for e in (EDIT, other)]
    assert found == {"dot": [("a",), ("b",)], "text": [("a",), ("a",)]}


def test_stored_keys_never_move_and_are_never_encoded_again(tiny_vlm, monkeypatch) -> None:
    editor = Mscke(tiny_vlm, options())
    editor.edit([EDIT])
    before = editor.bank.keys_of(editor.bank.rows_of(["a"]))
    for i in range(4):
        editor.edit([Edit(str(i), Query("Where is it?", ImageRef(f"noise:{i}", str(i))), "Rome", "x")])
    read: list[str] = []
    words = editor.features.words
    monkeypatch.setattr(editor.features, "words", lambda texts: (read.extend(texts), words(texts))[1])
    assert route(editor, EDIT.query).scores == (1.0,)
    assert read == [EDIT.query.prompt]
    assert np.array_equal(editor.bank.keys_of(editor.bank.rows_of(["a"])), before)


def test_a_query_in_scope_is_answered_after_the_edit_with_its_own_picture(tiny_vlm) -> None:
    editor = Mscke(tiny_vlm, options())
    model = model_of(editor)
    model.load_fitted({name: change + 0.05 for name, change in model.learnt.items()})
    editor.edit([EDIT])
    told = model.told(EDIT.query, ("Who made this bowl?", "Ann"))
    assert told.parts == (PICTURE, "New fact: Who made this bowl? It is Ann. Who made this bowl?")
    stranger = Query("Where?", ImageRef("noise:z", "z"))
    queries = [stranger, EDIT.query]
    routes = editor.route(editor.encode(queries))
    with editor.applied(queries, routes) as answerer:
        scored, said = answerer.score(["Bob", "Ann"]), answerer.generate(max_tokens=3)
    with tiny_vlm.swap(model.copy):
        expected = tiny_vlm.score([told], ["Ann"])[0]
        assert said[1] == tiny_vlm.generate([told], max_tokens=3)[0]
    assert np.allclose(scored[1].logprobs, expected.logprobs, atol=1e-4)
    assert np.abs(expected.logprobs - tiny_vlm.score([told], ["Ann"])[0].logprobs).max() > 1e-3
    assert np.array_equal(scored[0].logprobs, tiny_vlm.score([stranger], ["Bob"])[0].logprobs)


def test_a_reedit_replaces_the_old_answer_only_when_asked_to(tiny_vlm) -> None:
    again = replace(EDIT, id="again", target="Bob", supersedes="a")
    for mode, left in (("keep", ["a", "again"]), ("replace", ["again"])):
        editor = Mscke(tiny_vlm, options(supersede=mode))
        for edit in (EDIT, again):
            editor.edit([edit])
        assert editor.bank.ids() == left and sorted(model_of(editor).words) == left
    assert route(editor, EDIT.query).ids == ("again",)


def test_a_full_bank_forgets_the_oldest_edit_and_its_words(tiny_vlm) -> None:
    editor = Mscke(tiny_vlm, options(capacity=2, eviction="fifo"))
    for i, prompt in enumerate(["Who?", "Where is it?", "When was that?"]):
        editor.edit([Edit(str(i), Query(prompt), "Ann", "x")])
    assert sorted(model_of(editor).words) == ["1", "2"] and editor.bank_len() == 2
    editor.remove(["0", "1"])
    assert sorted(model_of(editor).words) == ["2"]


# Training


@pytest.fixture(scope="module")
def pools() -> tuple[Pool, Pool]:
    stream = load_stream("toy", edits=2, seed=0)
    return stream.pool(120, 0), stream.pool(24, 1)


def right_decisions(editor: Mscke, pool: Pool) -> float:
    """The mean of both shares: questions in scope that find their edit alone, and those out of scope that do not."""
    inside, outside = [], []
    for item in pool.items:
        single = Mscke(editor.vlm, editor.options)
        single.load_fitted(editor.fitted())
        single.edit([item.edit])
        for probes, right, wanted in ((inside_of(item), inside, True), (outside_of(item), outside, False)):
            routes = single.route(single.encode([p.query for p in probes]))
            right += [r.in_scope == wanted for r in routes]
    return float(np.mean(inside) + np.mean(outside)) / 2


@pytest.mark.parametrize("fusion", ["dot", "text"])
def test_a_trained_classifier_decides_better_than_an_untrained_one(tiny_vlm, pools, fusion) -> None:
    editor = Mscke(tiny_vlm, options(fusion=fusion, width=32))
    before = right_decisions(editor, pools[1])
    how = ScopeTraining(steps=80, batch=40, rate=3e-3)
    history = fit_scope(editor.classifier, editor.features, pools[0], how, seed=0, what="test")
    editor.classifier.double()
    assert history[-1]["inside"] < history[0]["inside"]
    assert right_decisions(editor, pools[1]) > before


def test_the_trained_copy_answers_better_than_the_base_and_leaves_it_alone(tiny_vlm, pools) -> None:
    model = CounterfactualCopy(
        tiny_vlm, share=0.5, template=options().template, how=CopyTraining(60, 16, 3e-3), what="test"
    )
    asked = [(model.told(p.query, (i.edit.query.prompt, i.edit.target)), p.target)
             for i in pools[1].items for p in inside_of(i)]  # fmt: skip
    untouched = tiny_vlm.score([EDIT.query], ["Ann"])[0].logprobs
    model.fit(pools[0], seed=0)
    losses = []
    for weights in ({}, model.copy):
        with tiny_vlm.swap(weights):
            losses.append(np.mean([s.nll for s in tiny_vlm.score([p for p, _ in asked], [t for _, t in asked])]))
    assert losses[1] < losses[0] - 0.5
    assert np.array_equal(untouched, tiny_vlm.score([EDIT.query], ["Ann"])[0].logprobs)


# MEND as the counterfactual part


MEND = {"counterfactual": "mend", "mend_layer": 0.5, "mend_learning_rate": 1e-3}


def mend_of(editor: Mscke) -> CounterfactualMend:
    assert isinstance(editor.model, CounterfactualMend)
    return editor.model


def test_each_row_meets_the_weight_change_of_its_own_edit(tiny_vlm) -> None:
    editor = Mscke(tiny_vlm, options(**MEND))
    model, other = mend_of(editor), Edit("b", Query("Where is the long bridge?"), "Rome", "bridge")
    for network in model.transforms.networks.values():
        network.get_parameter("rate").data.fill_(-3e-2)  # large enough to be seen untrained
    for edit in (EDIT, other):
        editor.edit([edit])
    stranger = Query("When?", ImageRef("noise:z", "z"))
    queries, targets = [other.query, stranger, EDIT.query], ["Rome", "Noon", "Ann"]
    routes = editor.route(editor.encode(queries))
    assert [r.ids for r in routes] == [("b",), (), ("a",)]
    with editor.applied(queries, routes) as answerer:
        together, said = answerer.score(targets), answerer.generate([2, 0], max_tokens=3)
    for row, edit in ((0, other), (2, EDIT)):
        weights = {}
        for name, module in model.region.linear().items():
            left, right = model.factors[edit.id][name]
            weights[tiny_vlm.name_of(module.weight)] = module.weight.detach() + left.T @ right
        with tiny_vlm.swap(weights):
            alone = tiny_vlm.score([queries[row]], [targets[row]])[0]
            assert said[[2, 0].index(row)] == tiny_vlm.generate([queries[row]], max_tokens=3)[0]
        assert np.allclose(together[row].logprobs, alone.logprobs, atol=1e-4)
        assert alone.nll < tiny_vlm.score([queries[row]], [targets[row]])[0].nll - 0.1
    assert np.array_equal(together[1].logprobs, tiny_vlm.score([stranger], ["Noon"])[0].logprobs)


def test_an_edit_without_a_finite_change_is_not_stored(tiny_vlm) -> None:
    editor = Mscke(tiny_vlm, options(**MEND))
    for network in mend_of(editor).transforms.networks.values():
        network.get_parameter("rate").data.fill_(float("inf"))
    with pytest.raises(NotFiniteError, match="edit a"):
        editor.edit([EDIT])
    assert editor.bank_len() == 0 and not mend_of(editor).factors


@pytest.mark.parametrize(
    "check",
    [
        contract.a_batch_equals_its_rows,
        contract.an_unrouted_query_sees_the_base,
        contract.state_goes_on_exactly,
        contract.state_is_plain,
        contract.removal_restores_the_base,
        contract.bytes_grow_with_the_bank,
        contract.the_base_is_untouched_after_an_error,
        contract.what_fit_learnt_can_be_carried_over,
    ],
)
def test_the_contract_holds_with_mend_inside(check, mend_bench) -> None:
    check(mend_bench)


@pytest.fixture(scope="module")
def mend_bench(tiny_vlm) -> Bench:
    return Bench(Mscke, tiny_vlm, {"width": 16, **MEND})


def test_a_pool_without_questions_in_scope_is_refused(tiny_vlm, pools) -> None:
    bare = Pool(tuple(replace(item, probes=()) for item in pools[1].items), "bare")
    with pytest.raises(ValueError, match="0 of 24 pool items"):
        Mscke(tiny_vlm, options()).fit(bare)


def test_the_ablation_recipe_crosses_fusions_with_what_answers() -> None:
    found = [cell.config.editor for cell in cells("mscke-ablation")]
    assert len(found) == 12 and {part.name for part in found} == {"mscke"}
