"""MSCKE: fusions, keys that stay where they are, what is trained, and what answers in scope."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from lifelong.editing.checks import sentences as contract
from lifelong.editing.checks.bench import Workbench
from lifelong.editing.facts.statement import StatedFact
from lifelong.editing.ops import NotFiniteError
from lifelong.editing.pools import inside_of, outside_of
from lifelong.editing.scope.classifier import ScopeClassifier, fuse
from lifelong.editing.scope.counterfactual import CopyTraining, CounterfactualCopy
from lifelong.editing.scope.counterfactual_mend import CounterfactualMend
from lifelong.editing.scope.training import ScopeTraining, fit_scope
from lifelong.editors.mscke import Mscke, MsckeOptions
from lifelong.studies.sweep import cells
from streams.stream import load_stream
from streams.types import Edit, ImageRef, Pool, Query

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
    told = model.told(EDIT.query, StatedFact.of(EDIT))
    assert told.parts == (PICTURE, "Update: Who made this bowl? The answer is Ann. Who made this bowl?")
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


def test_a_reedit_replaces_the_old_answer_unless_both_are_kept(tiny_vlm) -> None:
    again = replace(EDIT, id="again", target="Bob", supersedes="a")
    for mode, left in (("keep", ["a", "again"]), ("replace", ["again"])):
        editor = Mscke(tiny_vlm, options(supersede=mode))
        for edit in (EDIT, again):
            editor.edit([edit])
        assert editor.bank.ids() == left and sorted(model_of(editor).facts) == left
    assert route(editor, EDIT.query).ids == ("again",)


def test_a_full_bank_forgets_the_oldest_edit_and_its_words(tiny_vlm) -> None:
    editor = Mscke(tiny_vlm, options(capacity=2, eviction="fifo"))
    for i, prompt in enumerate(["Who?", "Where is it?", "When was that?"]):
        editor.edit([Edit(str(i), Query(prompt), "Ann", "x")])
    assert sorted(model_of(editor).facts) == ["1", "2"] and editor.bank_len() == 2
    editor.remove(["0", "1"])
    assert sorted(model_of(editor).facts) == ["2"]


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
    asked = [(model.told(p.query, StatedFact.of(i.edit)), p.target)
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
def mend_bench(tiny_vlm) -> Workbench:
    return Workbench(Mscke, tiny_vlm, {"width": 16, **MEND})


def test_a_pool_without_questions_in_scope_is_refused(tiny_vlm, pools) -> None:
    bare = Pool(tuple(replace(item, probes=()) for item in pools[1].items), "bare")
    with pytest.raises(ValueError, match="0 of 24 pool items"):
        Mscke(tiny_vlm, options()).fit(bare)


def test_the_ablation_recipe_crosses_fusions_with_what_answers() -> None:
    found = [cell.config.editor for cell in cells("mscke-ablation")]
    assert len(found) == 12 and {part.name for part in found} == {"mscke"}
