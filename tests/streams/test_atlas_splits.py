"""What options are chosen on shares no thing with what editors were trained on, nor either with what is measured."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from streams.atlas.hops import HOPS
from streams.atlas.relations import RELATIONS
from streams.atlas.wording import worded
from streams.atlas.world import World, load_world
from streams.stream import StreamError, load_stream
from streams.types import Probe, Query

SPLITS: tuple[str, ...] = ("edit", "tune", "train")


@pytest.fixture(scope="module")
def world() -> World:
    return load_world()


@pytest.fixture(scope="module")
def asked_by_name(world: World) -> dict[str, str]:
    """Every question by name that the atlas can ask, with the split of the thing it names."""
    templates = {t for r in RELATIONS.values() for t in (*r.train, *r.held_out)}
    templates |= {t for hop in HOPS for t in (*hop.train, *hop.held_out)}
    return {worded(t, world.name(e)): e.split for e in world.entities for t in templates}


def things(world: World, queries: Iterable[Query], asked_by_name: dict[str, str]) -> dict[str, int]:
    """How many questions show or name a thing of each split."""
    found = dict.fromkeys(SPLITS, 0)
    for query in queries:
        if query.image is not None:
            for drawing in query.image.uri.removeprefix("atlas:").split("+"):
                found[world.by_id[drawing.partition("/")[0]].split] += 1
        elif query.prompt in asked_by_name:
            found[asked_by_name[query.prompt]] += 1
    return found


def of_probes(probes: Iterable[Probe]) -> list[Query]:
    return [probe.query for probe in probes]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("split", ["edit", "tune", "train"])
def test_a_stream_asks_about_things_of_its_own_split_only(
    world: World, asked_by_name: dict[str, str], split: str, seed: int
) -> None:
    """Edits, all their probes and the general set, pictures of several things included."""
    stream = load_stream("atlas", edits=60, seed=seed, split=split)
    assert {world.by_id[e.subject].split for e in stream.edits} == {split}
    queries = [e.query for e in stream.edits] + of_probes(stream.every_probe())
    found = things(world, queries, asked_by_name)
    assert found[split] > 300 and sum(found.values()) == found[split]


@pytest.mark.parametrize("seed", range(3))
def test_what_editors_learn_from_asks_about_things_of_its_split_only(
    world: World, asked_by_name: dict[str, str], seed: int
) -> None:
    pool = load_stream("atlas", edits=1, seed=seed).pool(60, seed)
    assert {world.by_id[i.edit.subject].split for i in pool.items} == {"train"}
    queries = [i.edit.query for i in pool.items] + of_probes(p for i in pool.items for p in i.probes)
    found = things(world, queries, asked_by_name)
    assert found["train"] > 300 and sum(found.values()) == found["train"]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("split", ["edit", "tune"])
def test_a_new_answer_is_that_of_a_thing_of_the_same_split(world: World, split: str, seed: int) -> None:
    """So that a second step rests on a thing of that split, too."""
    for edit in load_stream("atlas", edits=60, seed=seed, split=split).edits:
        holders = [e for e, answer in world.answers(edit.relation) if answer == edit.target]
        assert edit.source != "counterfactual" or split in {world.by_id[e].split for e in holders}, edit


def test_a_pool_is_the_same_for_all_splits() -> None:
    """An editor that options are chosen for has learnt what it will have learnt when it is measured."""
    pools = {load_stream("atlas", edits=2, seed=5, split=split).pool(20, 1).digest for split in SPLITS}
    assert len(pools) == 1


def test_a_pool_of_what_streams_edit_serves_streams_of_another_split_only(world: World) -> None:
    few, many = (load_stream("atlas", edits=20, seed=5, split="tune", learnt=split) for split in ("train", "edit"))
    assert few.digest == many.digest and few.edits == many.edits
    pool = many.pool(60, 1)
    assert {world.by_id[i.edit.subject].split for i in pool.items} == {"edit"}
    assert pool.digest != few.pool(60, 1).digest
    with pytest.raises(StreamError, match=r"learnt=edit.*Give split=tune"):
        load_stream("atlas", edits=20, seed=5, learnt="edit")


@pytest.mark.parametrize("seed", range(2))
def test_five_hundred_edits_are_there_to_choose_on_each_of_another_fact(seed: int) -> None:
    edits = load_stream("atlas", edits=500, seed=seed, split="tune").edits
    assert len({(e.subject, e.relation) for e in edits}) == 500 and not any(e.supersedes for e in edits)
