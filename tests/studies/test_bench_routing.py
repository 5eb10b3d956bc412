"""The routing bench: keys are what they are said to be, calls take turns, the page tells met targets from missed."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from lifelong.studies.bench import routing as bench_routing
from lifelong.studies.bench.keys import KeySource, cropped, distinct, key_source, open_crop, unit
from lifelong.studies.bench.routing import array_of, change_rows, filled, first_keys, flat_rows, frontier_rows, taken
from lifelong.studies.bench.routing_page import keep_row, routing_document, rows_about
from reports.figures.routing import draw_frontier
from streams.pictures.images import open_image
from streams.types import ImageRef, Query


@pytest.fixture
def source() -> KeySource:
    rng = np.random.default_rng(0)
    states = {name: rng.normal(size=(n, 4096)) for name, n in (("real", 300), ("rendered", 120), ("cropped", 80))}
    return key_source(states, 256, queries=50)


@pytest.fixture(autouse=True)
def short(monkeypatch) -> None:
    monkeypatch.setattr(bench_routing, "ROUNDS", 8)


def test_keys_are_states_first_then_mixtures_and_the_same_however_they_are_cut(source: KeySource) -> None:
    assert source.counts(1000) == {"real": 300, "rendered": 70, "cropped": 80, "mixed": 550}
    assert source.counts(320) == {"real": 300, "rendered": 20, "cropped": 0, "mixed": 0}
    whole = source.rows(0, 1000)
    assert np.array_equal(whole[:450], source.states) and np.allclose(np.linalg.norm(whole, axis=1), 1, atol=1e-5)
    cut = np.concatenate([source.rows(low, min(170, 1000 - low)) for low in range(0, 1000, 170)])
    assert np.array_equal(whole, cut)
    nearest = (whole[450:] @ source.states.T).max(1)
    assert 0.6 < nearest.min() and nearest.max() < 1  # between two states, and neither of them
    assert not any((source.queries[:, None] == whole[None, :450]).all(-1).ravel())
    assert len(distinct(np.repeat(unit(source.states), 2, axis=0))) == 450


def test_the_bank_of_a_comparison_looks_at_the_same_memory_as_what_it_is_compared_with(source: KeySource) -> None:
    keys = first_keys(source, 600)
    bank = filled(keys)
    whole = array_of(bank, keys)
    assert np.array_equal(whole, keys) and np.shares_memory(whole, bank.shards[0].keys)
    assert np.array_equal(bank.search(whole[:50], 1).rows[:, 0], np.arange(50))
    whole[7] = -whole[7]
    assert bank.search(whole[7:8], 1).ids == [("e7",)]


def test_calls_that_are_compared_take_turns_and_see_equal_queries() -> None:
    seen: dict[str, list[int]] = {"a": [], "b": []}
    found = taken({name: lambda q, n=name: seen[n].append(int(q[0])) for name in seen}, lambda turn: np.array([turn]))
    assert seen["a"] == seen["b"] == list(range(11))
    assert found["a"].shape == (8, 2) and (found["a"] >= 0).all()


def test_every_part_gives_its_rows_and_the_page_holds_them_against_the_targets(source, tmp_path: Path) -> None:
    rows = [*flat_rows(source, 400, "cpu"), *change_rows(source, 700, removals=20)]
    rows += [r for family in ("flat", "ivf") for r in frontier_rows(source, 700, family, SETTINGS[family])]
    assert {r["by"] for r in rows_about(rows, what="search")} == {"bank", "faiss", "torch", "bank on cpu"}
    assert [r["recall_at_1"] for r in rows_about(rows, index="flat", what="frontier")] == [1.0]
    few, all_of_them = rows_about(rows, index="ivf")
    assert few["recall_at_1"] < all_of_them["recall_at_1"] == 1.0
    for row in rows * 2:  # a row about the same replaces the earlier one
        found = keep_row(tmp_path / "routing.json", row)
    assert len(found["rows"]) == len(rows)
    bank = rows_about(found["rows"], what="search", by="bank", batch=1)[0]
    raw = rows_about(found["rows"], what="search", by="faiss", batch=1)[0]
    for slower, word in ((31e-6, "**missed**"), (29e-6, "met")):
        bank["cpu_p50_s"] = raw["cpu_p50_s"] + slower
        line = next(line for line in routing_document(found).splitlines() if line.startswith("| 400 | 256 | 1 |"))
        assert line.endswith(f"| {word} |")
    assert draw_frontier(found["rows"], tmp_path / "routing.png").stat().st_size > 5000
    with pytest.raises(ValueError, match="frontier"):
        draw_frontier([], tmp_path / "none.png")


def test_an_addition_counts_as_long_only_where_it_is_long_in_every_fill(source, monkeypatch) -> None:
    bank = filled(first_keys(source, 3))
    fills = iter(([1.0, 9.0, 3.0], [8.0, 1.0, 3.0]))
    canned = lambda *about: (bank, np.array(next(fills)), 0.0)  # noqa: E731
    monkeypatch.setattr("lifelong.studies.bench.routing._filled_one_by_one", canned)
    add, _ = change_rows(source, 3, removals=1, fills=2)
    assert (add["cpu_max_s"], add["cpu_again_max_s"], add["fills"]) == (9.0, 3.0, 2)


SETTINGS: dict[str, dict[str, tuple[int, ...]]] = {"flat": {}, "ivf": {"probes": (1, 64)}}


def test_a_crop_is_another_part_of_the_same_picture_each_time() -> None:
    ref = ImageRef("toy:red/round", "0" * 16)
    whole, asked = open_image(ref), [Query("What is it?", ref), Query("And in words?")]
    crops = list(islice(cropped(asked), 4))
    assert [c.prompt for c in crops] == ["What is it?"] * 4 and len({c.digest for c in crops}) == 4
    pictures = [open_crop(c.image) for c in crops if c.image is not None]
    assert len({p.tobytes() for p in pictures}) == 4
    assert all(0.59 < p.width / whole.width < 0.96 and 0.59 < p.height / whole.height < 0.96 for p in pictures)
    again = open_crop(next(cropped(asked)).image or ref)
    assert again.tobytes() == pictures[0].tobytes() and open_crop(ref).tobytes() == whole.tobytes()
