"""The bank against brute force: at every size, with memos, after eviction, removal, updates and a reload."""

from __future__ import annotations

import errno
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import lifelong.bank.storage.payloads as payload_files
from lifelong.bank import Bank
from lifelong.bank.search.exact import exact_scores

WIDTH = 4
METRICS = ["ip", "l2"]


def grid_keys(rng: np.random.Generator, n: int) -> np.ndarray:
    """Keys on a coarse grid: equal keys and equal scores are common."""
    return rng.integers(-2, 3, (n, WIDTH)).astype(np.float32)


def brute(entries: dict[str, np.ndarray], query: np.ndarray, metric: str) -> list[tuple[str, float]]:
    """Every entry with its score, best first, ties in order of insertion."""
    score = {i: float(exact_scores(query[None], k[None, None], metric)[0, 0]) for i, k in entries.items()}  # pyright: ignore
    return sorted(score.items(), key=lambda item: -item[1] if metric == "ip" else item[1])


def assert_equals_brute(bank: Bank, entries: dict[str, np.ndarray], queries: np.ndarray, k: int, memo=None) -> None:
    found = bank.search(queries, k, memo)
    limits = np.array([-1.0, 0.0, 1.0, 2.0], dtype=np.float32)[np.arange(len(queries)) % 4]
    beyond = bank.above(queries, limits, memo)
    for n, query in enumerate(queries):
        want = brute(entries, query, bank.metric)
        best = [*want[:k], *[("", -np.inf if bank.metric == "ip" else np.inf)] * (k - len(want))]
        assert list(zip(found.ids[n], found.scores[n].tolist(), strict=True)) == best
        inside = [(i, s) for i, s in want if (s > limits[n] if bank.metric == "ip" else s <= limits[n])]
        assert list(zip(beyond[n].ids, beyond[n].scores.tolist(), strict=True)) == inside


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(METRICS), st.sampled_from(["never", "fifo", "lru", "lfu"]))
def test_bank_equals_brute_force_and_memo_changes_nothing_after_any_history(seed, metric, eviction) -> None:
    rng = np.random.default_rng(seed)
    capacity = None if eviction == "never" else int(rng.integers(1, 40))
    bank = Bank(WIDTH, metric=metric, capacity=capacity, eviction=eviction, shard_len=int(rng.integers(1, 30)))
    entries: dict[str, np.ndarray] = {}
    uses: dict[str, tuple[int, int]] = {}
    memo: dict = {}
    queries, tick, serial = grid_keys(rng, 6), 0, 0
    for _ in range(25):
        action = rng.choice(["add", "add", "add", "remove", "update", "touch", "reload", "query"])
        if action == "add":
            ids = [f"e{serial + i}" for i in range(int(rng.integers(1, 12)))]
            ids, serial = ids[: capacity or len(ids)], serial + len(ids)
            keys = grid_keys(rng, len(ids))
            rank = {
                "fifo": lambda i: 0,
                "lru": lambda i: uses[i][0],
                "lfu": lambda i: uses[i][1],
                "never": lambda i: 0,
            }
            over = max(0, len(entries) + len(ids) - (capacity or 10**9))
            gone = sorted(entries, key=rank[eviction])[:over]
            assert bank.add(ids, keys) == gone
            for i in gone:
                del entries[i]
            for i, key in zip(ids, keys, strict=True):
                tick += 1
                entries[i], uses[i] = key, (tick, 0)
        elif action == "query":
            queries = np.concatenate([queries, grid_keys(rng, 1)])
        elif action == "reload":
            bank.load(bank.state())
        elif entries:
            chosen = str(rng.choice(list(entries)))
            if action == "remove":
                bank.remove([chosen])
                del entries[chosen]
            elif action == "update":
                entries[chosen] = grid_keys(rng, 1)[0]
                bank.update(chosen, keys=entries[chosen])
            else:
                bank.touch([chosen])
                tick += 1
                uses[chosen] = (tick, uses[chosen][1] + 1)
        assert bank.ids() == list(entries) and len(bank) == len(entries)
        k = int(rng.integers(1, 6))
        assert_equals_brute(bank, entries, queries, k)
        assert_equals_brute(bank, entries, queries, k, memo)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("n", [1, 2, 9, 300, 3000])
def test_scores_are_bit_equal_whatever_the_batch_and_the_shards(metric, n) -> None:
    rng = np.random.default_rng(n)
    keys = rng.normal(size=(n, 96)).astype(np.float32)
    keys[n // 2 :] = keys[: n - n // 2]  # every key twice: ties everywhere
    queries = np.concatenate([keys[:20], rng.normal(size=(20, 96)).astype(np.float32)])
    whole, parts = Bank(96, metric=metric), Bank(96, metric=metric, shard_len=128)
    for bank in (whole, parts):
        bank.add([f"e{i}" for i in range(n)], keys)
    together, split = whole.search(queries, 3), parts.search(queries, 3)
    single = [whole.search(q[None], 3) for q in queries]
    in_parts = [parts.search(q[None], 3) for q in queries]  # one query takes a shorter way through the shards
    assert [one.ids for one in single] == [one.ids for one in in_parts]
    assert all(np.array_equal(a.scores, b.scores) for a, b in zip(single, in_parts, strict=True))
    assert all(np.array_equal(a.rows, b.rows) for a, b in zip(single, in_parts, strict=True))
    assert together.ids == split.ids == [one.ids[0] for one in single]
    assert np.array_equal(together.scores, split.scores)
    assert np.array_equal(together.scores, np.concatenate([one.scores for one in single]))
    scores = np.concatenate([exact_scores(q[None], keys[None], metric) for q in queries])
    order = np.argsort(-scores if metric == "ip" else scores, axis=1, kind="stable")[:, :3]
    assert np.array_equal(together.rows[:, : order.shape[1]], order)


def test_distance_to_an_equal_key_is_zero_in_any_batch() -> None:
    keys = 100 + np.random.default_rng(0).normal(size=(500, 64)).astype(np.float32)
    bank = Bank(64, metric="l2")
    bank.add([str(i) for i in range(500)], keys)
    assert np.array_equal(bank.search(keys, 1).scores, np.zeros((500, 1), np.float32))


@pytest.mark.parametrize("capacity", [1, 7, 50, 200])
def test_law_3_a_fifo_bank_of_capacity_c_routes_exactly_min_1_c_over_n_home(capacity) -> None:
    keys = np.random.default_rng(3).normal(size=(120, 32)).astype(np.float32)
    keys /= np.linalg.norm(keys, axis=1, keepdims=True)
    bank = Bank(32, capacity=capacity, eviction="fifo")
    for n, key in enumerate(keys, 1):
        bank.add([f"e{n}"], key[None])
        if n in (1, 5, 60, 120):
            found = bank.search(keys[:n], 1)
            home = sum(ids[0] == f"e{i}" for i, ids in enumerate(found.ids, 1))
            assert home == min(n, capacity)


def test_payloads_and_revisions_follow_their_entries_through_eviction_and_reload() -> None:
    bank = Bank(2, capacity=300, eviction="fifo", shard_len=100)
    for n in range(900):
        bank.add([f"e{n}"], np.array([[n, 1.0]]), {"v": torch.full((1, 3), float(n)), "n": torch.tensor([n])})
    bank.update("e700", payloads={"n": torch.tensor(-1)})
    for entry in ("e700", "e701"):
        bank.update(entry, payloads={"v": torch.full((3,), float(entry[1:]))})
    other = Bank(2, capacity=300, eviction="fifo", shard_len=100)
    other.load(bank.state())
    for b in (bank, other):
        rows = b.rows_of(["e899", "e700", "e701", "e600"])
        assert b.payload("v", rows)[:, 0].tolist() == [899, 700, 701, 600]
        assert b.payload("n", rows.reshape(2, 2)).tolist() == [[899, -1], [701, 600]]
        assert b.revision_of(rows).tolist() == [0, 2, 1, 0]
        assert (b.position, b.removals, len(b), "e599" in b) == (900, 600, 300, False)
        assert b.add(["x"], np.ones((1, 2)), {"v": torch.ones(1, 3), "n": torch.ones(1, dtype=torch.long)}) == [
            "e600"
        ]


def test_a_sealed_shard_is_the_same_in_every_later_state() -> None:
    bank = Bank(3, shard_len=10)
    bank.add([f"a{i}" for i in range(25)], np.ones((25, 3)))
    before = bank.state().tensors
    bank.add(["b"], np.zeros((1, 3)))
    after = bank.state().tensors
    same = [k for k in before if k in after and torch.equal(before[k], after[k])]
    assert {k for k in before if k[:6] in ("shard0", "shard1")} <= set(same)


def test_nothing_changes_when_an_addition_is_refused() -> None:
    bank = Bank(2, capacity=2)
    bank.add(["a"], np.ones((1, 2)))
    for ids, keys, message in [
        (["a"], np.ones((1, 2)), "already holds an entry 'a'"),
        (["b", "b"], np.ones((2, 2)), "'b'"),
        (["b", "c"], np.ones((2, 2)), "full"),
        (["b"], np.ones((1, 3)), "shape"),
        (["b"], np.array([[np.nan, 1]]), "not finite"),
        (["b"], np.ones((1, 2)), None),
    ]:
        payloads = {"v": torch.ones(1)} if message is None else None
        with pytest.raises((ValueError, FloatingPointError), match=message or "payloads"):
            bank.add(ids, keys, payloads)
        assert bank.ids() == ["a"]
    with pytest.raises(KeyError, match="'z'"):
        bank.remove(["a", "z"])
    assert bank.ids() == ["a"]


def test_a_removed_row_is_an_error_and_not_somebody_elses_payload() -> None:
    bank = Bank(1)
    bank.add(["a", "b"], np.ones((2, 1)), {"v": torch.arange(2)})
    row = bank.rows_of(["a"])
    bank.remove(["a"])
    with pytest.raises(KeyError, match="row 0"):
        bank.payload("v", row)
    assert bank.search(np.ones((1, 1)), 2).ids == [("b", "")]


def test_searching_leaves_torchs_thread_count_alone() -> None:
    code = (
        "from lifelong.bank import Bank, one_faiss_thread; import torch, faiss, numpy as np\n"
        "torch.set_num_threads(2); faiss.omp_set_num_threads(2); torch.set_num_threads(2)\n"
        "b = Bank(2); b.add(['a'], np.ones((1, 2))); b.search(np.ones((9, 2)), 1)\n"
        "with one_faiss_thread(2): inside = faiss.omp_get_max_threads()\n"
        "print(inside, torch.get_num_threads())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "2"]


def test_payloads_on_disk_are_those_in_ram_and_leave_no_file(tmp_path) -> None:
    rng = np.random.default_rng(5)
    there, here = (Bank(2, shard_len=70, payloads=p) for p in (f"disk:{tmp_path}", ""))
    there._tables.resident_bytes = 4096  # give pages back all the time
    for bank in (there, here):
        for n in range(0, 600, 30):
            values = {"v": torch.arange(n, n + 30.0)[:, None].expand(-1, 50), "n": torch.arange(n, n + 30).bfloat16()}
            bank.add([f"e{i}" for i in range(n, n + 30)], np.ones((30, 2)), values)
        bank.update("e7", payloads={"v": torch.full((50,), -1.0)})
        bank.remove([f"e{i}" for i in range(100, 550)])  # most are dead: the rest is packed anew
    other = Bank(2, shard_len=70, payloads=f"disk:{tmp_path}")
    other.load(there.state())
    ids = [f"e{i}" for i in rng.permutation(100)]
    for name in ("v", "n"):
        want = here.payload(name, here.rows_of(ids))
        assert torch.equal(there.payload(name, there.rows_of(ids)), want)
        assert torch.equal(other.payload(name, other.rows_of(ids)), want)
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match="no folder"):
        Bank(2, payloads=f"disk:{tmp_path}/nowhere")
    with pytest.raises(ValueError, match="torch device"):
        Bank(2, payloads="attic")


def test_a_full_disk_is_said_when_payloads_need_room_and_kills_nothing(tmp_path, monkeypatch) -> None:
    taken: list[int] = []

    def take(file: int, _: int, nbytes: int) -> None:
        taken.append(nbytes)
        os.truncate(file, nbytes)

    monkeypatch.setattr(payload_files.os, "posix_fallocate", take)
    Bank(2, payloads=f"disk:{tmp_path}").add(["a"], np.ones((1, 2)), {"v": torch.ones(1, 50)})
    assert taken and taken[0] >= 200

    def full(*_) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(payload_files.os, "posix_fallocate", full)
    with pytest.raises(OSError, match=f"{tmp_path}: no room for .* bytes .No space left") as caught:
        Bank(2, payloads=f"disk:{tmp_path}").add(["a"], np.ones((1, 2)), {"v": torch.ones(1, 50)})
    assert str(tmp_path) in str(type(caught.value)(*caught.value.args)), "as the event loop raises it again"
    assert not list(tmp_path.iterdir())
