"""The panel: which probes are asked at which step, what of it must be answered again, and the facts that come out.

Knows editors and models by their contracts only, and no files, clocks or streams (it is given a function from an
edit's id to its probes). Answers are taken from an earlier panel where nothing that decides them has changed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import fields
from typing import TYPE_CHECKING

from lifelong.editing.contract import Editor
from lifelong.log import Gauged, Probed, Timed
from lifelong.log.machine import rss_bytes
from lifelong.probing import latency
from lifelong.probing.asking import Reply, answered
from lifelong.probing.baseline import Baseline
from lifelong.probing.due import Asked, PanelSettings, Spent, Told, draw, in_parts, items_of, log_age_sample
from lifelong.probing.lost import Lost, Standing, lost, note, recall
from lifelong.probing.measure import MEASURED, SUPERSEDED, WITHDRAWN, Item, Score, asks_of, facts_of, measure
from lifelong.probing.memory import Remembered, reuse_key
from lifelong.probing.routes import RouteBook
from streams.types import AXES, Edit, Probe

if TYPE_CHECKING:
    from lifelong.models.vlm import VLM

ENCODED_TOGETHER = 8  # edits, in the order of the stream, whose probes are encoded in one call


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
        order: Sequence[str] = (),
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
        self._asked: tuple[int, set[str]] = (-1, set())  # probes asked at this step already
        self._book = RouteBook(editor)
        groups = [tuple(order[i : i + ENCODED_TOGETHER]) for i in range(0, len(order), ENCODED_TOGETHER)]
        self._groups = {edit_id: group for group in groups for edit_id in group}
        self._encoded: set[tuple[tuple[str, ...], bool]] = set()
        self._memory: dict[str, Remembered] = {}
        self._first: dict[str, Standing] = {}  # how edits stood when first asked
        self._spent = Spent()
        self.not_finite = 0  # answers since the last full panel whose log-probabilities were no numbers

    @property
    def defers(self) -> bool:
        """Whether what `ask` gave may be answered after further edits (until one replaces or takes back another)."""
        return self.editor.lasting and not self.settings.gaps

    def instant(self, step: int, sim_s: float, edits: Sequence[Edit]) -> list[Probed]:
        """Return the facts of `ask`, answered at once."""
        return self.answer([self.ask(step, sim_s, edits)])[0].facts

    def ask(self, step: int, sim_s: float, edits: Sequence[Edit]) -> Asked:
        """Route the probes of edits that just became visible, and of those `settings.gaps` before them.

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
        return self._ask(step, sim_s, list(due), (), self.settings.instant_axes or AXES)

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
        one to ''. Where `settings` say so, a sample of them by age is asked about, and all of them when `last`.
        """
        taken_back = self._withdrawn()
        self._retired.update(retired or {})
        if self._withdrawn() != taken_back:  # no step passes when an edit is taken back, yet answers change
            self._asked = (-1, set())
        ids = self._due(history, last)
        parts, probed = [], list[Probed]()
        old, *new = in_parts(ids, self._probes_of, self._memory, self.settings.instant_axes)
        for some, general in [(old, self._general), *((part, ()) for part in new)]:
            with nullcontext() if some is old else self._expecting(some):
                parts.append(self._ask(step, sim_s, some, general))
                probed += self.answer(parts[-1:])[0].facts
        place = {edit_id: i for i, edit_id in enumerate(ids)}  # whatever was asked before, facts are in one order
        probed.sort(key=lambda row: place.get(row.edit_id, len(place)))
        facts: list[Probed | Gauged | Timed] = [*probed, *self._gauges(step, sim_s)]
        facts += self._attributed(Asked.joined(parts), probed)
        if history:
            queries = [p.query for edit_id in history for p in self._probes_of(edit_id)]
            drawn = draw(queries, self.settings.latency_routes, self.seed, step)
            most, answers = self.baseline.max_tokens, self.settings.latency_answers
            facts += latency.measure(self.vlm, self.editor, drawn, answers=answers, max_tokens=most, step=step)
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
            note([row], self._first)
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

    def keys_from(self, other: Panel) -> None:
        """Take the keys of questions from another panel of this editor, which has to ask about each of them first."""
        self._book.source = other._book

    def _due(self, history: Sequence[str], last: bool) -> list[str]:
        """Learn of visible edits and return those that a full panel asks about."""
        for position, edit_id in enumerate(history):
            self._order.setdefault(edit_id, position + 1)
        most = self.settings.most if self.editor.routed else self.settings.sample
        return log_age_sample(list(history), most) if most and not last else list(history)

    def _withdrawn(self) -> set[str]:
        return {edit_id for edit_id, successor in self._retired.items() if not successor}

    def _items(self, step: int, edit_id: str) -> list[Item]:
        return items_of(self._probes_of(edit_id), step - self._order[edit_id], self._retired.get(edit_id))

    def _ask(
        self, step: int, sim_s: float, ids: Sequence[str], general: Sequence[Probe], axes: Collection[str] = AXES
    ) -> Asked:
        done = self._asked[1] if self._asked[0] == step else set()
        items = [item for edit_id in ids for item in self._items(step, edit_id) if item.probe.axis in axes]
        items = [item for item in items if item.probe.id not in done]
        self._asked = (step, done | {item.probe.id for item in items})
        items += [Item(p, step) for p in general]
        if not items:
            return Asked(step, sim_s, (), (), (), {})
        self._encode(items)
        with self._spent.on("route"):
            routes = self._book.routes([item.probe.query.digest for item in items])
        keys = [reuse_key(routes[item.probe.query.digest], self.editor.revision) for item in items]
        known = [self._known(item, key) for item, key in zip(items, keys, strict=True)]
        return Asked(step, sim_s, tuple(items), tuple(keys), tuple(known), routes)

    def answer(self, asked: Sequence[Asked]) -> list[Told]:
        """Answer what was asked and return its facts, asked by asked, and how many answers were no numbers."""
        with self._spent.on("answer"):
            replies = self._answer(asked)
        told = [self._tell(one, got) for one, got in zip(asked, replies, strict=True)]
        self.not_finite += sum(one.not_finite for one in told)
        return told

    def _tell(self, asked: Asked, replies: Mapping[str, Reply]) -> Told:
        facts: list[Probed] = []
        for item, key, scores in zip(asked.items, asked.keys, asked.known, strict=True):
            reused, query = scores is not None, item.probe.query
            if scores is None:
                scores = measure(item.probe, item.role, replies[query.digest], self.baseline)
            self._memory[item.probe.id] = Remembered(key, item.role, scores)
            self._spent.asked += 1
            self._spent.reused += reused
            kind = self._kind(item.probe.edit_id)
            facts += facts_of(asked.step, asked.sim_s, item, asked.routes[query.digest], key, scores, reused, kind)
        note(facts, self._first)
        return Told(facts, sum(not reply.finite for reply in replies.values()))

    def _encode(self, items: Sequence[Item]) -> None:
        """Encode the general set once, then group by group: keys must not depend on which panel asks first.

        Of a group what is asked at once and the rest are encoded apart: many edits are replaced before the rest is
        ever asked.
        """
        at_once = self.settings.instant_axes or AXES
        of = (item.probe for item in items if item.probe.edit_id)
        wanted = dict.fromkeys((self._groups.get(p.edit_id, (p.edit_id,)), p.axis in at_once) for p in of)
        with self._spent.on("encode"):
            if not len(self._book):
                self._book.encode(p.query for p in self._general)
            for group, first in wanted:
                if (group, first) not in self._encoded:
                    probes = (p for edit_id in group for p in self._probes_of(edit_id))
                    with self._expecting(group):
                        self._book.encode(p.query for p in probes if (p.axis in at_once) == first)
                    self._encoded.add((group, first))

    def _expecting(self, ids: Sequence[str]) -> AbstractContextManager[None]:
        """Read the questions about edits with their targets, always: rounding of keys must not depend on when."""
        return self.vlm.expecting({p.query: p.target for edit_id in ids for p in self._probes_of(edit_id)})

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

    def _answer(self, asked: Sequence[Asked]) -> list[dict[str, Reply]]:
        """Return the replies by query of each of `asked`; rows of all of them share batches."""
        asks = [asks_of(one.due(), self.baseline) for one in asked]
        flat = [(ask, one.routes[ask.query.digest]) for one, part in zip(asked, asks, strict=True) for ask in part]
        got = iter(
            answered(
                self.editor, flat, rows=self.settings.chunk, max_tokens=self.baseline.max_tokens,
                decode_all=self.settings.decode_all,
            )
        )  # fmt: skip
        return [{ask.query.digest: next(got) for ask in part} for part in asks]

    def _kind(self, edit_id: str) -> str:
        if edit_id and edit_id not in self._kinds and self._kind_of is not None:
            self._kinds[edit_id] = self._kind_of(edit_id)
        return self._kinds.get(edit_id, "")

    def _attributed(self, asked: Asked, facts: Sequence[Probed]) -> list[Gauged]:
        """Return the recall of the editor's indexes against exact search, and why edits once right are wrong now."""
        banks, found = self.editor.routing_banks(), asked.routes
        true = found
        if not all(bank.exact for bank in banks):
            with ExitStack() as shadow:
                for bank in banks:
                    shadow.enter_context(bank.exactly())
                true = self._book.routes(list(found))
        query_of = {item.probe.id: item.probe.query.digest for item in asked.items}
        now = note(facts, {}, lambda row: row.edit_id in true[query_of[row.probe_id]].ids)
        share, n = recall(found, true)
        why = lost(self._first, now, self.editor.holds, routed=bool(banks))
        values = [("index", "index_recall", share, n)] if banks else []
        values += [("lost", f"lost_{f.name}", getattr(why, f.name), why.asked) for f in fields(Lost)[1:]]
        return [Gauged(asked.step, asked.sim_s, kind, name, float(value), n) for kind, name, value, n in values]

    def _gauges(self, step: int, sim_s: float) -> list[Gauged]:
        spent, self._spent = self._spent, Spent()
        not_finite, self.not_finite = self.not_finite, 0
        bank = [("bank", "bank_len", self.editor.bank_len(), 1), ("bank", "bank_bytes", self.editor.nbytes(), 1)]
        broken = ("panel", "answers_not_finite", not_finite, spent.asked)
        values = [*bank, ("process", "rss_bytes", rss_bytes(), 1), *spent.values(), broken]
        return [Gauged(step, sim_s, kind, name, float(value), n) for kind, name, value, n in values]
