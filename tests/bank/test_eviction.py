"""Who leaves a full bank: by `fifo`, `lru`, `lfu`, held against a list of entries; and by a user's own function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lifelong.bank import Bank, Usage


@dataclass
class Entry:
    """What the rules know of an entry: when it was last used, and how often."""

    name: str
    last: int
    uses: int = 0


RANK: dict[str, Callable[[Entry], int]] = {"fifo": lambda e: 0, "lru": lambda e: e.last, "lfu": lambda e: e.uses}


@dataclass
class Reference:
    """A bank without keys: entries in order of insertion, and a clock that every addition and every use moves."""

    capacity: int
    rule: str
    entries: list[Entry] = field(default_factory=list)
    tick: int = 0

    def add(self, names: list[str]) -> list[str]:
        over = max(0, len(self.entries) + len(names) - self.capacity)
        leaving = [e.name for e in sorted(self.entries, key=RANK[self.rule])[:over]]  # of equal ones the oldest
        self.remove(leaving)
        for name in names:
            self.tick += 1
            self.entries.append(Entry(name, self.tick))
        return leaving

    def touch(self, names: list[str]) -> None:
        for name in names:
            self.tick += 1
            entry = next(e for e in self.entries if e.name == name)
            entry.last, entry.uses = self.tick, entry.uses + 1

    def remove(self, names: list[str]) -> None:
        self.entries = [e for e in self.entries if e.name not in names]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(list(RANK)), st.integers(1, 40), st.integers(1, 50))
def test_a_bank_evicts_as_a_list_of_entries_does(seed, rule, capacity, shard_len) -> None:
    rng, serial = np.random.default_rng(seed), 0
    bank = Bank(1, capacity=capacity, eviction=rule, shard_len=shard_len)
    reference = Reference(capacity, rule)
    for _ in range(60):
        held = [e.name for e in reference.entries]
        some = rng.choice(held, int(rng.integers(1, 6))).tolist() if held else []  # some stand twice
        match rng.choice(["add", "add", "touch", "touch", "touch", "unknown", "remove", "update", "reload"]):
            case "add":
                names = [f"e{serial + i}" for i in range(int(rng.integers(1, min(capacity, 5) + 1)))]
                serial += len(names)
                assert bank.add(names, np.ones((len(names), 1))) == reference.add(names)
            case "touch":
                bank.touch(some)
                reference.touch(some)
            case "unknown":
                with pytest.raises(KeyError, match="'nobody'"):
                    bank.touch([*some, "nobody"])
            case "remove":
                bank.remove(some[:1])
                reference.remove(some[:1])
            case "update" if some:
                bank.update(some[0], keys=np.zeros(1))  # a change is no use
            case _:
                bank.load(bank.state())
        assert bank.ids() == [e.name for e in reference.entries]


@pytest.mark.parametrize(("rule", "leaves"), [("fifo", "a"), ("lru", "b"), ("lfu", "c")])
def test_each_rule_lets_another_entry_go(rule, leaves) -> None:
    bank = Bank(1, capacity=3, eviction=rule)
    bank.add(["a", "b", "c"], np.ones((3, 1)))
    bank.touch(["b", "b", "c", "a", "a"])
    assert bank.add(["d"], np.ones((1, 1))) == [leaves]


def test_an_unknown_id_leaves_every_use_as_it_was() -> None:
    bank = Bank(1, capacity=2, eviction="lru")
    bank.add(["a", "b"], np.ones((2, 1)))
    bank.touch([])
    with pytest.raises(KeyError, match="'gone'"):
        bank.touch(["a", "gone"])
    assert bank.add(["c"], np.ones((1, 1))) == ["a"]


def test_searching_is_no_use() -> None:
    bank = Bank(1, capacity=2, eviction="lfu")
    bank.add(["a", "b"], np.array([[2.0], [1.0]]))
    bank.touch(["b"])
    assert bank.search(np.ones((3, 1)), 1).ids == [("a",)] * 3
    assert bank.add(["c"], np.ones((1, 1))) == ["a"]


def test_the_least_valuable_leave_by_the_users_own_function() -> None:
    seen: list[Usage] = []

    def value(usage: Usage) -> np.ndarray:
        seen.append(usage)
        return usage.uses + np.where(usage.keys[:, 0] > 5, 100, 0)

    bank = Bank(2, capacity=3, eviction=value)
    bank.add(["a", "b", "c"], np.array([[9.0, 0], [1, 0], [2, 0]]))
    bank.touch(["b"])
    assert bank.add(["d"], np.array([[3.0, 0]])) == ["c"]  # a is worth 100, b 1, c 0
    assert bank.add(["e"], np.array([[4.0, 0]])) == ["d"]
    assert seen[0].ids == ("a", "b", "c") and seen[0].uses.tolist() == [0, 1, 0] and seen[0].tick == 4
    bad = Bank(2, capacity=1, eviction=lambda usage: np.array([np.nan]))
    bad.add(["a"], np.ones((1, 2)))
    with pytest.raises(ValueError, match="one number"):
        bad.add(["b"], np.ones((1, 2)))
    assert bad.ids() == ["a"]
