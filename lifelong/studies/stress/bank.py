"""How large a bank may grow: sizes are doubled until the p99 of a search or its bytes break a budget.

A size keeps the budget of p99 where the whole interval of its p99 does, and breaks it where none of the interval
does; in between nobody can tell, and the search goes on.

Keys are generated: directions drawn at random, of the width that an editor routes by. Knows the bank and nothing of
what an editor stores beside its keys, nor of its scopes. A flat index compares a query with every key, so seconds
should be a fixed part and a part for every entry; how far they are from that line is part of the answer.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Literal

import numpy as np

from lifelong.log.machine import rss_bytes
from lifelong.log.shown import short_repr
from lifelong.running.prepare import prepare, resolve
from lifelong.running.words import ConfigError
from reports.statistics.bank_law import Law, law, size_at
from reports.statistics.percentiles import percentiles

LEAST_SEARCHES = 600  # fewer give no p99 with an interval
LEAST_SIZES = 3  # for a law: through two any line goes
_WARM_UP = 5
RECALLED = 100  # queries that recall is taken over
_BLOCK = 1 << 16  # keys drawn at a time

_Clock = Literal["wall", "cpu"]


@dataclass(frozen=True)
class Sized:
    """A bank of `entries`, searched one query at a time: p50 and p99 (with its 95 % interval), and its bytes.

    `process_bytes` is by how much the process has grown since the bank was empty, `recall` the share of the true
    nearest entries that a search finds (1 for an exact index).
    """

    entries: int
    p50_s: float
    p99_s: float
    p99_low_s: float
    p99_high_s: float
    bytes: int
    process_bytes: int
    recall: float
    n: int


@dataclass(frozen=True)
class BankStress:
    """What a bank of one width bears: the sizes tried, which budgets the last one broke (none: ()), and the law.

    The law, and the sizes at which budgets are `expected` to break by it, are there from three sizes on.
    """

    width: int
    k: int
    index: str
    clock: str
    p99_s: float
    bytes: int
    sizes: tuple[Sized, ...]
    broke: tuple[str, ...]
    law: Law | None
    expected: Mapping[str, float]

    __repr__ = short_repr

    @property
    def entries(self) -> int:
        """The largest size tried that surely kept both budgets; 0 where none did."""
        unsure = self.unsure
        kept = [s.entries for s in self.sizes if not broken(s, self.p99_s, self.bytes) and s.entries not in unsure]
        return max(kept, default=0)

    @property
    def unsure(self) -> tuple[int, ...]:
        """The sizes of which nobody can tell: the interval of their p99 has the budget inside."""
        return tuple(s.entries for s in self.sizes if s.p99_low_s <= self.p99_s < s.p99_high_s)

    def plain(self) -> dict[str, Any]:
        """Return it all as plain data."""
        return {**asdict(self), "entries": self.entries, "unsure": list(self.unsure)}


def broken(size: Sized, p99_s: float, most_bytes: int) -> tuple[str, ...]:
    """Return which budgets a size surely breaks."""
    late = ("search p99",) if size.p99_low_s > p99_s else ()
    return (*late, *(("bytes",) if size.bytes > most_bytes else ()))


def check_bank(
    width: int, p99_s: float, most_bytes: int, first: int, most: int, searches: int, k: int, index: str
) -> None:
    """Raise for budgets, sizes or an index that make no sense, before anything is loaded; width 0 is not known yet.

    Raises `ConfigError` for numbers, `ValueError` for an unknown index.
    """
    from lifelong.bank.search.spec import IndexSpec

    IndexSpec.parse(index)
    wrong = [
        said
        for said, bad in (
            (f"width={width}: 1 or more", width < 0),
            (f"p99={p99_s}: seconds above 0", not 0 < p99_s < math.inf),
            (f"bytes={most_bytes}: 1 or more", most_bytes < 1),
            (f"first={first}, most={most}: 1 <= first <= most", not 1 <= first <= most),
            (f"searches={searches}: at least {LEAST_SEARCHES}, fewer give no p99", searches < LEAST_SEARCHES),
            (f"k={k}: 1 or more", k < 1),
        )
        if bad
    ]
    if wrong:
        raise ConfigError("; ".join(wrong) + ".")


def stress_bank(
    width: int,
    *,
    p99_s: float = 0.005,
    most_bytes: int = 2**28,
    first: int = 1024,
    most: int = 2**20,
    searches: int = 1000,
    k: int = 1,
    index: str = "flat",
    clock: _Clock = "wall",
    seed: int = 0,
    measure: Callable[[Any, np.ndarray, int], np.ndarray] | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> BankStress:
    """Return how large a bank of `width` may grow, at most `most` entries.

    `measure(bank, queries, k)` gives the seconds of each search: by default `searched`, by `clock`. Raises
    `ConfigError` for budgets or sizes that make no sense, `ValueError` for an unknown index.
    """
    from lifelong.bank import Bank

    check_bank(width or -1, p99_s, most_bytes, first, most, searches, k, index)
    timed = measure or partial(searched, clock=clock)
    bank, rng, before = Bank(width, index=index), np.random.default_rng(seed), rss_bytes()
    queries = _directions(rng, searches + _WARM_UP, width)
    sizes: list[Sized] = []
    entries = first
    while True:
        for start in range(len(bank), entries, _BLOCK):
            n = min(_BLOCK, entries - start)
            bank.add([f"k{i}" for i in range(start, start + n)], _directions(rng, n, width))
        taken = timed(bank, queries, k)
        p50, p99 = percentiles(taken, (0.5, 0.99))
        grown = max(0, rss_bytes() - before)
        size = Sized(
            entries,
            p50.value,
            p99.value,
            p99.low,
            p99.high,
            bank.nbytes(),
            grown,
            bank.recall(queries[:RECALLED], k),
            p99.n,
        )
        sizes.append(size)
        broke = broken(size, p99_s, most_bytes)
        say(f"{entries} entries: p99 {size.p99_s * 1e3:.3g} ms, {size.bytes:,} bytes{' (broken)' if broke else ''}")
        if broke or entries >= most:
            break
        entries = min(2 * entries, most)
    found, expected = None, {}
    if len(sizes) >= LEAST_SIZES:
        found = law([s.entries for s in sizes], [s.p50_s for s in sizes])
        tail = law([s.entries for s in sizes], [s.p99_s for s in sizes])
        expected = {"search p99": size_at(tail, p99_s), "bytes": most_bytes / (sizes[-1].bytes / sizes[-1].entries)}
    return BankStress(width, k, index, clock, p99_s, most_bytes, tuple(sizes), broke, found, expected)


def searched(bank: Any, queries: np.ndarray, k: int, clock: _Clock = "wall") -> np.ndarray:
    """Return the measured seconds of searching one query after another without a memo, the first few left out.

    `cpu` counts this thread's own seconds: on a busy machine the p99 of wall time says how busy it is.
    """
    now = time.perf_counter if clock == "wall" else time.thread_time
    taken = []
    for query in queries:
        start = now()
        bank.search(query[None], k)
        taken.append(now() - start)
    return np.array(taken[_WARM_UP:])


def width_of(source: str | None, changes: Mapping[str, Any]) -> int:
    """Return the width of the widest keys that a configuration's editor routes by; raises `ConfigError` for none."""
    ready = prepare(resolve(source, changes))
    with ready.computing():
        editor = ready.editor()
        try:
            keys = editor.encode([ready.stream.edits[0].query])
        finally:
            editor.close()
    width = max((array.shape[1] for array in keys.arrays.values()), default=0)
    if not width:
        raise ConfigError(
            f"editor={ready.config.editor.name} routes by no keys. Name one that does, or say --width N."
        )
    return width


def _directions(rng: np.random.Generator, n: int, width: int) -> np.ndarray:
    keys = rng.standard_normal((n, width), dtype=np.float32)
    return keys / np.linalg.norm(keys, axis=1, keepdims=True)
