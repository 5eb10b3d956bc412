"""The panel: which probes are asked at which step, what of it must be answered again, and the facts that come out.

Knows editors and models by their contracts only, and no files, clocks or streams (it is given a function from an
edit's id to its probes). Answers are taken from an earlier panel where nothing that decides them has changed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lifelong import latency
from lifelong.asking import Ask, Reply, chunks_of, replies, rows_of
from lifelong.baseline import Baseline
from lifelong.editor import Editor, Route
from lifelong.log import Gauged, Probed, Timed
from lifelong.manifest import rss_bytes
from lifelong.measure import MEASURED, SUPERSEDED, WITHDRAWN, Item, Score, facts_of, measure, wanted_top
from lifelong.reuse import Remembered, RouteBook, reuse_key
from lifelong.sampling import draw, log_age_sample
from streams.types import Edit, Probe, Query

if TYPE_CHECKING:
    from lifelong.models.vlm import VLM


@dataclass(frozen=True)
class PanelSettings:
    """What a panel asks; the simulator decides when."""

    instant: bool = True  # probe every edit as soon as it is visible
    gaps: tuple[int, ...] = ()  # after edit i also probe edit i - gap
    sample: int = 200  # edits probed before the last panel by editors that may change any answer
    chunk: int = 512  # rows scored inside one application of the editor
    latency_routes: int = 200  # queries encoded and routed one at a time, per panel
    latency_answers: int = 50  # of these, answered in full
    brute: bool = False  # answer everything again: the reference that reuse must equal
    decode_all: bool = False  # decode also what follows from scoring: the reference for that


@dataclass
class Spent:
    """Seconds and counts since the last full panel."""

    wall_s: dict[str, float] = field(default_factory=lambda: dict.fromkeys(("encode", "route", "answer"), 0.0))
    asked: int = 0
    reused: int = 0

    @contextmanager
    def on(self, part: str):
        """Add the time spent in the body to one part."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.wall_s[part] += time.perf_counter() - start


class Panel:
    """Asks probes and returns facts; holds routing keys and last answers, nothing that a resume needs from a file."""

    def __init__(
        self,
        vlm: VLM,
        editor: Editor,
        probes_of: Callable[[str], tuple[Probe, ...]],
        general: tuple[Probe, ...],
        settings: PanelSettings,
        baseline: Baseline,
        seed: int = 0,
        *,
        kind_of: Callable[[str], str] | None = None,
    ) -> None:
        self.vlm = vlm
        self.editor = editor
        self.settings = settings
        self.baseline = baseline
        self.seed = seed
        self._probes_of = probes_of
        if editor.privileged:
            editor.reveal(probes_of)
        self._general = general
        self._kind_of = kind_of
        self._kinds: dict[str, str] = {}
        self._order: dict[str, int] = {}  # edit id -> step at which it became visible, in order
        self._retired: dict[str, str] = {}
        self._asked: tuple[int, set[str]] = (-1, set())  # edits asked at this step already
        self._book = RouteBook(editor)
        self._memory: dict[str, Remembered] = {}
        self._spent = Spent()
        self.not_finite = 0  # answers since the last full panel whose log-probabilities were no numbers

    def instant(self, step: int, sim_s: float, edits: Sequence[Edit]) -> list[Probed]:
        """Return the facts about edits that just became visible, and about those `settings.gaps` before them.

        Called at every step, also where `settings.instant` is off: it is how the panel learns of edits.
        """
        due: dict[str, None] = {}
        for edit in edits:
            self._order.setdefault(edit.id, step)
            self._kinds[edit.id] = edit.prompt_kind
            if edit.supersedes:
                self._retired[edit.supersedes] = edit.id
            if self.settings.instant:
                due[edit.id] = None
        ids = list(self._order) if self.settings.gaps else []
        for position in range(max(0, len(ids) - len(edits)), len(ids)):
            due.update({ids[position - gap]: None for gap in self.settings.gaps if 0 < gap <= position})
        return self._ask(step, sim_s, list(due), ())

    def full(
        self,
        step: int,
        sim_s: float,
        history: Sequence[str],
        retired: Mapping[str, str] | None = None,
        *,
        last: bool = False,
    ) -> list[Probed | Gauged | Timed]:
        """Return the facts of one panel: past edits, the general set, gauges and latency.

        `history` are the ids of visible edits in order; `retired` maps a replaced edit to its successor, a withdrawn
        one to ''. Editors that may change any answer are asked about a sample by age, and about all when `last`.
        """
        taken_back = self._withdrawn()
        self._retired.update(retired or {})
        if self._withdrawn() != taken_back:  # no step passes when an edit is taken back, yet answers change
            self._asked = (-1, set())
        self._learn(history)
        ids = list(history)
        if not self.editor.routed and not last:
            ids = log_age_sample(ids, self.settings.sample)
        asked = self._ask(step, sim_s, ids, self._general)
        facts: list[Probed | Gauged | Timed] = [*asked, *self._gauges(step, sim_s)]
        if history:
            queries = [p.query for edit_id in history for p in self._probes_of(edit_id)]
            facts += latency.measure(
                self.vlm,
                self.editor,
                draw(queries, self.settings.latency_routes, self.seed, step),
                answers=self.settings.latency_answers,
                max_tokens=self.baseline.max_tokens,
                step=step,
            )
        return facts

    def restore(
        self, rows: Iterable[Probed], history: Sequence[str] = (), retired: Mapping[str, str] | None = None
    ) -> None:
        """Rebuild the memories from the facts committed before a resume, so that `reused` comes out equal too.

        `rows` in the order in which they were committed; `history` and `retired` as for `full` (what is not given is
        read off the rows).
        """
        last: dict[str, tuple[int, list[Probed]]] = {}
        for row in rows:
            if row.edit_id:
                self._order.setdefault(row.edit_id, row.step - row.age)
                self._kinds[row.edit_id] = row.prompt_kind
                if row.variant in (SUPERSEDED, WITHDRAWN):
                    self._retired[row.edit_id] = "" if row.variant == WITHDRAWN else "a later edit"
            step, kept = last.setdefault(row.probe_id, (row.step, []))
            if step == row.step:
                kept.append(row)
            else:
                last[row.probe_id] = (row.step, [row])
        for probe_id, (_, kept) in last.items():
            role = kept[0].variant if kept[0].variant in (SUPERSEDED, WITHDRAWN) else MEASURED
            scores = tuple(Score(r.scorer, r.score, r.answer) for r in kept)
            self._memory[probe_id] = Remembered(kept[0].route_digest, role, scores)
        self._retired.update(retired or {})
        if history:
            self._order = {edit_id: self._order.get(edit_id, i + 1) for i, edit_id in enumerate(history)}
        else:
            self._order = dict(sorted(self._order.items(), key=lambda entry: entry[1]))
        if self._memory:
            self._encode(self._order)

    def _learn(self, history: Sequence[str]) -> None:
        for position, edit_id in enumerate(history):
            self._order.setdefault(edit_id, position + 1)

    def _withdrawn(self) -> set[str]:
        return {edit_id for edit_id, successor in self._retired.items() if not successor}

    def _items(self, step: int, edit_id: str) -> list[Item]:
        age = step - self._order[edit_id]
        probes = self._probes_of(edit_id)
        if edit_id not in self._retired:
            return [Item(p, age) for p in probes]
        if self._retired[edit_id]:
            return [Item(p, age, SUPERSEDED) for p in probes if p.axis == "reliability"]
        return [Item(p, age, WITHDRAWN) for p in probes]

    def _ask(self, step: int, sim_s: float, ids: Sequence[str], general: Sequence[Probe]) -> list[Probed]:
        done = self._asked[1] if self._asked[0] == step else set()
        fresh = [i for i in ids if i not in done]
        self._asked = (step, done | set(fresh))
        items = [item for edit_id in fresh for item in self._items(step, edit_id)]
        items += [Item(p, step) for p in general]
        if not items:
            return []
        self._encode(fresh)
        with self._spent.on("route"):
            routes = self._book.routes([item.probe.query.digest for item in items])
        keys = [reuse_key(routes[item.probe.query.digest], self.editor.revision) for item in items]
        known = [self._known(item, key) for item, key in zip(items, keys, strict=True)]
        due = [item for item, scores in zip(items, known, strict=True) if scores is None]
        with self._spent.on("answer"):
            answered = self._answer(due, routes)
        facts: list[Probed] = []
        for item, key, scores in zip(items, keys, known, strict=True):
            reused = scores is not None
            if scores is None:
                scores = measure(item.probe, item.role, answered[item.probe.query.digest], self.baseline)
            self._memory[item.probe.id] = Remembered(key, item.role, scores)
            self._spent.asked += 1
            self._spent.reused += reused
            kind = self._kind(item.probe.edit_id)
            facts += facts_of(step, sim_s, item, routes[item.probe.query.digest], key, scores, reused, kind)
        return facts

    def _encode(self, ids: Iterable[str]) -> None:
        """Encode the general set once, then edit by edit: keys must not depend on which panel asks first."""
        with self._spent.on("encode"):
            if not len(self._book):
                self._book.encode(p.query for p in self._general)
            for edit_id in ids:
                self._book.encode(p.query for p in self._probes_of(edit_id))

    def _known(self, item: Item, key: str) -> tuple[Score, ...] | None:
        """Return the scores that asking again would give, or None where it has to be asked."""
        if self.settings.brute or not self.editor.routed:
            return None
        remembered = self._memory.get(item.probe.id)
        if remembered is not None and remembered.key == key and remembered.role == item.role:
            return remembered.scores
        if key == "":
            return measure(item.probe, item.role, self.baseline.reply(item.probe.query), self.baseline)
        return None

    def _answer(self, items: Sequence[Item], routes: Mapping[str, Route]) -> dict[str, Reply]:
        asks = self._asks(items)
        found: dict[str, Reply] = {}
        for chunk in chunks_of(asks, self.settings.chunk):
            part = [asks[i] for i in chunk]
            queries = [part[i].query for i, _ in rows_of(part)]
            with self.editor.applied(queries, [routes[q.digest] for q in queries]) as answerer:
                got = replies(
                    answerer, part, max_tokens=self.baseline.max_tokens, decode_all=self.settings.decode_all
                )
            found.update((ask.query.digest, reply) for ask, reply in zip(part, got, strict=True))
        self.not_finite += sum(not reply.finite for reply in found.values())
        return found

    def _asks(self, items: Sequence[Item]) -> list[Ask]:
        """Return one ask per query: the targets scored, and the frozen model's answer where that is expected."""
        queries: dict[str, Query] = {}
        targets: dict[str, dict[str, None]] = {}
        tops: dict[str, int] = {}
        for item in items:
            query = item.probe.query
            queries.setdefault(query.digest, query)
            wanted = targets.setdefault(query.digest, {})
            wanted[item.probe.target] = None
            if item.probe.reference == "baseline" or item.role == WITHDRAWN:
                expected = self.baseline.text(query)
                if expected:
                    wanted[expected] = None
            tops[query.digest] = max(tops.get(query.digest, 0), wanted_top(item.probe))
        return [Ask(queries[d], tuple(targets[d]), tops[d]) for d in queries]

    def _kind(self, edit_id: str) -> str:
        if edit_id and edit_id not in self._kinds and self._kind_of is not None:
            self._kinds[edit_id] = self._kind_of(edit_id)
        return self._kinds.get(edit_id, "")

    def _gauges(self, step: int, sim_s: float) -> list[Gauged]:
        spent, self._spent = self._spent, Spent()
        not_finite, self.not_finite = self.not_finite, 0
        values = [
            ("bank", "bank_len", self.editor.bank_len(), 1),
            ("bank", "bank_bytes", self.editor.nbytes(), 1),
            ("process", "rss_bytes", rss_bytes(), 1),
            ("panel", "probes_asked", spent.asked, 1),
            ("panel", "probes_reused", spent.reused, spent.asked),
            ("panel", "answers_not_finite", not_finite, spent.asked),
            *(("panel", f"{part}_wall_s", wall_s, spent.asked) for part, wall_s in spent.wall_s.items()),
        ]
        return [Gauged(step, sim_s, kind, name, float(value), n) for kind, name, value, n in values]
