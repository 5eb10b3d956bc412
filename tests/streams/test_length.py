"""Claims about length: a shorter stream is the beginning of a longer one, in every order, with the same probes."""

import json
from typing import Any

import pytest

from streams.orders.order import ORDERS, PERMUTING
from streams.stream import load_stream

OTHER_WAYS = ("shuffled", "bursts", "reedits", "modal_conflicts", "near_misses")
"""Orders that are each made in a way of its own; the others permute or bind as one of these does."""


def cases() -> list[Any]:
    marks = {("atlas", order): pytest.mark.soak for order in ORDERS if order not in OTHER_WAYS}
    pairs = [(name, order) for name in ("toy", "atlas") for order in ORDERS]
    return [pytest.param(*pair, marks=[marks[pair]] if pair in marks else []) for pair in pairs]


@pytest.mark.parametrize(("name", "order"), cases())
def test_a_shorter_stream_is_the_beginning_of_a_longer_one(name: str, order: str) -> None:
    long, short, shortest = (load_stream(name, edits=n, seed=3, order=order) for n in (200, 20, 7))
    assert len(long) == 200
    assert long.edits[:20] == short.edits and long.edits[:7] == shortest.edits
    assert all(long.probes(e.id) == short.probes(e.id) for e in short.edits)
    assert len({long.digest, short.digest, shortest.digest}) == 3


@pytest.mark.parametrize("change", [{"identity": 0.5}, {"updates": 0.5}, {"translations": 0.0}, {"split": "tune"}])
def test_options_of_the_atlas_keep_the_beginning(change: dict) -> None:
    long, short = (load_stream("atlas", edits=n, seed=0, known="all", **change) for n in (150, 30))
    assert long.edits[:30] == short.edits and all(long.probes(e.id) == short.probes(e.id) for e in short.edits)


def test_a_stream_longer_than_the_world_begins_as_one_that_fits() -> None:
    long, short = (load_stream("atlas", edits=n, seed=0, known="all", order="bursts") for n in (11_000, 8_000))
    assert long.edits[:8000] == short.edits and any(e.supersedes for e in long.edits)


@pytest.mark.parametrize("order", ["file", *PERMUTING])
def test_a_file_cut_short_is_the_beginning_of_the_file(order: str, tmp_path) -> None:
    records = [{"prompt": f"Who is {i}?", "target": f"P{i}", "relation": "abc"[i % 3]} for i in range(90)]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, records)))
    long, short = (load_stream("jsonl", edits=n, path=str(tmp_path / "a.jsonl"), order=order) for n in (90, 12))
    assert long.edits[:12] == short.edits and len(long) == 90
