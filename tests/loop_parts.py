"""Small parts for tests of the event loop: an editor over a bank, a panel that asks it, a log in memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any, cast

import numpy as np

from lifelong.bank import Bank
from lifelong.editing.contract import CollapseError, Editor, Keys, Route
from lifelong.log import Edited, Fact, Gauged, Probed, Timed
from lifelong.log.checkpoint import State
from streams.times.arrivals import arrival_offsets, timetable
from streams.types import Arrival, Edit, Posed, Query, Withdraw, digest_of


def key_of(text: str) -> np.ndarray:
    """A direction of its own for every text."""
    rng = np.random.default_rng(int(digest_of(text), 16))
    key = rng.normal(size=8).astype(np.float32)
    return key / np.linalg.norm(key)


class BankEditor(Editor):
    """Remembers edits in a first-in-first-out bank; refuses what is called `bad`."""

    removes = True

    def __init__(self, turn: int = 1, capacity: int | None = None) -> None:
        vlm = SimpleNamespace(sync=lambda: None, serving_with=lambda **_: nullcontext())
        super().__init__(cast(Any, vlm))
        self.turn = turn
        self.bank = Bank(8, capacity=capacity, eviction="never" if capacity is None else "fifo")
        self.batches: list[int] = []

    def edit(self, edits: Sequence[Edit]) -> None:
        self.batches.append(len(edits))
        if any(e.target == "bad" for e in edits):
            raise CollapseError("the loss is not finite")
        self.bank.add([e.id for e in edits], np.stack([key_of(e.query.prompt) for e in edits]))

    def encode(self, queries: Sequence[Query]) -> Keys:
        return Keys({"text": np.stack([key_of(q.prompt) for q in queries])})

    def route(self, keys: Keys) -> list[Route]:
        found = self.bank.search(keys["text"], 1)
        return [Route(ids, (float(s[0]),)) for ids, s in zip(found.ids, found.scores, strict=True)]

    def remove(self, ids: Sequence[str]) -> None:
        self.bank.remove(ids)

    def bank_len(self) -> int:
        return len(self.bank)

    def state(self) -> State:
        inner = self.bank.state()
        return State(inner.tensors, {"bank": dict(inner.meta)})

    def load(self, state: State) -> None:
        self.bank.load(State(state.tensors, state.meta["bank"]))


class HomePanel:
    """One probe per edit: is its query routed to it? Notes how it was called."""

    def __init__(self, editor: Editor, edits: Iterable[Edit]) -> None:
        self.editor = editor
        self.queries = {e.id: e.query for e in edits}
        self.calls: list[tuple[int, bool]] = []
        self.retired: Mapping[str, str] = {}
        self.restored = self.restarted = 0

    def learn(self, step: int, sim_s: float, edits: Sequence[Edit]) -> list[Probed]:
        return self._ask(step, sim_s, [e.id for e in edits])

    def flush(self) -> list[Probed]:
        return []

    def full(
        self,
        step: int,
        sim_s: float,
        history: Sequence[str],
        retired: Mapping[str, str],
        *,
        last: bool,
        whole: bool = False,
    ) -> list[Probed | Gauged | Timed]:
        self.calls.append((step, last))
        self.retired = retired
        return [*self._ask(step, sim_s, [i for i in history if i not in retired])]

    def restore(self, rows: Iterable[Probed | Timed], history, retired=None, before=0, counts=None) -> None:
        self.restored = len(list(rows))

    def counts(self) -> dict[str, int]:
        return {}

    def restart(self) -> None:
        self.restarted += 1

    def _ask(self, step: int, sim_s: float, ids: Sequence[str]) -> list[Probed]:
        if not ids or not self.editor.bank_len():
            return []
        routes = self.editor.route(self.editor.encode([self.queries[i] for i in ids]))
        pairs = zip(ids, routes, strict=True)
        axis, scorer = "reliability", "generated"
        return [
            Probed(
                step, sim_s, "p" + i, i, 0, axis, "", "text", "", scorer, float(r.ids == (i,)), route_digest=r.digest
            )
            for i, r in pairs
        ]


class SilentPanel:
    """Asks nothing."""

    def learn(self, step: int, sim_s: float, edits: Sequence[Edit]) -> list[Probed]:
        return []

    def flush(self) -> list[Probed]:
        return []

    def full(
        self,
        step: int,
        sim_s: float,
        history: Sequence[str],
        retired: Mapping[str, str],
        *,
        last: bool,
        whole: bool = False,
    ) -> list:
        return []

    def restore(self, rows: Iterable[Probed | Timed], history, retired=None, before=0, counts=None) -> None:
        return None

    def counts(self) -> dict[str, int]:
        return {}

    def restart(self) -> None:
        return None


class MemoryLog:
    """Keeps facts and checkpoints in lists."""

    def __init__(self) -> None:
        self.panels: list[list[Fact]] = []
        self.checkpoints: list[State] = []

    def commit(self, panel_index: int, facts: Sequence[Fact], checkpoint: State) -> None:
        assert panel_index == len(self.panels)
        self.panels.append(list(facts))
        self.checkpoints.append(checkpoint)

    def table(self, fact: type) -> Any:
        raise NotImplementedError

    def facts(self, kind: type) -> list[Any]:
        return [f for part in self.panels for f in part if isinstance(f, kind)]

    def edited(self) -> list[Edited]:
        return self.facts(Edited)


def some_edits(n: int, **changes: Any) -> list[Edit]:
    return [Edit(f"e{i}", Query(f"question {i}"), "answer", f"subject {i}", **changes) for i in range(n)]


def arriving(
    items: Sequence[Edit | Posed | Withdraw], name: str = "poisson", rate: float = 1.0, seed: int = 0
) -> tuple[Arrival, ...]:
    return timetable(items, arrival_offsets(name, len(items), rate, seed))
