"""Banks that evict by use: what the traffic asks about stays, and panels do not count as use."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

import lifelong
from lifelong.bank import Bank
from lifelong.log import Edited, RunLog

RUN = {
    "editor": "rag",
    "editor.capacity": 4,
    "editor.threshold": 0.2,
    "model": "tiny",
    "stream": "toy",
    "edits": 16,
    "panels.at": [8, 16],
    "panels.latency_routes": 2,
    "queries.rate": 4.0,
    "clock.edit_s": 0.7,
}


def stored(folder) -> set[str]:
    """The ids in the bank at the end of a run."""
    log = RunLog.open(folder)
    saved = log.checkpoint()
    assert saved is not None
    state = saved.part("editor").part("book").part("bank")
    bank = Bank(state.meta["width"], metric=state.meta["metric"])
    bank.load(state)
    return {i for i in log.table(Edited)["edit_id"].to_pylist() if i in bank}


class Used:
    """A list of entries by recency and number of uses: what the store says it does."""

    def __init__(self, rule: str) -> None:
        self.rule, self.tick = rule, 0
        self.entries: dict[str, list[int]] = {}  # id -> uses, last use, order of insertion
        self.evicted = 0

    def add(self, ids: Sequence[str]) -> None:
        for i in ids:
            if len(self.entries) == RUN["editor.capacity"]:
                column = {"lru": lambda e: e[1], "lfu": lambda e: (e[0], e[2]), "fifo": lambda e: e[2]}[self.rule]
                del self.entries[min(self.entries, key=lambda name: column(self.entries[name]))]
                self.evicted += 1
            self.tick += 1
            self.entries[i] = [0, self.tick, self.tick]

    def touch(self, ids: Sequence[str]) -> None:
        for i in ids:
            self.tick += 1
            self.entries[i][0] += 1
            self.entries[i][1] = self.tick


@pytest.mark.parametrize("rule", [*(pytest.param(rule, marks=pytest.mark.soak) for rule in ("fifo", "lru")), "lfu"])
def test_a_run_keeps_what_its_rule_says_of_what_its_queries_used(rule, tmp_path, monkeypatch) -> None:
    used, add, touch = Used(rule), Bank.add, Bank.touch

    def added(self, ids, *args, **kwargs):
        used.add(list(ids))
        return add(self, ids, *args, **kwargs)

    def touched(self, ids):
        used.touch(list(ids))
        touch(self, ids)

    monkeypatch.setattr(Bank, "add", added)
    monkeypatch.setattr(Bank, "touch", touched)
    folder = lifelong.run(quiet=True, out=str(tmp_path), **{**RUN, "editor.eviction": rule})
    assert used.evicted >= 8 and any(uses for uses, *_ in used.entries.values()) or rule == "fifo"
    assert stored(folder) == set(used.entries)
    says = RunLog.open(folder).manifest["scores_depend_on_time"]
    assert says == ([] if rule == "fifo" else [f"editor.eviction={rule}"])
