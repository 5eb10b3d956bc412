"""SERAC: published scores and mixture, scope by words alone, and what follows from it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from lifelong.editing.contract import Keys, Route
from lifelong.editing.pools import outside_of
from lifelong.editing.scope.counterfactual import CounterfactualCopy
from lifelong.editing.scope.mixture import mixed
from lifelong.editors.serac import Serac, SeracOptions
from streams.stream import load_stream
from streams.types import Edit, ImageRef, Query

GOLDEN = Path(__file__).parents[3] / "shared" / "golden" / "mscke_scope"
golden = pytest.mark.skipif(not GOLDEN.is_dir(), reason="the golden folder is not beside this checkout")
EDIT = Edit("a", Query("Who made this bowl?", ImageRef("noise:a", "a")), "Ann", "bowl")
SMALL = {"width": 16, "steps": 4, "batch": 8, "answer_batch": 4}


def options(**changes: object) -> SeracOptions:
    return SeracOptions.model_validate({**SMALL, **changes})


def model_of(editor: Serac) -> CounterfactualCopy:
    assert isinstance(editor.model, CounterfactualCopy)
    return editor.model


def route(editor: Serac, query: Query):
    return editor.route(editor.encode([query]))[0]


@golden
def test_the_bank_routes_as_published(tiny_vlm) -> None:
    case, t = (
        json.loads((GOLDEN / "case.json").read_text())["cases"]["serac"],
        load_file(GOLDEN / "mscke.safetensors"),
    )
    editor = Serac(tiny_vlm, options())
    editor.bank.add([str(i) for i in range(6)], t["serac.edit_vectors"].numpy())
    routes = editor.route(Keys({"key": t["serac.query_vectors"].numpy()}))
    assert [r.in_scope for r in routes] == case["in_scope"]
    for found, best, near in zip(routes, case["best"], case["best_rho"], strict=True):
        assert not found.in_scope or (found.ids == (str(best),) and found.weights == (1.0,))
        assert not found.in_scope or found.scores[0] == pytest.approx(near, abs=1e-5)
    # The soft form routes every query, with rho as its weight.
    soft = Serac(tiny_vlm, options(mixing="soft"))
    soft.load(editor.state())
    routes = soft.route(Keys({"key": t["serac.query_vectors"].numpy()}))
    assert [int(r.ids[0]) for r in routes] == case["best"]
    np.testing.assert_allclose([r.weights[0] for r in routes], t["serac.rho"].amax(1), atol=1e-5)


@golden
def test_the_soft_mixture_equals_the_reference() -> None:
    t = load_file(GOLDEN / "mscke.safetensors")
    shares = t["serac.rho"].amax(1, keepdim=True)
    found = mixed(t["serac.base_logits"], t["serac.counterfactual_logits"], shares)
    torch.testing.assert_close(found, t["serac.soft_mixture_log_probs"], atol=1e-5, rtol=1e-5)


def test_another_picture_under_the_same_words_gets_the_edits_answer(tiny_vlm) -> None:
    editor = Serac(tiny_vlm, options())
    editor.edit([EDIT])
    for image in (EDIT.query.image, ImageRef("noise:b", "b"), None):
        assert route(editor, Query(EDIT.query.prompt, image)).ids == ("a",)


def test_of_edits_in_the_same_words_one_answers_for_all(tiny_vlm) -> None:
    """Captioning edits all say `a photo of`: words cannot tell them apart."""
    editor = Serac(tiny_vlm, options(edit_side="prompt"))
    edits = [Edit(str(i), Query("a photo of", ImageRef(f"noise:{i}", str(i))), f"thing {i}", "x") for i in range(4)]
    for edit in edits:
        editor.edit([edit])
    assert [route(editor, e.query).ids for e in edits] == [("0",)] * 4


def test_the_edit_side_reads_the_target_once_its_part_is_trained(tiny_vlm) -> None:
    editor = Serac(tiny_vlm, options(supersede="keep"))
    editor.classifier.target.weight.data.fill_(0.3)
    editor.edit([EDIT, replace(EDIT, id="b", target="Bob")])
    first, second = editor.bank.keys_of(editor.bank.rows_of(["a", "b"]))
    assert np.abs(first - second).max() > 1e-3
    assert np.array_equal(editor.encode([EDIT.query])["key"], editor.encode([Query(EDIT.query.prompt)])["key"])


def mixture(editor: Serac, query: Query, target: str):
    """Return the mixture's log-probabilities of a target from the two models' own, asked one after the other."""
    share = route(editor, query).weights[0]
    base = editor.vlm.score([query], [target])[0].logprobs
    model = model_of(editor)
    with editor.vlm.swap(model.copy):
        told = model.told(query, model.facts["a"])
        counterfactual = editor.vlm.score([told], [target])[0].logprobs
    return share, np.logaddexp(np.log1p(-share) + base, np.log(share) + counterfactual)


def test_the_soft_form_mixes_two_models_token_by_token(tiny_vlm) -> None:
    editor = Serac(tiny_vlm, options(mixing="soft", scale=0.3))
    editor.edit([EDIT])
    queries = [Query("Who made this long bowl?", ImageRef("noise:c", "c")), Query("Who built a bowl?")]
    routes = editor.route(editor.encode(queries))
    with editor.applied(queries, routes) as answerer:
        scored, said = answerer.score(["Ann", "Rome"], top=10), answerer.generate(max_tokens=4)
        assert answerer.generate([1], max_tokens=4) == said[1:]
    for i, target in enumerate(("Ann", "Rome")):
        share, expected = mixture(editor, queries[i], target)
        assert 0.01 < share < 1
        np.testing.assert_allclose(scored[i].logprobs, expected, atol=1e-4)
        tops = scored[i].top_ids
        assert tops is not None and np.array_equal(tops[-len(expected) - 1 : -1, 0], scored[i].argmax_ids)
        assert editor.vlm.tokenizer.decode(scored[i].argmax_ids[:1]) == said[i][:1]


@pytest.mark.parametrize("share", [1e-6, 1 - 1e-6])
def test_a_mixture_of_almost_one_model_decodes_as_that_model(tiny_vlm, share: float) -> None:
    editor = Serac(tiny_vlm, options(mixing="soft"))
    editor.edit([EDIT])
    queries = [EDIT.query, Query("Where is the long bridge?")]
    with editor.applied(queries, [Route(("a",), (share,), (share,))] * 2) as answerer:
        said = answerer.generate(max_tokens=6)
    model = model_of(editor)
    told = [model.told(q, model.facts["a"]) for q in queries]
    assert said == tiny_vlm.generate(told if share > 0.5 else queries, max_tokens=6)


def test_training_never_asks_words_to_tell_what_only_pictures_can() -> None:
    for item in load_stream("toy", edits=2, seed=0).pool(20, 0).items:
        same = {item.edit.query.prompt} | {
            p.query.prompt for p in item.probes if p.axis in ("reliability", "generality")
        }
        assert not same & {p.query.prompt for p in outside_of(item, words_only=True)}
        assert len(outside_of(item)) >= len(outside_of(item, words_only=True))
