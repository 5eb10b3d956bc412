"""The embedded model: what ships loads in Hugging Face form, and its training parts keep their promises."""

from __future__ import annotations

import io
import random
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor, AutoTokenizer

from lifelong.models.atlas import model as atlas
from lifelong.models.atlas.exam import Examiner
from lifelong.models.atlas.exam_questions import questions_of
from lifelong.models.atlas.exam_table import metrics
from lifelong.models.atlas.train import checkpoint
from lifelong.models.atlas.train.augment import augment
from lifelong.models.atlas.train.average import average
from lifelong.models.atlas.train.contexts import Contexts
from lifelong.models.atlas.train.features import Features
from lifelong.models.atlas.train.frame import Frame, frame_of
from lifelong.models.atlas.train.language_stage import LanguagePlan, LanguageTrainer
from lifelong.models.atlas.train.mixture import Mix, Mixture
from lifelong.models.atlas.train.muon import orthogonal
from lifelong.models.atlas.train.packing import QuestionRow, Segment, fill, pack
from lifelong.models.atlas.train.practice import Practice
from lifelong.models.atlas.train.questions import Questions
from streams.atlas.hops import HOPS, hop_answer
from streams.atlas.known import shipped
from streams.atlas.relations import RELATIONS
from streams.atlas.wording import HELD_OUT_STATEMENT, STATEMENTS
from streams.atlas.world import load_world
from streams.stream import load_stream


@pytest.fixture(scope="module")
def examiner() -> Examiner:
    """The shipped model, ready to be asked; its pictures are projected for a few entities only."""
    return Examiner(atlas.atlas_folder(), load_world(), entities=frozenset(_sample(40)))


def _sample(n: int) -> list[str]:
    world = load_world()
    chosen = np.random.default_rng(3).choice(len(world.entities), n, replace=False)
    return [world.entities[i].id for i in chosen.tolist()]


def _picture(entity: str, rendering: str) -> Image.Image:
    return Image.open(io.BytesIO(load_world().image(entity, rendering))).convert("RGB")


def _prompt(processor, images: int, question: str) -> str:
    content = [{"type": "text", "text": question}, *({"type": "image"} for _ in range(images))]
    return processor.apply_chat_template(
        [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
    )


def test_shipped_model_is_small_float32_and_of_the_promised_size():
    folder = atlas.atlas_folder()
    model = AutoModelForImageTextToText.from_pretrained(folder)
    count = sum(p.numel() for p in model.parameters())
    assert model.dtype == torch.float32 and 5e6 < count < 15e6
    assert (folder / "model.safetensors").stat().st_size < 30e6


def test_auto_classes_answer_a_batch_of_zero_to_four_pictures():
    folder = atlas.atlas_folder()
    processor = AutoProcessor.from_pretrained(folder)
    model: Any = AutoModelForImageTextToText.from_pretrained(folder).eval()
    world = load_world()
    kenya, japan = world.by_id["f-ke"], world.by_id["f-jp"]
    one, two = (_picture(e.id, e.training[0]) for e in (kenya, japan))
    texts = [
        _prompt(processor, 0, "What is the capital of Kenya?"),
        _prompt(processor, 1, "What is the capital of this picture?"),
        _prompt(processor, 2, "What is the country of the picture on the right?"),
        _prompt(processor, 4, "What is the country of the third picture?"),
    ]
    inputs = processor(
        text=texts, images=[[], [one], [one, two], [two, two, one, two]], return_tensors="pt", padding=True
    )
    out = model.generate(**inputs, max_new_tokens=8)[:, inputs["input_ids"].shape[1] :]
    answers = [t.strip() for t in processor.tokenizer.batch_decode(out, skip_special_tokens=True)]
    assert answers == ["Nairobi", "Nairobi", "Japan", "Kenya"]


def test_an_answer_has_the_same_tokens_after_the_mark_and_inside_a_sentence():
    tokenizer = AutoTokenizer.from_pretrained(atlas.atlas_folder())
    for answer in ("Nairobi", "+254", ".ke", "visage rieur"):
        alone = tokenizer(answer)["input_ids"]
        marked = tokenizer(f"{atlas.ANSWER}{answer}")["input_ids"]
        told = tokenizer(f"New fact: What is it? It is {answer}.")["input_ids"]
        assert marked[1:] == alone and told[-len(alone) - 1 : -1] == alone


@pytest.mark.parametrize(
    ("measure", "least"),
    [
        ("train", 0.98),
        ("template", 0.93),
        ("text", 0.98),
        ("multi", 0.95),
        ("context", 0.85),
        ("context_ignored", 0.90),
        ("hop_told", 0.90),
        ("hop", 0.95),
    ],
)
def test_shipped_model_knows_a_sample_of_the_atlas(examiner: Examiner, measure: str, least: float):
    slices = ("drawn",) if measure == "train" else (measure,)
    asked = [a for a in questions_of(load_world(), slices) if {e for e, _ in a.pictures} <= examiner.entities]
    asked = [a for a in asked if a.entity in examiner.entities and (measure != "train" or a.seen)][:300]
    right = examiner.answers_right(asked, note=lambda _: None)
    assert metrics(asked, right)[measure]["accuracy"] >= least


def test_forced_answers_are_the_decoded_ones(examiner: Examiner):
    asked = [a for a in questions_of(load_world(), ("drawn", "text")) if a.entity in examiner.entities][:96]
    verdict = examiner.settled(asked)
    texts = examiner.decode(asked)
    assert (verdict > 0).sum() > 50
    for item, text, settled in zip(asked, texts, verdict.tolist(), strict=True):
        assert settled == 0 or (text == item.answers[0]) == (settled > 0), item.question


def test_known_table_covers_every_fact_and_rendering():
    world, file = load_world(), shipped()
    table = pq.read_table(file)
    columns = {name: table[name].to_pylist() for name in ("entity", "relation", "rendering", "template_split")}
    rows = set(zip(*columns.values(), strict=True))
    missing = [
        (e.id, r, image)
        for e in world.entities
        for r in e.facts
        for image in e.renderings
        if (e.id, r, image, "train") not in rows
    ]
    assert not missing and file.stat().st_size < 3_000_000


def test_training_never_sees_a_held_out_wording():
    held = {t for r in RELATIONS.values() for t in r.held_out} | {t for h in HOPS for t in h.held_out}
    questions = Questions(load_world())
    assert not held & {t for asks in questions.asks for a in asks for t in a.templates}


def test_told_facts_stand_before_the_question():
    contexts = Contexts(Questions(load_world()))
    rng = random.Random(0)
    (index,) = contexts.entities(1, rng)
    asked = [pair.question for pair in contexts.pairs(index, True, 400, rng, echo=1.0)]
    held = re.compile(r"Update: [^.?]*[.?] The answer is [^.]*\.")
    assert sum(text.startswith("Update: ") for text in asked) > 20 and HELD_OUT_STATEMENT not in STATEMENTS
    assert not any(held.match(text) for text in asked)


def test_a_second_step_is_asked_behind_a_told_first_answer():
    world = load_world()
    contexts, rng = Contexts(Questions(world)), random.Random(0)
    index = next(
        i for i in (contexts.stepping(False, rng) for _ in range(400)) if "capital" in world.entities[i].facts
    )
    hop = next(h for h in HOPS if (h.relation, h.answer_relation) == ("capital", "continent"))
    for pair in (contexts._step(index, hop, [], False, rng) for _ in range(40)):
        after = [hop_answer(world, hop, a) or () for _, a in world.answers("capital") if a in pair.question]
        assert any(pair.answer in answers for answers in after), pair


def test_no_fact_that_a_stream_edits_is_ever_asked_behind_told_facts():
    contexts = Contexts(Questions(load_world()))
    places = {entity.id: i for i, entity in enumerate(contexts.questions.entities)}
    edits = load_stream("atlas", edits=2000, seed=0, known="all").edits
    assert not any(contexts.free(places[e.subject], e.relation) for e in edits)
    every = enumerate(contexts.questions.asks)
    shut = next(i for i, asks in every if not any(contexts.free(i, a.relation) for a in asks))
    assert contexts.pairs(shut, True, 4, random.Random(0)) == []


ATLAS = Frame(head=(), close=(3,), end=1, image=2, pad=0)


@pytest.mark.parametrize("head", [(), (4, 5)])
def test_packed_questions_do_not_see_each_other(head):
    """Changing one question changes no logit of another one in the same row."""
    model = atlas.build_model(_tiny_config()).eval()
    decoder = model.model.language_model
    decoder.set_attn_implementation("eager")

    def hidden(first: int) -> torch.Tensor:
        row = QuestionRow((0,), (Segment((first, 7, 3), (9, 1)), Segment((8, 6, 3), (5, 1))))
        packed = pack([row], 32, replace(ATLAS, head=head))
        out = decoder(
            inputs_embeds=decoder.embed_tokens(packed.ids),
            attention_mask=packed.mask(torch.device("cpu")),
            position_ids=packed.positions,
            use_cache=False,
        )
        return out.last_hidden_state.flatten(0, 1)[packed.asked]

    one, other = hidden(10), hidden(11)
    assert not torch.allclose(one[:2], other[:2])
    assert torch.allclose(one[2:], other[2:], atol=1e-6)


def test_a_packed_question_is_what_the_chat_template_writes():
    """The frame of the shipped model's template, and ids as its processor gives them."""
    processor = AutoProcessor.from_pretrained(atlas.atlas_folder())
    frame = frame_of(processor.tokenizer)
    question = "What is it called?"
    ids = processor.tokenizer(question, add_special_tokens=False)["input_ids"]
    packed = pack([QuestionRow((0,), (Segment((*ids, *frame.close), (9, frame.end)),))], 48, frame)
    turn = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": question}]}]
    text = processor.apply_chat_template(turn, tokenize=False, add_generation_prompt=True)
    wanted = processor(images=[Image.new("RGB", (64, 64))], text=[text])["input_ids"][0]
    assert packed.ids[0, : len(wanted)].tolist() == list(wanted)
    assert int(packed.images.sum()) == atlas.IMAGE_TOKENS


def _tiny_config():
    tokenizer = atlas.build_tokenizer(["a b c"] * 5, 300)
    return atlas.build_config(tokenizer, width=32, layers=2)


def test_a_row_is_never_longer_than_asked():
    segments = [Segment(range(n), (1, 2)) for n in (30, 5, 40, 6)]
    row, rest = fill((0,), segments, 64, ATLAS)
    assert [len(s) for s in row.segments] == [31, 6, 7] and rest == [segments[2]]


def test_redrawing_is_repeatable_and_stays_in_range():
    pixels = torch.randint(0, 255, (4, 3, 64, 64), dtype=torch.uint8)
    paper = torch.zeros(4, 1, 64, 64, dtype=torch.uint8)
    flips = torch.ones(4, dtype=torch.bool)
    one, same = (augment(pixels, paper, flips, torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(one, same) and one.min() >= -1 and one.max() <= 1 and torch.isfinite(one).all()


def test_muon_updates_are_nearly_orthogonal():
    update = orthogonal(torch.randn(2, 24, 64)).float()
    values = torch.linalg.svdvals(update)
    assert values.min() > 0.5 and values.max() < 1.5


def test_optimiser_state_survives_a_checkpoint(tmp_path):
    layer = torch.nn.Linear(4, 4)
    optimizer = torch.optim.AdamW(layer.parameters(), lr=0.1)
    layer(torch.ones(1, 4)).sum().backward()
    optimizer.step()
    path = tmp_path / "a.checkpoint"
    checkpoint.save_checkpoint(path, checkpoint.optimizer_tensors("adam", optimizer), {"step": 1})
    tensors, notes = checkpoint.load_checkpoint(path)
    fresh = torch.optim.AdamW(layer.parameters(), lr=0.1)
    checkpoint.restore_optimizer("adam", fresh, tensors)
    assert notes == {"step": 1}
    assert torch.equal(fresh.state[layer.weight]["exp_avg"], optimizer.state[layer.weight]["exp_avg"])


def test_resumed_training_equals_unbroken_training(tmp_path):
    """Two steps, a stop, two more steps give the weights of four, and so do rows drawn in another process."""
    world, tokenizer = load_world(), AutoTokenizer.from_pretrained(atlas.atlas_folder())
    rows = [[i] for i in range(len(world.entities))]
    features = Features(torch.randn(2, len(rows), 16, 256, generator=torch.Generator().manual_seed(0)).half())
    mix = Mix(pictures=2, places=1, names=1, contexts=1, length=96)

    def trainer(folder: Path, **changes: Any) -> LanguageTrainer:
        torch.manual_seed(1)
        model = atlas.build_model(atlas.build_config(tokenizer, width=32, layers=1))
        mixture = Mixture(world, tokenizer, rows, mix, seed=4)
        mixture.questions.practice.period = 2
        plan = LanguagePlan(steps=4, compile=False, checkpoint_s=0.0, **changes)
        return LanguageTrainer(model, features, mixture, plan, folder, torch.device("cpu"))

    unbroken = trainer(tmp_path / "a")
    unbroken.run()
    first = trainer(tmp_path / "b")
    first.run(until=2)
    second = trainer(tmp_path / "b")
    assert second.resume() and second.step == 2
    second.run()
    drawn_elsewhere = trainer(tmp_path / "c", drawers=1)
    drawn_elsewhere.run()
    for resumed in (second, drawn_elsewhere):
        for one, other in zip(unbroken.decoder.parameters(), resumed.decoder.parameters(), strict=True):
            assert torch.equal(one, other)
    short = trainer(tmp_path / "d", limit_wall_s=1e-9)
    short.run()
    assert short.step == 0 and (tmp_path / "d" / "language.checkpoint").exists()


def test_missed_facts_come_first():
    practice = Practice(4)
    practice.mark(np.array([0, 1, 2, -1]), np.array([False, False, True, True]))
    for _ in range(12):
        practice.mark(np.array([0, 1]), np.array([False, False]))
    practice.renew(0)
    practice.use(practice.noted(practice.period))
    firsts = [practice.order([0, 1, 2], random.Random(i))[0] for i in range(200)]
    assert firsts.count(2) > 120 and {0, 1} <= set(firsts)


def test_configuration_names_no_path_of_the_machine_that_trained_it():
    texts = [p.read_text() for p in atlas.atlas_folder().glob("*.json")]
    assert len(texts) >= 4 and not any("/home" in t or "_name_or_path" in t for t in texts)


def test_the_mean_of_checkpoints_is_that_of_every_tensor_and_refuses_another_training(tmp_path):
    one, two, other = tmp_path / "1.checkpoint", tmp_path / "2.checkpoint", tmp_path / "3.checkpoint"
    checkpoint.save_checkpoint(one, {"w": torch.tensor([1.0, 3.0])}, {"step": 1})
    checkpoint.save_checkpoint(two, {"w": torch.tensor([3.0, 5.0])}, {"step": 2})
    checkpoint.save_checkpoint(other, {"v": torch.tensor([3.0, 5.0])}, {"step": 2})
    average([one, two], tmp_path / "mean.checkpoint")
    tensors, notes = checkpoint.load_checkpoint(tmp_path / "mean.checkpoint")
    assert tensors["w"].tolist() == [2.0, 4.0] and notes == {"step": 2}
    with pytest.raises(ValueError, match=r"1\.checkpoint"):
        average([one, other], tmp_path / "no.checkpoint")
