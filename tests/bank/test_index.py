"""Every index family and engine against brute force, through any history; what is new is found at once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lifelong.bank import Bank, IndexSpec
from lifelong.bank.search.engine_torch import Mirrors

EXACT = ["flat", "flat:engine=torch"]
APPROXIMATE = ["flat16", "flat16:engine=torch", "ivf", "hnsw"]
WIDTH = 8


def clustered(rng: np.random.Generator, n: int, width: int = WIDTH) -> np.ndarray:
    centres = rng.normal(size=(12, width))
    return (centres[rng.integers(0, 12, n)] + 0.3 * rng.normal(size=(n, width))).astype(np.float32)


def filled(index: str, keys: np.ndarray, metric: str = "ip", step: int = 97) -> Bank:
    bank = Bank(keys.shape[1], index=index, metric=metric, shard_len=500)
    for low in range(0, len(keys), step):
        bank.add([f"e{i}" for i in range(low, min(len(keys), low + step))], keys[low : low + step])
    return bank


def bank_in_ram(bank: Bank) -> Bank:
    """A flat bank of the same entries."""
    other = Bank(bank.width, metric=bank.metric)
    other.add(bank.ids(), bank.keys_of(bank.rows()))
    return other


def history(index: str, seed: int, metric: str) -> tuple[Bank, Bank, np.ndarray]:
    """One random history of two banks: with an index, and flat; and queries."""
    rng = np.random.default_rng(seed)
    banks = Bank(WIDTH, index=index, metric=metric, shard_len=64), Bank(WIDTH, metric=metric)
    serial = 0
    for _ in range(12):
        ids = [f"e{serial + i}" for i in range(int(rng.integers(1, 200)))]
        serial += len(ids)
        keys = clustered(rng, len(ids))
        gone = rng.choice(banks[1].ids(), min(len(banks[1]), 20), replace=False).tolist() if len(banks[1]) else []
        moved = [i for i in rng.choice(ids, min(len(ids), 3), replace=False).tolist()]
        for bank in banks:
            bank.remove(gone)
            bank.add(ids, keys)
            for n, entry in enumerate(moved):
                bank.update(entry, keys=keys[n] + 1)
    return *banks, clustered(rng, 20)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(["ip", "l2"]))
def test_torch_searches_flat_exactly_as_faiss_does(seed, metric) -> None:
    other, flat, queries = history("flat:engine=torch", seed, metric)
    a, b = flat.search(queries, 5), other.search(queries, 5)
    assert a.ids == b.ids and np.array_equal(a.scores, b.scores)
    limits = a.scores[:, 2]
    assert [f.ids for f in flat.above(queries, limits)] == [f.ids for f in other.above(queries, limits)]


@pytest.mark.parametrize("index", APPROXIMATE)
@settings(max_examples=4, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(["ip", "l2"]))
def test_with_every_list_and_a_long_queue_an_index_finds_what_brute_force_finds(index, seed, metric) -> None:
    if index.startswith("ivf"):
        index += ":probes=1000"
    if index == "hnsw":
        index += ":effort=2000"
    bank, flat, queries = history(f"{index}:least=100", seed, metric)
    assert bank.index is not None and bank.index.builds >= 1 and not bank.exact
    found, true = bank.search(queries, 3), flat.search(queries, 3)
    least = 0.97 if index.startswith(("hnsw", "flat16")) else 1.0
    hits = sum(len(set(a) & set(b)) for a, b in zip(found.ids, true.ids, strict=True))
    assert hits / (3 * len(queries)) >= least
    assert bank.recall(queries, 3) == pytest.approx(hits / (3 * len(queries)))
    score = {(n, i): s for n, ids in enumerate(true.ids) for i, s in zip(ids, true.scores[n].tolist(), strict=True)}
    for n, ids in enumerate(found.ids):  # what is found has the exact score of brute force
        for i, s in zip(ids, found.scores[n].tolist(), strict=True):
            assert score.get((n, i), s) == s
    limits = true.scores[:, 2] - np.float32(0.5 if metric == "ip" else 0.0)
    pairs = list(zip(bank.above(queries, limits), flat.above(queries, limits), strict=True))
    assert sum(len(set(a.ids) & set(b.ids)) for a, b in pairs) >= least * sum(len(b.ids) for _, b in pairs)
    assert all(set(a.ids) <= set(b.ids) for a, b in pairs)


@pytest.mark.parametrize("index", APPROXIMATE)
def test_a_new_key_is_found_at_once_and_a_removed_one_never_again(index) -> None:
    rng = np.random.default_rng(1)
    keys = clustered(rng, 2000, 32)
    bank = Bank(32, index=index + ":least=200", metric="l2")
    for n in range(0, 2000, 10):
        bank.add([f"e{i}" for i in range(n, n + 10)], keys[n : n + 10])
        assert bank.search(keys[n : n + 10], 1).ids == [(f"e{i}",) for i in range(n, n + 10)], n
        if n % 50 == 0:
            bank.remove([f"e{n}"])
            assert bank.search(keys[n : n + 1], 1).ids[0] != (f"e{n}",)
            bank.update(f"e{n + 1}", keys=keys[n + 1] + 100)
            assert bank.search(keys[n + 1 : n + 2] + 100, 1).ids == [(f"e{n + 1}",)]
    assert bank.index is not None and bank.index.builds > 2  # built anew whenever the entries had doubled


@pytest.mark.parametrize("index", ["ivf:probes=2", "hnsw:effort=4", "flat16", "flat16:engine=torch"])
def test_a_reloaded_bank_and_one_that_never_stopped_go_on_alike(index) -> None:
    rng = np.random.default_rng(2)
    keys = clustered(rng, 3000, 16)
    index += ":least=300"
    bank = filled(index, keys[:1500])
    bank.remove([f"e{i}" for i in range(0, 900, 7)])
    other = Bank(16, index=index, shard_len=500)
    other.load(bank.state())
    for low in (1500, 2000, 2500):
        for one in (bank, other):
            one.add([f"e{i}" for i in range(low, low + 500)], keys[low : low + 500])
        assert bank.search(keys[:300], 2).ids == other.search(keys[:300], 2).ids
    assert bank.index is not None and other.index is not None and bank.index.builds == other.index.builds


@pytest.mark.parametrize("index", ["ivf:probes=1", "hnsw:effort=8", "flat16"])
def test_a_memory_of_comparisons_changes_nothing(index) -> None:
    rng = np.random.default_rng(3)
    keys, queries = clustered(rng, 2000), clustered(rng, 50)
    bank, memo = Bank(WIDTH, index=index + ":least=100"), {}
    for low in range(0, 2000, 60):
        bank.add([f"e{i}" for i in range(low, min(2000, low + 60))], keys[low : low + 60])
        assert bank.search(queries, 2, memo).ids == bank.search(queries, 2).ids
        with bank.exactly():
            exact = bank.search(queries, 2, memo).ids
        assert exact == filled("flat", keys[: low + 60]).search(queries, 2).ids


def test_one_probed_list_misses_what_the_shadow_search_finds() -> None:
    keys = np.random.default_rng(4).normal(size=(4000, 32)).astype(np.float32)  # no clusters: lists mean little
    narrow, wide = filled("ivf:probes=1", keys, step=4000), filled("ivf:probes=400", keys, step=4000)
    queries = np.random.default_rng(5).normal(size=(100, 32)).astype(np.float32)
    assert narrow.recall(queries, 5) < 0.8 and wide.recall(queries, 5) == 1.0


def test_a_mirror_on_a_device_follows_its_keys() -> None:
    bank = filled("flat:engine=torch", clustered(np.random.default_rng(6), 900))
    bank._mirrors = Mirrors("cpu", in_place=False)
    for step in range(4):
        if step == 1:
            bank.add(["new"], np.full((1, WIDTH), 9.0))
        if step == 2:
            bank.update("e5", keys=np.full(WIDTH, 99.0))
        if step == 3:
            bank.remove(["e5"])
        queries = np.ones((1, WIDTH), dtype=np.float32)
        best = bank.search(queries, 1).ids[0][0]
        assert (
            best == {0: best, 1: "new", 2: "e5", 3: "new"}[step]
            and best == bank_in_ram(bank).search(queries, 1).ids[0][0]
        )


@pytest.mark.parametrize(
    "word, said",
    [
        ("tree", "families are flat"),
        ("ivf:prob=3", "key of engine"),
        ("ivf:probes=x", "whole number"),
        ("ivf:probes=0", "at least 1"),
        ("hnsw:engine=torch", "torch has flat and flat16. Use hnsw without"),
        ("ivf:engine=torch:device=cuda", "torch has flat and flat16. Use ivf without"),
        ("ivf:device=cuda", "Use flat:engine=torch:device=cuda"),
    ],
)
def test_a_wrong_index_says_what_is_right(word, said) -> None:
    with pytest.raises(ValueError, match=said):
        IndexSpec.parse(word)
