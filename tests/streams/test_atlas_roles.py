"""What should stay is asked about facts that the embedded model was never told in training, whatever the stream."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from lifelong.models.atlas.train.contexts import Contexts
from lifelong.models.atlas.train.questions import Questions
from streams.atlas.catalogue import Catalogue
from streams.atlas.known import read_known
from streams.atlas.relations import RELATIONS
from streams.atlas.wording import place, worded
from streams.atlas.world import World, load_world
from streams.orders.order import ORDERS
from streams.stream import Stream, load_stream
from streams.types import Probe

NO_FACT = ("text-edit/image-none", "not")  # nobody can tell what is meant; the edited fact itself with a not


@pytest.fixture(scope="module")
def world() -> World:
    return load_world()


@pytest.fixture(scope="module")
def contexts(world: World) -> Contexts:
    return Contexts(Questions(world))


@pytest.fixture(scope="module")
def by_name(world: World) -> dict[str, tuple[str, str]]:
    """Every plain question by name -> the fact that it asks."""
    return {
        worded(t, world.name(e)): (e.id, r)
        for e in world.entities
        for r in e.facts
        for t in (*RELATIONS[r].train, *RELATIONS[r].held_out)
    }


def asked_fact(world: World, by_name: dict[str, tuple[str, str]], probe: Probe) -> tuple[str, str]:
    """The fact that a question asks, from its words, its pictures and its right answer."""
    if probe.query.prompt in by_name:
        return by_name[probe.query.prompt]
    assert probe.query.image is not None, probe
    shown = [d.partition("/")[0] for d in probe.query.image.uri.removeprefix("atlas:").split("+")]
    if len(shown) > 1:
        shown = [e for i, e in enumerate(shown) if place(i, len(shown)) in probe.query.prompt]
    (entity,) = shown
    patterns = {r: [re.escape(t).replace(re.escape("{x}"), ".+") for t in RELATIONS[r].train] for r in RELATIONS}
    facts = world.by_id[entity].facts
    found = [r for r in facts if any(re.fullmatch(p, probe.query.prompt) for p in patterns[r])]
    (relation,) = [r for r in found if facts[r] == probe.answers] or found
    return entity, relation


def staying(stream: Stream) -> list[Probe]:
    """Every question of a stream whose answer should stay and is a fact."""
    found = [p for e in stream.edits for p in stream.probes(e.id)] + list(stream.general)
    return [p for p in found if p.reference == "baseline" and p.variant not in NO_FACT]


@pytest.mark.parametrize("split", ["edit", "tune"])
def test_what_may_be_edited_and_what_may_be_asked_for_locality_was_never_told_in_training(
    world: World, contexts: Contexts, split: str
) -> None:
    catalogue = Catalogue(world, read_known("all", world), split)
    places = {entity.id: i for i, entity in enumerate(world.entities)}
    drawn = {*catalogue.reserve, *catalogue.reserve_text, *catalogue.reserve_picture, *catalogue.editable}
    drawn |= {f for index in (catalogue.named, catalogue.near) for facts in index.values() for f in facts}
    assert len(drawn) > 900 and not any(contexts.free(places[e], r) for e, r in drawn)
    assert (split == "tune") == bool({*catalogue.reserve} & {*catalogue.editable})


@pytest.mark.parametrize("split", ["edit", pytest.param("tune", marks=pytest.mark.soak)])
@pytest.mark.parametrize("order", ORDERS)
def test_no_fact_that_the_model_was_told_in_training_is_edited_or_asked_for_what_should_stay(
    world: World, contexts: Contexts, by_name: dict[str, tuple[str, str]], order: str, split: str
) -> None:
    """Near, far, same picture, same name, grid, specificity and the general set."""
    stream = load_stream("atlas", edits=40, seed=len(order), order=order, split=split, grid=True)
    places = {entity.id: i for i, entity in enumerate(world.entities)}
    probes = staying(stream)
    asked = Counter(asked_fact(world, by_name, p) for p in probes)
    assert len(probes) > 300 and {"locality", "grid", "specificity", "general"} >= {p.axis for p in probes}
    wanted = "kept" if split == "edit" else "edited"
    assert {world.role(*fact) for fact in asked} == {wanted}
    assert {world.role(e.subject, e.relation) for e in stream.edits} == {"edited"}
    edited = {(e.subject, e.relation) for e in stream.edits}
    assert not any(contexts.free(places[e], r) for e, r in (*asked, *edited))
    assert not edited & set(asked)
