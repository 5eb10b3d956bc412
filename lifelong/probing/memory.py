"""What a panel remembers from one step to the next: visible edits, their last answers, and how they stood at first.

Knows probes, facts and scores; asks nothing and routes nothing. After a resume the same memory is built from the
facts that were committed, so that a run goes on as if it had never been interrupted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from lifelong.editing.contract import Route
from lifelong.log import Probed, Timed
from lifelong.probing.due import items_of
from lifelong.probing.lost import Standing, note
from lifelong.probing.measure import MEASURED, SUPERSEDED, WITHDRAWN, Item, Score
from streams.types import Edit, Probe


@dataclass(frozen=True)
class Remembered:
    """The last answer to a probe: under which route (`key`), in which role, and how it scored."""

    key: str
    role: str
    scores: tuple[Score, ...]


def reuse_key(route: Route, revision: int) -> str:
    """Return what must be unchanged for an answer to be used again; empty for a query out of every scope.

    The query is not part of it: memories are kept per probe. An out-of-scope query is answered by the frozen base
    whatever the editor's revision, by contract.
    """
    return f"{route.digest}:{revision}" if route.in_scope else ""


class Memory:
    """A panel's memory; it holds nothing that a resume needs from a file of its own."""

    def __init__(self) -> None:
        self.visible: dict[str, int] = {}  # edit id -> the step at which it became visible, in order
        self.retired: dict[str, str] = {}  # replaced -> its successor, taken back -> ''
        self.kinds: dict[str, str] = {}  # edit id -> kind of its prompt
        self.answers: dict[str, Remembered] = {}  # probe id -> its last answer
        self.first: dict[str, Standing] = {}  # edit id -> how it stood when it was first asked about
        self.sampled: int | None = None  # entries in the bank when latency was last sampled
        self._asked: tuple[int, set[str]] = (-1, set())  # a step, and the probes that were asked at it

    @classmethod
    def restored(
        cls,
        rows: Iterable[Probed | Timed],
        history: Sequence[str],
        retired: Mapping[str, str] | None = None,
        before: int = 0,
    ) -> Memory:
        """Return the memory that the committed facts `rows`, in their order, left behind.

        `history` are the visible edits in order, after `before` others that are gone, and `retired` is as in a
        memory; what is not given is read off the rows.
        """
        memory = cls()
        last: dict[str, tuple[int, list[Probed]]] = {}
        for row in rows:
            if isinstance(row, Timed):
                memory.sampled = row.bank_len if row.operation == "route" else memory.sampled
                continue
            note([row], memory.first)
            if row.edit_id:
                memory.visible.setdefault(row.edit_id, row.step - row.age)
                if row.prompt_kind != "text":  # a question without a picture tells nothing of its edit's prompt
                    memory.kinds[row.edit_id] = row.prompt_kind
                memory.kinds.setdefault(row.edit_id, "text")
                if row.variant in (SUPERSEDED, WITHDRAWN):
                    memory.retired[row.edit_id] = "" if row.variant == WITHDRAWN else "a later edit"
            step, kept = last.setdefault(row.probe_id, (row.step, []))
            if step == row.step:
                kept.append(row)
            else:
                last[row.probe_id] = (row.step, [row])
        for probe_id, (_, kept) in last.items():
            role = kept[0].variant if kept[0].variant in (SUPERSEDED, WITHDRAWN) else MEASURED
            scores = tuple(Score(r.scorer, r.score, r.answer) for r in kept)
            memory.answers[probe_id] = Remembered(kept[0].route_digest, role, scores)
        memory.retired.update(retired or {})
        order = {edit_id: memory.visible.get(edit_id, before + i + 1) for i, edit_id in enumerate(history)}
        memory.visible = order or dict(sorted(memory.visible.items(), key=lambda entry: entry[1]))
        return memory

    def learn(self, step: int, edits: Sequence[Edit]) -> None:
        """Take in edits that became visible at a step."""
        for edit in edits:
            self.visible.setdefault(edit.id, step)
            self.kinds[edit.id] = edit.prompt_kind
            if edit.supersedes:
                self.retired[edit.supersedes] = edit.id

    def catch_up(self, history: Sequence[str], retired: Mapping[str, str]) -> None:
        """Take in all visible edits in order, and which of them were replaced or taken back since."""
        for position, edit_id in enumerate(history):
            self.visible.setdefault(edit_id, position + 1)
        before = self._withdrawn()
        self.retired.update(retired)
        if self._withdrawn() != before:  # no step passes when an edit is taken back, yet answers change
            self._asked = (-1, set())

    def items(self, step: int, edit_id: str, probes: Sequence[Probe]) -> list[Item]:
        """Return what there is to ask about an edit at a step."""
        return items_of(probes, step - self.visible[edit_id], self.retired.get(edit_id))

    def unasked(self, step: int, items: Iterable[Item]) -> list[Item]:
        """Return those that were not asked at this step yet, and note that they are now."""
        done = self._asked[1] if self._asked[0] == step else set()
        left = [item for item in items if item.probe.id not in done]
        self._asked = (step, done | {item.probe.id for item in left})
        return left

    def known(self, item: Item, key: str) -> tuple[Score, ...] | None:
        """Return the scores of the last answer where it was given in the same role under the same route."""
        last = self.answers.get(item.probe.id)
        same = last is not None and last.key == key and last.role == item.role
        return last.scores if same and last is not None else None

    def _withdrawn(self) -> set[str]:
        return {edit_id for edit_id, successor in self.retired.items() if not successor}
