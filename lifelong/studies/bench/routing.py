"""How fast a bank routes: beside raw FAISS and torch on the same keys; adding, removing; recall against latency.

Knows banks and keys; no editor and no model. Calls that are compared take turns, so that what else the machine does
falls on all of them alike; of every call the thread's CPU time is taken as well as the wall time.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from lifelong.bank import Bank
from lifelong.bank.search.engine_faiss import one_faiss_thread, raw_flat
from lifelong.studies.bench.keys import KeySource
from reports.statistics.percentiles import percentile, percentiles

SHARD = 65536
ROUNDS, SECONDS = 300, 4.0  # of one comparison, whichever is less; never fewer than FEWEST
FEWEST = 8  # a p50 needs so many
_WARM_UP = 3
BATCHES = (1, 64)
MeasuredRow = dict[str, Any]


def taken(calls: dict[str, Callable[[np.ndarray], Any]], asked: Callable[[int], np.ndarray]) -> dict[str, np.ndarray]:
    """Return per call its samples (rounds, 2): wall and thread CPU seconds.

    The calls take turns at equal queries, in an order drawn anew each time: what one leaves in the caches is found by
    any other.
    """
    rng = np.random.default_rng(0)
    samples: dict[str, list[tuple[float, float]]] = {name: [] for name in calls}
    begun = time.perf_counter()
    for turn in range(-_WARM_UP, ROUNDS):
        if turn >= FEWEST and time.perf_counter() - begun > SECONDS:
            break
        queries = asked(turn + _WARM_UP)
        for name in rng.permutation(list(calls)).tolist():
            call = calls[name]
            cpu, wall = time.thread_time(), time.perf_counter()
            call(queries)
            took = time.perf_counter() - wall, time.thread_time() - cpu
            if turn >= 0:
                samples[name].append(took)
    return {name: np.array(rows) for name, rows in samples.items()}


def told(samples: np.ndarray) -> MeasuredRow:
    """Return p50 and least wall seconds, p50 of CPU seconds, and how many there are."""
    wall, cpu = samples.T
    return {
        "wall_p50_s": percentile(wall, 0.5).value,
        "wall_min_s": float(wall.min()),
        "cpu_p50_s": percentile(cpu, 0.5).value,
        "samples": len(wall),
    }


def first_keys(source: KeySource, n: int) -> np.ndarray:
    """Return the first n keys (n, width); they are made part by part, for there may be gigabytes of them."""
    keys = np.empty((n, source.states.shape[1]), dtype=np.float32)
    for low in range(0, n, SHARD):
        keys[low : low + SHARD] = source.rows(low, min(SHARD, n - low))
    return keys


def filled(keys: np.ndarray, index: str = "flat") -> Bank:
    """Return a bank of keys (n, width), called e0, e1 and so on, added at once."""
    bank = Bank(keys.shape[1], shard_len=SHARD, index=index)
    bank.add([f"e{i}" for i in range(len(keys))], keys)
    return bank


def array_of(bank: Bank, keys: np.ndarray) -> np.ndarray:
    """Return the bank's own memory of `keys`, which it holds, if that is one array; else `keys`.

    What one call leaves in the caches is then found by any other. More keys than one shard holds fit in no cache.
    """
    return bank.shards[0].keys[: len(keys)] if len(bank.shards) == 1 else keys


def flat_rows(source: KeySource, n: int, device: str = "") -> Iterator[MeasuredRow]:
    """Yield the rows of one size: bank, raw FAISS and torch, for every batch; on a device torch's bank as well."""
    made = first_keys(source, n)
    bank = filled(made)
    whole = array_of(bank, made)
    width, keys = whole.shape[1], torch.from_numpy(whole)

    def torch_topk(queries: np.ndarray) -> Any:
        return (torch.from_numpy(queries) @ keys.T).topk(1)

    calls = {"bank": lambda q: bank.search(q, 1), "faiss": raw_flat(whole), "torch": torch_topk}
    if device:
        other = Bank(width, index=f"flat:engine=torch:device={device}")
        other.add(bank.ids(), whole)
        calls[f"bank on {device}"] = lambda q: other.search(q, 1)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for batch in BATCHES:
            with one_faiss_thread(width):
                found = taken(calls, _asker(source.queries, batch))
            for name, samples in found.items():
                row = {"what": "search", "index": "flat", "by": name, "n": n, "width": width, "batch": batch}
                yield row | told(samples) | source.counts(n)
    finally:
        torch.set_num_threads(threads)


def _asker(queries: np.ndarray, batch: int) -> Callable[[int], np.ndarray]:
    """Return a function from a turn to `batch` of the queries, others at every turn."""

    def asked(turn: int) -> np.ndarray:
        at = (np.arange(batch) + turn * batch) % len(queries)
        return np.ascontiguousarray(queries[at])

    return asked


def change_rows(
    source: KeySource, n: int, family: str = "flat", *, removals: int = 500, fills: int = 1
) -> Iterator[MeasuredRow]:
    """Yield what adding n keys one at a time takes, and then removing some at random; thread CPU seconds.

    The wall seconds of all additions stand beside them: an index that is made beside them may keep one waiting. What
    the process holds already (a model, libraries) is left out of garbage collections: going over all of it takes
    longer than the addition in which one falls, and is none of the bank's doing. What additions make is collected.

    A bank is filled `fills` times. What the bank itself does in one addition it does in the same one of every fill;
    a virtual machine that first has to fetch memory from its host takes milliseconds of one addition or another.
    `cpu_again_max_s` is the longest addition after each has been given the least of its fills.
    """
    gc.collect()
    gc.freeze()
    try:
        yield from _change_rows(source, n, family, removals, fills)
    finally:
        gc.unfreeze()


def _change_rows(source: KeySource, n: int, family: str, removals: int, fills: int) -> Iterator[MeasuredRow]:
    about = {"index": family, "n": n, "width": source.states.shape[1]}
    bank, first, wall_s = _filled_one_by_one(source, n, family)
    least = first
    for _ in range(fills - 1):
        bank = None  # its memory goes before the next bank takes any
        bank, spent, _ = _filled_one_by_one(source, n, family)
        least = np.minimum(least, spent)
    again = {"fills": fills, "cpu_again_max_s": float(least.max())}
    yield {"what": "add one", "all_wall_s": wall_s} | about | _cpu(first) | again
    spent = np.empty(removals)
    for i, number in enumerate(np.random.default_rng(0).permutation(n)[:removals]):
        start = time.thread_time()
        bank.remove([f"e{number}"])
        spent[i] = time.thread_time() - start
    yield {"what": "remove one"} | about | _cpu(spent)


def _filled_one_by_one(source: KeySource, n: int, family: str) -> tuple[Bank, np.ndarray, float]:
    """Return a bank of n keys, each addition's thread CPU seconds (n,), and the wall seconds of all of them."""
    bank = Bank(source.states.shape[1], shard_len=SHARD, index=family)
    spent, wall_s = np.empty(n), 0.0
    for low in range(0, n, 4096):
        part = source.rows(low, min(4096, n - low))
        begun = time.perf_counter()
        for i in range(len(part)):
            name, key = [f"e{low + i}"], part[i : i + 1]
            start = time.thread_time()
            bank.add(name, key)
            spent[low + i] = time.thread_time() - start
        wall_s += time.perf_counter() - begun
    return bank, spent, wall_s


def _cpu(spent: np.ndarray) -> MeasuredRow:
    p50, p999 = percentiles(spent, (0.5, 0.999))
    return {
        "cpu_p50_s": p50.value if p50.known else None,
        "cpu_p999_s": p999.value if p999.known else None,
        "cpu_max_s": float(spent.max()),
        "samples": len(spent),
    }


def frontier_rows(
    source: KeySource, n: int, family: str, settings: dict[str, tuple[int, ...]]
) -> Iterator[MeasuredRow]:
    """Yield recall@1 and latency of one family at one size, for every value of its setting (probes or effort)."""
    keys = first_keys(source, n)
    start = time.perf_counter()
    bank = filled(keys, f"{family}:least=1")
    built = {"build_wall_s": time.perf_counter() - start}
    with bank.exactly():
        true = bank.search(source.queries, 1).scores[:, 0]
    for name, values in settings.items() or [("", (0,))]:
        for value in values:
            if name:
                bank.retune(**{name: value})
            got = bank.search(source.queries, 1).scores[:, 0]
            row = {"what": "frontier", "index": family, "n": n, "width": source.states.shape[1], "batch": 1}
            # a tie is no miss: of equal scores any entry is the nearest
            row |= {"setting": f"{name}={value}" if name else "", "recall_at_1": float((got >= true).mean())}
            samples = taken({"bank": lambda q: bank.search(q, 1)}, _asker(source.queries, 1))["bank"]
            yield row | {"by": "bank", "queries": len(true)} | told(samples) | built | source.counts(n)
