"""Entries that are equally far: which are found, by every index alike, and how recall counts them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lifelong.bank import Bank

INDEXES = ["flat", "flat:engine=torch", "flat16", "flat16:engine=torch", "ivf:probes=1000", "hnsw:effort=2000"]
WIDTH = 6


def bank_of(index: str, metric: str, seed: int, kinds: int, least: int = 60) -> tuple[Bank, np.ndarray]:
    """A bank of 400 entries of few distinct keys after removals and a changed key, and the distinct keys."""
    rng = np.random.default_rng(seed)
    keys = rng.normal(size=(kinds, WIDTH)).astype(np.float32)
    keys[0] *= metric == "ip"  # a question that is zero is as far from every key by its product
    exact = index.startswith("flat:") or index == "flat"
    bank = Bank(WIDTH, index=index if exact else f"{index}:least={least}", metric=metric, shard_len=70)
    for low in range(0, 400, 40):
        picked = keys[rng.integers(0, kinds, 40)] * rng.choice([1, 1, -0.0], (40, 1)).astype(np.float32)
        bank.add([f"e{i}" for i in range(low, low + 40)], picked)
        bank.remove([f"e{i}" for i in range(low, low + 40, 7)])
        bank.update(f"e{low + 3}", keys=keys[0])
    return bank, keys


def brute(bank: Bank, query: np.ndarray, k: int) -> tuple[list[str], np.ndarray]:
    """The k best by exact scores, of equal ones the oldest."""
    keys, ids = bank.keys_of(bank.rows()).astype(np.float64), bank.ids()
    scores = keys @ query if bank.metric == "ip" else -np.sqrt(((keys - query) ** 2).sum(1))
    order = np.argsort(-scores.astype(np.float32), kind="stable")[:k]
    return [ids[i] for i in order], np.abs(scores[order])


@pytest.mark.parametrize("index", INDEXES)
@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(["ip", "l2"]), st.sampled_from([1, 2, 5]), st.sampled_from([1, 3, 30]))
def test_of_equal_keys_every_index_finds_the_oldest(index: str, seed: int, metric: str, kinds: int, k: int) -> None:
    bank, keys = bank_of(index, metric, seed, kinds)
    queries = np.concatenate([keys, keys[:1]])
    found = bank.search(queries, k)
    alone = [bank.search(query[None], k) for query in queries]
    memo: dict = {}
    assert bank.search(queries[:1], k, memo).ids == found.ids[:1]
    assert bank.search(queries[:1], k, memo).ids == found.ids[:1]
    for row, query in enumerate(queries):
        ids, _ = brute(bank, query.astype(np.float64), k)
        if index.startswith("hnsw"):  # a graph of many equal nodes may hide some; what it finds is in order
            assert list(found.ids[row]) == sorted(found.ids[row], key=lambda i: (ids + [i]).index(i))
        else:
            assert list(found.ids[row]) == ids
        assert alone[row].ids == [found.ids[row]]
    assert bank.recall(queries, k) == 1 or index.startswith("hnsw")


@pytest.mark.parametrize("index", INDEXES)
def test_ties_come_out_alike_after_a_state_was_loaded(index: str) -> None:
    bank, keys = bank_of(index, "l2", 3, 3)
    other = Bank(WIDTH, index=bank.spec, metric="l2", shard_len=70)
    other.load(bank.state())
    assert other.search(keys, 9).ids == bank.search(keys, 9).ids


def test_recall_counts_distances_so_that_any_of_equal_entries_will_do() -> None:
    bank = Bank(2, index="flat16:least=4", metric="l2")
    bank.add(list("abcdef"), np.array([[0, 1], [1, 0], [0, -1], [-1, 0], [5, 5], [6, 6]], np.float32))
    bank.settle()
    true, search = bank.search, bank.search

    def another(keys: np.ndarray, k: int, memo: dict | None = None):
        found = true(keys, 4)
        picked = slice(None, k) if bank.exact else slice(-k, None)  # of four that are equally far the last ones
        return type(found)([ids[picked] for ids in found.ids], found.scores[:, picked], found.rows[:, picked])

    bank.search = another  # type: ignore[method-assign]
    assert bank.recall(np.zeros((1, 2)), 2) == 1
    bank.search = search  # type: ignore[method-assign]
    assert bank.recall(np.zeros((1, 2)), 100) == 1 and Bank(2).recall(np.zeros((1, 2)), 3) == 1


@pytest.mark.parametrize("index", INDEXES)
def test_more_neighbours_than_entries_are_padded_and_none_are_refused(index: str) -> None:
    bank, keys = bank_of(index, "ip", 1, 2)
    found = bank.search(keys, 1000)
    assert (found.rows[:, len(bank) :] == -1).all() and found.scores[0, -1] == -np.inf and found.ids[0][-1] == ""
    for k in (0, -1):
        with pytest.raises(ValueError, match=f"k={k}"):
            bank.search(keys, k)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e30])
def test_a_key_that_is_no_number_is_refused_with_its_entry_named(bad: float) -> None:
    bank = Bank(2)
    bank.add(["one"], np.zeros((1, 2)))
    with pytest.raises(FloatingPointError, match="key of 'two'"):
        bank.add(["three", "two"], np.array([[0, 0], [0, bad]]))
    with pytest.raises(FloatingPointError, match="key of 'one'"):
        bank.update("one", keys=np.array([bad, 0]))
    assert bank.ids() == ["one"] and not bank.keys_of(bank.rows()).any()
