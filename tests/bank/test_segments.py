"""Approximate indexes that grow entry by entry: made beside additions, the same whatever the making takes."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from lifelong.bank import Bank, IndexSpec, one_faiss_thread
from lifelong.bank.search.approximate import TAIL
from lifelong.bank.search.engine_faiss import FaissIndex

FAMILIES = ["flat16", "ivf:probes=1000", "hnsw:effort=1000", "flat16:engine=torch"]


def grown(index: str, keys: np.ndarray, bank: Bank | None = None, start: int = 0) -> Bank:
    bank = Bank(keys.shape[1], index=index, metric="l2", shard_len=300) if bank is None else bank
    for i in range(start, start + len(keys)):
        bank.add([f"e{i}"], keys[i - start : i - start + 1])
    return bank


def some_keys(n: int, seed: int = 0, width: int = 8) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, width)).astype(np.float32)


@pytest.mark.parametrize("index", FAMILIES)
def test_entries_that_go_or_move_while_a_part_is_made_are_found_where_they_are(index) -> None:
    """At every addition a part is being made; brute force and memories of comparisons agree with it."""
    rng, keys = np.random.default_rng(1), some_keys(2400)
    bank, flat, memo = Bank(8, index=index + ":least=100", metric="l2", shard_len=300), Bank(8, metric="l2"), {}
    hits = asked = 0
    for i, key in enumerate(keys):
        for one in (bank, flat):
            one.add([f"e{i}"], key[None])
        gone, moved = rng.choice(flat.ids(), 2, replace=len(flat) < 2).tolist()
        for one in (bank, flat):
            if i % 7 == 3 and gone != moved:
                one.remove([gone])
            if i % 5 == 3:
                one.update(moved, keys=key + 3)
        if i % 60 == 59:
            queries = np.concatenate([some_keys(8, seed=i), flat.keys_of(flat.rows_of([moved]))])
            found, true = bank.search(queries, 3), flat.search(queries, 3)
            assert found.ids == bank.search(queries[:], 3, memo).ids and found.ids[-1][0] == moved
            hits += sum(len(set(a) & set(b)) for a, b in zip(found.ids, true.ids, strict=True))
            asked += 3 * len(queries)
    assert bank.index is not None and bank.index.builds > 4 and not bank.exact
    assert hits >= (0.98 if index.startswith(("hnsw", "flat16")) else 1.0) * asked


def test_no_addition_of_one_entry_builds_and_the_speed_of_building_changes_nothing(monkeypatch) -> None:
    keys, build, threads = some_keys(1500), FaissIndex.build, set()
    quick = grown("ivf:probes=1:least=300", keys)

    def slowly(self: FaissIndex, keys: np.ndarray) -> None:
        threads.add(threading.get_ident())
        time.sleep(0.05)
        build(self, keys)

    monkeypatch.setattr(FaissIndex, "build", slowly)
    slow = grown("ivf:probes=1:least=300", keys)
    assert threads and threading.get_ident() not in threads
    assert slow.index is not None and quick.index is not None and slow.index.builds == quick.index.builds > 1
    for one in (slow, quick):  # and both are in the middle of making another part
        assert one.index is not None and one.index._making is not None
    assert slow.search(keys[:200] + 0.3, 4).ids == quick.search(keys[:200] + 0.3, 4).ids


def test_a_part_is_made_of_shards_that_are_smaller_than_what_is_read_at_once() -> None:
    bank, keys = Bank(8, index="flat16:least=100", metric="l2", shard_len=30), some_keys(400)
    bank.add([f"e{i}" for i in range(400)], keys)
    assert bank.index is not None and bank.index.merged == 400
    assert bank.search(keys, 1).ids == [(f"e{i}",) for i in range(400)]


def test_few_parts_serve_and_few_entries_wait() -> None:
    bank, most = grown("flat16:least=64", some_keys(0)), 0
    for low in range(0, 20000, 500):
        grown("", some_keys(500, seed=low), bank, low)
        assert bank.index is not None
        most = max(most, len(bank.index.segments))
        assert bank.position - bank.index.merged <= 2 * max(TAIL, len(bank) // 16)
    assert 2 <= most <= 4


@pytest.mark.parametrize("index", ["ivf:probes=2", "hnsw:effort=8", "flat16"])
def test_a_state_holds_what_was_being_made(index) -> None:
    keys = some_keys(1200)
    bank = grown(index + ":least=300", keys)
    bank.remove([f"e{i}" for i in range(0, 700, 3)])
    other = Bank(8, index=index + ":least=300", metric="l2", shard_len=300)
    assert bank.index is not None and other.index is not None and bank.index._making is not None
    bank.retune(probes=3, effort=9)
    before = bank.index.merged
    other.load(bank.state())
    assert bank.index.merged == other.index.merged > before
    assert {s.engine.spec for s in bank.index.segments} == {bank.spec}
    other.retune(probes=3, effort=9)
    for one in (bank, other):
        grown("", some_keys(900, seed=5), one, 1200)
    assert bank.search(keys[:200], 3).ids == other.search(keys[:200], 3).ids
    assert [s.size for s in bank.index.segments] == [s.size for s in other.index.segments]


@pytest.mark.parametrize("index", ["ivf", "hnsw", "flat16"])
def test_a_part_whose_entries_are_all_gone_is_loaded_and_searched(index) -> None:
    bank, other = (Bank(8, index=index + ":least=100", metric="l2") for _ in range(2))
    bank.add([f"e{i}" for i in range(800)], some_keys(800))
    bank.add([f"e{i}" for i in range(800, 1100)], some_keys(300, seed=1))  # the second part
    assert bank.index is not None and len(bank.index.segments) == 2
    bank.remove([f"e{i}" for i in range(800, 1100)])
    other.load(bank.state())
    queries = some_keys(20, seed=1)
    assert bank.search(queries, 2).ids == other.search(queries, 2).ids


def test_a_part_that_cannot_be_built_says_so_where_it_would_serve(monkeypatch) -> None:
    def broken(self: FaissIndex, keys: np.ndarray) -> None:
        raise MemoryError("no room for the lists")

    monkeypatch.setattr(FaissIndex, "build", broken)
    with pytest.raises(MemoryError, match="no room"):
        grown("ivf:least=100", some_keys(800))


def test_a_bank_that_evicts_makes_room_for_living_entries_only() -> None:
    bank = Bank(8, index="ivf:least=50", metric="l2", capacity=300, eviction="fifo", shard_len=100)
    for low in range(0, 4000, 1000):
        grown("", some_keys(1000, seed=low), bank, low)
    assert bank.index is not None and bank.index.builds > 4
    making = bank.index._making
    assert making is not None and len(making._rows) <= 300
    queries = some_keys(1000, seed=3000)[-50:]
    assert bank.search(queries, 1).ids == [(f"e{i}",) for i in range(3950, 4000)]


def test_a_search_does_not_change_how_a_thread_builds_an_index() -> None:
    """FAISS's choice between a scan and a matrix product is one setting of the process; k-means rounds by it."""
    import faiss

    seen = []
    index, keys = FaissIndex(IndexSpec.parse("ivf"), 64, "ip"), some_keys(400, width=64)
    index.build(keys)
    seen.append(faiss.cvar.distance_compute_blas_threshold)
    with one_faiss_thread(64):
        seen.append(faiss.cvar.distance_compute_blas_threshold)
    seen.append(faiss.cvar.distance_compute_blas_threshold)
    assert set(seen) == {4 * 64}
