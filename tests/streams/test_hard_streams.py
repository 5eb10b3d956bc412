"""Claims about hard streams: what each is hard in, on the atlas and the drawn toy world; replay; error messages."""

from __future__ import annotations

import functools
from collections import Counter
from dataclasses import replace
from itertools import groupby, pairwise

import numpy as np
import pytest

from streams.atlas.looks import difference
from streams.atlas.world import load_world
from streams.orders.mix import BURST, STRETCH
from streams.orders.near_subjects import letters
from streams.orders.order import ADDING, ORDERS, ordered, with_disputes, with_id
from streams.stream import Stream, StreamError, load_stream
from streams.toy import _answer
from streams.types import Edit, Query

WORLD = load_world()
N = 160
HARD = ("near_duplicates", "same_image", "bursts", "drift", "reversals", "near_misses", "modal_conflicts")


@functools.cache
def stream(name: str, order: str, seed: int = 1) -> Stream:
    return load_stream(name, edits=N, seed=seed, order=order)


def named(edit: Edit) -> np.ndarray:
    return letters(f"{edit.relation} of {WORLD.name(WORLD.by_id[edit.subject])}")


def domain(edit: Edit) -> str:
    entity = WORLD.by_id[edit.subject]
    return entity.facts.get("group", (entity.domain,))[0]


def made(kinds: dict[str, int]) -> list[Edit]:
    return [with_id(Edit("", Query(f"{k}{i}"), "a", f"{k}{i}", k)) for k, n in kinds.items() for i in range(n)]


CHOOSING = (
    "near_duplicates",
    "same_image",
    "near_misses",
    "modal_conflicts",
)  # the atlas has its own code for these


@pytest.mark.parametrize(("name", "order"), [("toy", o) for o in HARD] + [("atlas", o) for o in CHOOSING])
def test_a_hard_stream_replays(name: str, order: str) -> None:
    first, again = stream(name, order), load_stream(name, edits=N, seed=1, order=order)
    assert len(first) == N and first.digest == again.digest and first.edits == again.edits
    last = first.edits[-1].id
    assert first.probes(last) == again.probes(last) and first.probes(last)


@pytest.mark.parametrize("order", HARD)
def test_another_seed_gives_another_hard_stream(order: str) -> None:
    assert stream("toy", order, seed=2).edits != stream("toy", order).edits
    assert stream("toy", order, seed=2).digest != stream("toy", order).digest


def test_near_duplicates_follow_each_other() -> None:
    def likeness(order: str) -> float:
        return float(np.mean([named(a) @ named(b) for a, b in pairwise(stream("atlas", order).edits)]))

    assert likeness("near_duplicates") > likeness("shuffled") + 0.3
    for order, least, most in (("near_duplicates", 0.6, 1.0), ("shuffled", 0.0, 0.1)):
        subgroups = [WORLD.by_id[e.subject].subgroup for e in stream("atlas", order).edits]
        assert least <= np.mean([a == b for a, b in pairwise(subgroups)]) <= most
    assert len({(e.subject, e.relation) for e in stream("atlas", "near_duplicates").edits}) == N


def test_a_chain_takes_the_likest_that_is_left() -> None:
    edits = ordered(made({"red fox ": 6, "blue bird ": 6}), "near_duplicates", 0)
    kinds = [e.relation for e in edits]
    assert len(set(edits)) == 12 and sum(a != b for a, b in pairwise(kinds)) == 1


@pytest.mark.parametrize("name", ["toy", "atlas"])
def test_edits_of_one_image_come_together_and_ask_different_facts(name: str) -> None:
    edits = stream(name, "same_image").edits
    assert all(e.query.image for e in edits)
    runs = [list(run) for _, run in groupby(edits, key=lambda e: e.query.image)]
    assert len(runs) == len({e.query.image for e in edits}) and np.mean([len(run) for run in runs]) > 2.4
    for run in runs:
        assert len({e.subject for e in run}) == 1 and len({e.relation for e in run}) == len(run)


def test_bursts_are_of_one_domain_at_a_time() -> None:
    edits = stream("atlas", "bursts").edits
    kinds = Counter(map(domain, edits))
    runs = [(kind, len(list(run))) for kind, run in groupby(edits, key=domain)]
    assert len(kinds) > 5 and len(runs) <= sum(-(-n // BURST) for n in kinds.values())
    short = Counter(kind for kind, n in runs if n < min(BURST, kinds[kind]))
    assert max(short.values(), default=0) <= 1  # a kind's last one


def test_bursts_of_one_kind_meet_only_where_nothing_else_is_left() -> None:
    edits = ordered(made({"a": 60, "b": 60, "c": 60}), "bursts", 3)
    runs = [len(list(run)) for _, run in groupby(edits, key=lambda e: e.relation)]
    assert sum(runs) == 180 and all(n == BURST for n in runs[:-1]) and runs[-1] % BURST == 0


def test_drift_moves_the_mix_slowly_from_one_kind_to_others() -> None:
    edits = ordered(made(dict.fromkeys("abcdefgh", 100)), "drift", 0)
    parts = [edits[i : i + STRETCH] for i in range(0, 8 * STRETCH, STRETCH)]
    windows = np.array([[sum(e.relation == k for e in part) for k in "abcdefgh"] for part in parts]) / STRETCH
    apart = [[float(np.abs(a - b).sum()) / 2 for a in windows] for b in windows]
    assert max(apart[i][i + 1] for i in range(7)) < 0.8 < 0.95 < min(apart[i][i + 4] for i in range(4))
    assert all((window > 0).sum() >= 2 for window in windows)  # a mix, not one kind after another
    assert set(windows.argmax(1).tolist()) == set(range(8))  # each has its turn
    assert set(edits) == set(made(dict.fromkeys("abcdefgh", 100)))


@pytest.mark.parametrize("name", ["toy", "atlas"])
def test_reversals_go_back_to_the_first_truth(name: str) -> None:
    edits = stream(name, "reversals").edits
    before = {e.id: e for e in edits}
    again = [e for e in edits if e.supersedes]
    assert len(again) == round(0.2 * N)
    for edit in again:
        old = before[edit.supersedes or ""]
        truth = (
            WORLD.by_id[edit.subject].facts[edit.relation][0]
            if name == "atlas"
            else _answer("true", edit.subject, edit.relation)
        )
        assert edit.query == old.query and edits.index(old) < edits.index(edit)
        assert (edit.target == truth) != (old.target == truth)
        assert (edit.source == "reversal") == (edit.target == truth)
    assert sum(e.source == "reversal" for e in again) > 0.8 * len(again)


def test_the_second_edit_of_a_fact_comes_soon_and_a_stream_ends_where_no_fact_is_left() -> None:
    fresh = made({"a": 60})

    def other(edit: Edit, _: np.random.Generator) -> Edit:
        return with_id(replace(edit, query=Query(f"By name: {edit.subject}"), target="b"))

    def told(n: int, share: float, second=other) -> tuple[Edit, ...]:
        return with_disputes(fresh, n, share, 3, second)

    assert len(told(50, 0.2)) == 50 and sum(e.target == "b" for e in told(50, 0.2)) == pytest.approx(10, abs=3)
    assert told(50, 0.2)[:20] == told(20, 0.2) and told(50, 0.0) == tuple(fresh[:50])
    every = told(999, 0.9)  # no more than half can be second ones
    assert len(every) == len(set(every)) == 120
    place = {(e.subject, e.target): n for n, e in enumerate(every)}
    assert all(0 < place[e.subject, "b"] - place[e.subject, "a"] <= 60 for e in fresh)
    assert told(999, 0.5, lambda edit, rng: None) == tuple(fresh)


def test_near_misses_ask_as_the_edit_does_about_what_is_nearest_and_untouched() -> None:
    hard, plain = stream("atlas", "near_misses"), stream("atlas", "shuffled")
    assert hard.edits == plain.edits
    touched = {(e.subject, e.relation) for e in hard.edits}
    gaps: dict[str, list[float]] = {"hard": [], "plain": []}
    likeness: dict[str, list[float]] = {"hard": [], "plain": []}
    for edit in hard.edits:
        for kind, source in (("hard", hard), ("plain", plain)):
            for probe in source.probes(edit.id):
                if probe.axis != "locality" or probe.variant == "far":
                    continue
                assert probe.reference == "baseline"
                likeness[kind].append(float(letters(probe.query.prompt) @ letters(edit.query.prompt)))
                if probe.variant == "near" and probe.query.image and edit.query.image:
                    one, other = (_drawn(q) for q in (edit.query, probe.query))
                    assert other[0] != one[0] and (other[0], edit.relation) not in touched
                    assert kind == "plain" or edit.target not in probe.answers
                    gaps[kind].append(difference(WORLD, one, other))
    assert len(gaps["hard"]) > 0.7 * N and np.mean(gaps["hard"]) < 0.7 * np.mean(gaps["plain"])
    assert np.mean(likeness["hard"]) > np.mean(likeness["plain"]) + 0.2


def _drawn(query: Query) -> tuple[str, str]:
    entity, _, rendering = (query.image.uri if query.image else "").removeprefix("atlas:").partition("/")
    return entity, rendering


def test_no_near_miss_is_asked_with_two_answers() -> None:
    asked: dict[str, set] = {}
    hard = stream("atlas", "near_misses")
    for probe in (p for e in hard.edits for p in hard.probes(e.id)):
        asked.setdefault(probe.query.digest, set()).add((probe.reference, probe.answers))
    assert all(len(found) == 1 for found in asked.values())


def test_an_order_that_is_misspelt_is_answered_with_near_ones(tmp_path) -> None:
    with pytest.raises(StreamError, match="Did you mean 'near_duplicates'"):
        load_stream("atlas", edits=4, order="near_duplicate")
    with pytest.raises(StreamError, match="order='burst' is not known. Did you mean 'bursts'"):
        load_stream("toy", edits=4, order="burst")
    (tmp_path / "a.jsonl").write_text('{"prompt": "Who?", "target": "Ann"}\n')
    for order in ADDING:  # a file's own records say what they supersede
        with pytest.raises(StreamError, match="is not known"):
            load_stream("jsonl", edits=1, path=str(tmp_path / "a.jsonl"), order=order)
    assert set(HARD) < set(ORDERS)
