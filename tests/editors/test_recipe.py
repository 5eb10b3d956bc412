"""RECIPE: parity with the published heads and losses, and what a continuous prompt is on a real model."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from lifelong.editing.contract import Keys
from lifelong.editors.recipe import Recipe, losses, train
from lifelong.editors.recipe.modules import PromptWriter, RecipeModules, pooled_features
from lifelong.editors.recipe.options import RecipeOptions
from lifelong.editors.recipe.table import FeatureTable, draw_examples, feature_example, knowledge_of
from streams.stream import Stream, load_stream
from streams.types import Edit, ImageRef, PoolItem, Query

FOLDER = Path(__file__).parents[3] / "shared" / "golden" / "recipe"
golden = pytest.mark.skipif(not FOLDER.parent.is_dir(), reason="the golden folder is not beside this checkout")
SMALL = {
    "width": 16,
    "steps": 200,
    "half": False,
    "batch": 6,
    "routing_batch": 24,
    "pool": 24,
    "prompt_tokens": 3,
    "learning_rate": 0.1,
    "routing_steps": 60,
}
EDIT = Edit("a", Query("Who made this bowl?", ImageRef("noise:a", "a")), "Ann", "bowl")


@pytest.fixture(scope="module")
def stream() -> Stream:
    return load_stream("toy", edits=6, seed=0)


@pytest.fixture(scope="module")
def trained(tiny_vlm, stream) -> Recipe:
    editor = Recipe(tiny_vlm, RecipeOptions.model_validate(SMALL))
    editor.fit(stream.pool(24, 0))
    return editor


@pytest.fixture(scope="module")
def case() -> tuple[dict, dict[str, torch.Tensor]]:
    return json.loads((FOLDER / "case.json").read_text()), load_file(str(FOLDER / "recipe.safetensors"))


def official(case: tuple[dict, dict[str, torch.Tensor]]) -> RecipeModules:
    h, tensors = case[0]["hyper"], case[1]
    out = RecipeModules(
        4 * h["encoder_width"], h["encoder_width"], rep=h["rep_dim"], d=h["model_width"],
        prompt_tokens=h["prompt_tokens"], sentinel_tokens=2, answer_tokens=0,
    )  # fmt: skip
    names = {".W1.": ".first.", ".W2.": ".second.", ".W3.": ".first.", ".W4.": ".second."}
    for name, tensor in tensors.items():
        for theirs, ours in names.items():
            if theirs in name:
                out.get_parameter(name.replace(theirs, ours)).data.copy_(tensor)
    return out


@golden
@pytest.mark.parametrize("side", ["knowledge", "query"])
def test_representations_and_prompts_are_the_published_ones(case, side):
    modules, t = official(case), case[1]
    mask = t[f"encode.{side}.token_mask"] > 0
    reps = getattr(modules, side)(pooled_features(t[f"encode.{side}.states"], mask, t[f"encode.{side}.pooled"]))
    torch.testing.assert_close(reps, t[f"encode.{side}.rep"], atol=1e-5, rtol=1e-5)
    if side == "knowledge":
        torch.testing.assert_close(modules.prompt(reps), t["encode.knowledge.prompts"], atol=1e-5, rtol=1e-5)


@golden
def test_the_editor_routes_as_published_and_never_to_what_the_sentinel_beats(case, tiny_vlm):
    t = case[1]
    editor = Recipe(tiny_vlm, RecipeOptions(width=16, lead=0.0))
    editor.bank.add([str(i) for i in range(8)], t["route.base"][1:].numpy(), {"prompt": torch.zeros(8, 3, 32)})
    scores = editor.modules.scores(t["route.queries"], t["route.base"])
    torch.testing.assert_close(scores, t["route.scores"], atol=1e-5, rtol=1e-5)
    keys = {"query": t["route.queries"].numpy() / 4, "sentinel": scores[:, :1].numpy()}
    routes = editor.route(Keys(keys))
    chosen = [int(r.ids[0]) if r.ids else -1 for r in routes]
    assert chosen == case[0]["cases"]["routing"]["chosen_edit_0_based_or_minus1"]


@golden
@pytest.mark.parametrize("item", [0, 1, 2])
def test_contrastive_losses_are_the_published_ones(case, item):
    t = {k.split(".")[1]: v for k, v in case[1].items() if k.startswith(f"train{item}.")}
    want = case[0]["cases"]["contrastive"]["items"][item]
    modules = official(case)

    def scored(name: str) -> tuple[torch.Tensor, torch.Tensor]:
        return modules.scores(t[name], t["knowledge"]), modules.scores(t[name], t["sentinel"])[:, 0]

    got = [
        losses.own_knowledge(*scored("queries_1")),
        losses.own_missing(*scored("queries_2")),
        losses.nothing_known(*scored("locality_queries")),
    ]
    assert [float(v) for v in got] == pytest.approx([want[q] for q in ("q1", "q2", "q3")], abs=1e-5)


def test_training_and_editing_give_the_same_answers(trained, tiny_vlm):
    """The logits that `fit` optimises are those of the hook that answers."""
    queries = [EDIT.query, Query("Where?")]
    prompts = torch.randn(2, 3, tiny_vlm.width, generator=torch.Generator().manual_seed(0))
    hidden = tiny_vlm.hidden([trained.slots.before(q) for q in queries], 0, ["Ann", "Bob"])
    logits = tiny_vlm.resume(train.with_prompts(tiny_vlm, trained.slots, hidden, prompts), answers_only=True)
    writer = trained.slots.writer(dict(enumerate(prompts)))
    with tiny_vlm.hook(tiny_vlm.structure.embedding, writer):
        scored = tiny_vlm.score([trained.slots.before(q) for q in queries], ["Ann", "Bob"])
    for given, got in zip(logits, scored, strict=True):
        ids = torch.as_tensor(got.target_ids, dtype=torch.long)
        np.testing.assert_allclose(got.logprobs, given.log_softmax(-1).gather(1, ids[:, None])[:, 0], atol=1e-4)


def test_a_slot_in_the_words_of_a_question_is_words(trained, tiny_vlm):
    query = Query(f"Where{trained.slots.written.text}?")
    ids = tiny_vlm.prompt_ids([trained.slots.before(query)])[0]
    at = trained.slots.where(ids, torch.ones(len(ids), dtype=torch.bool)).nonzero()[:, 0]
    assert at.tolist() == [0, 1, 2]


def test_training_beats_the_untrained_self_on_edits_it_never_saw(trained, tiny_vlm, stream):
    fresh = Recipe(tiny_vlm, trained.options)
    nll = {}
    for name, editor in (("trained", trained), ("fresh", fresh)):
        x = editor.reader.features([knowledge_of(e.query, e.target) for e in stream.edits])
        told = editor.reader.answers([e.target for e in stream.edits], editor.options.answer_tokens)
        prompts = editor.modules.prompt(editor.modules.knowledge(x), told)
        queries = [editor.slots.before(e.query) for e in stream.edits]
        with tiny_vlm.hook(tiny_vlm.structure.embedding, editor.slots.writer(dict(enumerate(prompts)))):
            nll[name] = np.mean([s.nll for s in tiny_vlm.score(queries, [e.target for e in stream.edits])])
    assert nll["trained"] < nll["fresh"] - 0.1


def test_a_text_router_cannot_tell_equal_prompts_apart_and_one_with_pictures_can(tiny_vlm):
    """Its failure mode: one prompt for every picture (as in captioning) is one key."""
    other = Query(EDIT.query.prompt, ImageRef("noise:b", "b"))
    text = Recipe(tiny_vlm, RecipeOptions(width=16)).encode([EDIT.query, other])
    both = Recipe(tiny_vlm, RecipeOptions(width=16, keys="both")).encode([EDIT.query, other])
    assert np.array_equal(text["query"][0], text["query"][1])
    assert np.abs(both["query"][0] - both["query"][1]).max() > 1e-3


def test_the_papers_prompt_writer_never_sees_the_answers_tokens():
    writer = PromptWriter(8, 3, 4, answer_tokens=0)
    rep = torch.randn(2, 8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(writer(rep), writer(rep, torch.ones(2, 0, 4))) and writer.copy is None


def test_what_words_cannot_tell_apart_is_not_asked_of_a_router_of_words(stream):
    """Generic prompts of one relation, and a near question of that relation: only pictures tell them apart."""
    base = stream.pool(24, 0).items[0]
    kinds = zip(base.probes, ("near", "far"), strict=False)
    probes = tuple(replace(p, axis="locality", variant=v, reference="baseline") for p, v in kinds)
    items = [
        PoolItem(replace(base.edit, id=i, subject=i, relation="name", prompt_kind="generic"), probes)
        for i in ("a", "b")
    ]
    words, looks = ([feature_example(item, FeatureTable(), pictures=p) for item in items] for p in (False, True))
    assert len(draw_examples(words, 2, np.random.default_rng(0))) == 1
    assert len(draw_examples(looks, 2, np.random.default_rng(0))) == 2
    assert len(words[0].apart) == 1 and len(looks[0].apart) == len(looks[0].outside) == 2
