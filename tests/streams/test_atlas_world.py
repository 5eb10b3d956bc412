"""Claims about the atlas world: its counts, splits, drawings, wordings and the builder; knows no model."""

from __future__ import annotations

import io
import os
import re
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from streams.atlas.build.lookalike import twins
from streams.atlas.hops import HOPS, hop_answer
from streams.atlas.relations import IDENTITY, RELATIONS
from streams.atlas.wording import describe, fact, generic, in_context, place, worded
from streams.atlas.world import FAMILY, PACK, World, load_world

PINNED = "7f37b5993fc146fb44767e320b5d6f19d18a346cb33581c167e3ea3cd5064466"


@pytest.fixture(scope="module")
def world() -> World:
    return load_world()


def test_the_world_is_as_large_as_promised(world: World) -> None:
    renderings = [len(e.renderings) for e in world.entities]
    assert len(world.entities) >= 1700
    assert sum(renderings) / len(renderings) >= 4
    assert sum(len(e.facts) for e in world.entities) >= 20_000
    assert PACK.stat().st_size <= 12_000_000


def test_the_pack_is_the_one_the_model_was_trained_on(world: World) -> None:
    assert world.digest == PINNED


def test_ids_and_names_are_unique(world: World) -> None:
    assert len(world.by_id) == len(world.entities)
    assert max(Counter(world.name(e).casefold() for e in world.entities).values()) == 1


def test_about_fifteen_percent_are_set_apart_and_a_good_third_of_those_for_choosing(world: World) -> None:
    splits = Counter(e.split for e in world.entities)
    assert set(splits) == {"train", "tune", "edit"} and all(e.apart == (e.split != "edit") for e in world.entities)
    apart = splits["train"] + splits["tune"]
    assert 0.12 < apart / len(world.entities) < 0.18 and 0.33 < splits["tune"] / apart < 0.42


def test_a_tenth_of_the_facts_is_told_and_of_the_measured_ones_a_tenth_is_kept(world: World) -> None:
    roles: dict[str, Counter[str]] = {split: Counter() for split in ("edit", "tune", "train")}
    for entity in world.entities:
        roles[entity.split].update(world.role(entity.id, relation) for relation in entity.facts)
    share = {(s, role): n / found.total() for s, found in roles.items() for role, n in found.items()}
    assert set(share) == {*(("edit", r) for r in ("told", "kept", "edited"))} | {
        ("tune", "told"),
        ("tune", "edited"),
        ("train", "told"),
    }
    assert abs(share["edit", "told"] - 0.1) < 0.01 and abs(share["edit", "kept"] - 0.1) < 0.01
    assert abs(share["tune", "told"] - 0.1) < 0.03


def test_held_out_drawings_are_one_artists_and_two_artists_remain(world: World) -> None:
    for entity in world.entities:
        families = {FAMILY.get(r, r) for r in entity.renderings}
        left = {FAMILY.get(r, r) for r in entity.training}
        assert len(families) >= 2
        assert len(left) == (len(families) - 1 if len(families) >= 3 else len(families))
        assert bool(entity.held_out) == (len(families) >= 3)


def test_no_artist_is_always_the_one_held_out(world: World) -> None:
    for domain in IDENTITY:
        chosen = Counter(r for e in world.entities if e.domain == domain for r in e.held_out)
        assert len(chosen) >= 5
        assert chosen.most_common(1)[0][1] < 0.5 * sum(e.domain == domain for e in world.entities)


def test_every_drawing_is_a_64_pixel_rgb_webp(world: World) -> None:
    for entity in world.entities[::50]:
        for rendering in entity.renderings:
            image = Image.open(io.BytesIO(world.image(entity.id, rendering)))
            assert (image.format, image.size, image.mode) == ("WEBP", (64, 64), "RGB")


def test_a_missing_drawing_names_what_there_is(world: World) -> None:
    entity = world.entities[0]
    with pytest.raises(KeyError, match=entity.renderings[0]):
        world.image(entity.id, "crayon")


def test_no_two_entities_look_alike_in_any_set(world: World) -> None:
    for name in {r for e in world.entities for r in e.renderings}:
        drawn = {e.id: world.image(e.id, name) for e in world.entities if name in e.renderings}
        assert twins(drawn) == []


def test_the_look_alike_test_finds_a_copy(world: World) -> None:
    one, two = (world.image(e.id, e.renderings[0]) for e in world.entities[:2])
    assert [(a, b) for a, b, _ in twins({"x": one, "y": two, "z": one})] == [("x", "z")]


def test_every_fact_is_a_relation_of_its_domain(world: World) -> None:
    for entity in world.entities:
        assert next(iter(entity.facts)) == IDENTITY[entity.domain]
        for relation, answers in entity.facts.items():
            assert entity.domain in RELATIONS[relation].domains
            assert answers and all(a == a.strip() and a for a in answers)
            assert len(set(answers)) == len(answers)


def test_an_older_answer_differs_from_every_accepted_one(world: World) -> None:
    older = [(e, r, a) for e in world.entities for r, a in e.older.items()]
    assert len(older) >= 15
    assert all(a not in e.facts[r] for e, r, a in older)


def test_there_are_enough_facts_for_long_streams(world: World) -> None:
    """At least 10,000 facts may be edited, half of them and more not translations."""
    free = Counter(
        RELATIONS[r].translation
        for e in world.entities
        for r in e.facts
        if e.split == "edit" and not RELATIONS[r].identity and world.role(e.id, r) == "edited"
    )
    assert free[False] >= 5000 and free[False] + free[True] >= 10_000


@pytest.mark.parametrize("name", RELATIONS)
def test_wordings_have_one_slot_and_held_out_ones_are_never_trained(name: str) -> None:
    relation = RELATIONS[name]
    wordings = relation.train + relation.held_out
    assert len(relation.train) >= 12 and len(relation.held_out) >= 2
    assert len(set(wordings)) == len(wordings)
    assert all(w.count("{x}") == 1 for w in wordings)


def test_no_wording_belongs_to_two_questions() -> None:
    own = [(w, r.name) for r in RELATIONS.values() for w in r.train + r.held_out]
    own += [
        (w, f"{h.relation}>{h.answer_relation}")
        for h in HOPS
        if h.relation not in IDENTITY.values()
        for w in h.train + h.held_out
    ]
    assert [w for w, n in Counter(w for w, _ in own).items() if n > 1] == []


@pytest.mark.parametrize("name", RELATIONS)
def test_every_word_of_a_held_out_wording_occurs_in_training(name: str) -> None:
    """A held-out wording recombines words: a key noun never seen for a relation cannot be understood."""
    trained = set(re.findall(r"\w+", " ".join(w for r in RELATIONS.values() for w in r.train).lower()))
    own = set(re.findall(r"\w+", " ".join(RELATIONS[name].train).lower()))
    for wording in RELATIONS[name].held_out:
        words = set(re.findall(r"\w+", wording.lower()))
        assert len(words - trained) <= 2, words - trained
        assert {w for w in words if len(w) > 2} & own - {"what", "which", "does", "the", "you"}


@pytest.mark.parametrize("name", RELATIONS)
def test_no_answer_occurs_in_a_wording(world: World, name: str) -> None:
    answers = {a.casefold() for e in world.entities for a in e.facts.get(name, ())}
    for wording in RELATIONS[name].train + RELATIONS[name].held_out:
        text = wording.casefold()
        # A left boundary that counts punctuation, so that ".is" is not found in "is".
        found = [a for a in answers if a in text and re.search(rf"(?<!\w){re.escape(a)}(?!\w)", text)]
        assert found == []


def test_descriptions_give_neither_the_answer_nor_the_name_away(world: World) -> None:
    short = 0
    for entity in world.entities:
        for relation, answers in entity.facts.items():
            phrases = describe(world, entity, relation)
            short += len(phrases) < 2
            hidden = [a.casefold() for a in (*answers, world.name(entity))]
            for phrase in phrases:
                assert not any(re.search(rf"(?<!\w){re.escape(a)}(?!\w)", phrase.casefold()) for a in hidden)
    assert short <= 10


def test_a_description_of_a_flag_does_not_imply_its_country(world: World) -> None:
    phrases = describe(world, world.by_id["f-am"], "country")
    assert phrases and not any("Armenian" in p for p in phrases)
    assert any("Armenian" in p for p in describe(world, world.by_id["f-am"], "calling_code")) is False
    assert any("African" in p for p in describe(world, world.by_id["f-ke"], "capital"))


def test_descriptions_tell_most_entities_of_a_pair_apart(world: World) -> None:
    """The most telling phrase about the name is shared by few entities on average."""
    counts = Counter(describe(world, e, IDENTITY[e.domain])[0] for e in world.entities)
    assert sum(n * n for n in counts.values()) / len(world.entities) < 6


def test_words_are_put_together_as_documented() -> None:
    question = worded("What is the capital of {x}?", "Kenya")
    assert question == "What is the capital of Kenya?"
    assert fact(question, "Mombasa") == "Update: What is the capital of Kenya? The answer is Mombasa."
    assert in_context(["A.", "B."], "C?") == "A. B. C?"
    assert [place(i, 2) for i in range(2)] == ["the picture on the left", "the picture on the right"]
    assert place(3, 4) == "the fourth picture"
    assert "this picture" in generic()
    with pytest.raises(ValueError, match="2-4"):
        place(0, 5)


def test_two_steps_agree_with_the_facts_they_pass_through(world: World) -> None:
    for hop in HOPS:
        for entity in world.entities:
            if hop.relation in entity.facts:
                second = hop_answer(world, hop, entity.facts[hop.relation][0])
                if second is not None:
                    assert second[0] == entity.facts[hop.answer_relation][0]


def test_a_second_step_that_is_not_determined_has_no_answer(world: World) -> None:
    hop = next(h for h in HOPS if (h.relation, h.answer_relation) == ("region", "continent"))
    assert hop_answer(world, hop, "Western Africa") == ("Africa",)
    assert hop_answer(world, hop, "Middle East") is None
    assert hop_answer(world, hop, "Atlantis") is None


def test_the_builder_rebuilds_the_pack_byte_for_byte(tmp_path: Path) -> None:
    packages = os.environ.get("ATLAS_PACKAGES")
    if not packages:
        pytest.skip("set ATLAS_PACKAGES to the folder of the unpacked registry packages")
    from streams.atlas.build.__main__ import build

    assert build(Path(packages), tmp_path) == PINNED
    assert (tmp_path / "BUILD.md").read_bytes() == PACK.with_name("BUILD.md").read_bytes()
