"""The panel: which probes are asked at which step, what of it must be answered again, and the facts that come out.

Knows editors and models by their contracts only, and no files, clocks or streams (it is given a function from an
edit's id to its probes). Answers are taken from an earlier panel where nothing that decides them has changed, and put
off where no further edit can change them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import fields
from typing import TYPE_CHECKING

from lifelong.editing.contract import Editor, Privileged
from lifelong.log import Gauged, Probed, Timed
from lifelong.log.machine import rss_bytes
from lifelong.probing import latency
from lifelong.probing.asking import Reply, answered
from lifelong.probing.baseline import Baseline
from lifelong.probing.due import Asked, PanelSettings, Spent, draw_queries, in_parts, log_age_sample
from lifelong.probing.lost import Lost, lost, note, recall
from lifelong.probing.measure import Item, Score, asks_of, facts_of, scores_of
from lifelong.probing.memory import Memory, Remembered, reuse_key
from lifelong.probing.routes import RouteBook
from streams.types import AXES, Edit, Probe

if TYPE_CHECKING:
    from lifelong.models.vlm import VLM

_ENCODED_TOGETHER = 8  # edits, in the order of the stream, whose probes are encoded in one call


class Panel:
    """Asks probes and returns facts; `memory` is what it knows of earlier steps (from facts, after a resume)."""

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
        self.vlm, self.editor, self.settings, self.baseline, self.seed = vlm, editor, settings, baseline, seed
        self.memory = Memory()
        self._probes_of, self._general, self._kind_of = probes_of, general, kind_of
        if isinstance(editor, Privileged):
            editor.reveal(probes_of)
        self._book = RouteBook(editor)
        groups = [tuple(order[i : i + _ENCODED_TOGETHER]) for i in range(0, len(order), _ENCODED_TOGETHER)]
        self._groups = {edit_id: group for group in groups for edit_id in group}
        self._encoded: set[tuple[tuple[str, ...], bool]] = set()
        self._waiting: list[Asked] = []  # asked and not answered yet
        self._spent = Spent()

    @property
    def together(self) -> int:
        """How many batches of edits are answered in one go: one, where an answer may not wait for further edits."""
        waits = self.editor.lasting and not self.settings.gaps
        return self.settings.together if waits else 1

    def learn(self, step: int, sim_s: float, edits: Sequence[Edit]) -> list[Probed]:
        """Take in edits that just became visible, ask about them, and return the facts that are known by now.

        Called at every step, also where `settings.instant` is off: it is how the panel learns of edits. Where answers
        may wait, facts come with those of further edits, or by `flush`.
        """
        self._waiting.append(self.ask(step, sim_s, edits))
        return self.flush() if len(self._waiting) >= self.together else []

    def flush(self) -> list[Probed]:
        """Answer what waits and return its facts; to be called before an edit replaces or takes back another."""
        waiting, self._waiting = self._waiting, []
        return [fact for facts in self.answer(waiting) for fact in facts]

    def instant(self, step: int, sim_s: float, edits: Sequence[Edit]) -> list[Probed]:
        """Do what `learn` does, and return all facts at once."""
        return [*self.learn(step, sim_s, edits), *self.flush()]

    def full(
        self,
        step: int,
        sim_s: float,
        history: Sequence[str],
        retired: Mapping[str, str] | None = None,
        *,
        last: bool = False,
        whole: bool = False,
    ) -> list[Probed | Gauged | Timed]:
        """Return the facts of one panel: past edits, the general set, gauges and latency.

        `history` are the ids of visible edits in order; `retired` maps a replaced edit to its successor, a withdrawn
        one to ''. Where `settings` say so, a sample of them by age is asked about, and all of them when `last`, the
        run's, or `whole`.
        """
        waited = self.flush()
        self.memory.catch_up(history, retired or {})
        most = self.settings.most if self.editor.routed else self.settings.sample
        ids = log_age_sample(list(history), most) if most and not (last or whole) else list(history)
        # Those asked before and the general set; then new ones some at a time, for what is read of them is large.
        parts, probed = [], list[Probed]()
        old, *new = in_parts(ids, self._probes_of, self.memory.answers, self.settings.instant_axes)
        for some, general in [(old, self._general), *((part, ()) for part in new)]:
            with nullcontext() if some is old else self._expecting(some):
                parts.append(self._ask(step, sim_s, some, general))
                probed += self.answer(parts[-1:])[0]
        # Facts are in the order of the edits, whatever was asked before.
        place = {edit_id: i for i, edit_id in enumerate(ids)}
        probed.sort(key=lambda row: place.get(row.edit_id, len(place)))
        facts: list[Probed | Gauged | Timed] = [*waited, *probed, *self._gauges(step, sim_s)]
        facts += self._attributed(Asked.joined(parts), probed)
        if history and self._samples_latency(last):
            routes, answers = self.settings.latency_routes, self.settings.latency_answers
            n = latency.ROUTES if routes is None else routes
            drawn = draw_queries(history, self._probes_of, self._general, n, self.seed, step)
            facts += latency.samples(
                self.vlm, self.editor, drawn, routes=routes, answers=answers, max_tokens=self.baseline.max_tokens,
                step=step,
            )  # fmt: skip
        return facts

    def restore(
        self,
        rows: Iterable[Probed | Timed],
        history: Sequence[str] = (),
        retired: Mapping[str, str] | None = None,
        before: int = 0,
        counts: Mapping[str, int] | None = None,
    ) -> None:
        """Rebuild the memory from the facts committed before a resume, so that `reused` comes out equal too.

        `rows` in the order in which they were committed; `history` and `retired` as for `full` (what is not given is
        read off the rows). `before` counts the edits that were made before the first of the history, `counts` is what
        `counts` returned at the checkpoint.
        """
        self.memory = Memory.restored(rows, history, retired, before)
        self._spent = Spent()
        for name, count in (counts or {}).items():
            setattr(self._spent, name, count)

    def counts(self) -> dict[str, int]:
        """Return how many probes were asked since the last full panel, reused, and not finite."""
        return {"asked": self._spent.asked, "reused": self._spent.reused, "not_finite": self._spent.not_finite}

    def restart(self) -> None:
        """Forget all edits and answers, not what was encoded: the editor was put back to its beginning."""
        sampled = self.memory.sampled
        self.memory = Memory()
        self.memory.sampled = sampled

    def keys_from(self, other: Panel) -> None:
        """Take the keys of questions from another panel of this editor, which has to ask about each of them first."""
        self._book.source = other._book

    def ask(self, step: int, sim_s: float, edits: Sequence[Edit]) -> Asked:
        """Route the probes of edits that just became visible, and of those `settings.gaps` before them."""
        self.memory.learn(step, edits)
        due = dict.fromkeys(edit.id for edit in edits) if self.settings.instant else {}
        ids = list(self.memory.visible) if self.settings.gaps else []
        for position in range(max(0, len(ids) - len(edits)), len(ids)):
            due.update({ids[position - gap]: None for gap in self.settings.gaps if 0 < gap <= position})
        return self._ask(step, sim_s, list(due), (), self.settings.instant_axes or AXES)

    def answer(self, asked: Sequence[Asked]) -> list[list[Probed]]:
        """Answer what was asked and return its facts, asked by asked."""
        with self._spent.on("answer"):
            replies = self._answer(asked)
        return [self._facts(one, got) for one, got in zip(asked, replies, strict=True)]

    def _samples_latency(self, last: bool) -> bool:
        """Whether latency is due: at the last panel, and when the bank has grown enough since it was sampled.

        It depends on sizes alone, so equal runs sample at equal steps.
        """
        before, now = self.memory.sampled, self.editor.bank_len()
        growth = self.settings.latency_growth
        due = last or before is None or growth == 1 or now >= growth * max(before, 1)
        self.memory.sampled = now if due else before
        return due

    def _ask(
        self, step: int, sim_s: float, ids: Sequence[str], general: Sequence[Probe], axes: Collection[str] = AXES
    ) -> Asked:
        every = (item for edit_id in ids for item in self.memory.items(step, edit_id, self._probes_of(edit_id)))
        items = self.memory.unasked(step, (item for item in every if item.probe.axis in axes))
        items += [Item(p, step) for p in general]
        if not items:
            return Asked(step, sim_s, (), (), (), {})
        self._encode(items)
        with self._spent.on("route"):
            routes = self._book.routes([item.probe.query.digest for item in items])
        keys = [reuse_key(routes[item.probe.query.digest], self.editor.revision) for item in items]
        known = [self._known(item, key) for item, key in zip(items, keys, strict=True)]
        return Asked(step, sim_s, tuple(items), tuple(keys), tuple(known), routes)

    def _facts(self, asked: Asked, replies: Mapping[str, Reply]) -> list[Probed]:
        facts: list[Probed] = []
        for item, key, scores in zip(asked.items, asked.keys, asked.known, strict=True):
            reused, query = scores is not None, item.probe.query
            if scores is None:
                scores = scores_of(item.probe, item.role, replies[query.digest], self.baseline)
            self.memory.answers[item.probe.id] = Remembered(key, item.role, scores)
            self._spent.asked += 1
            self._spent.reused += reused
            kind = self._kind(item.probe)
            facts += facts_of(asked.step, asked.sim_s, item, asked.routes[query.digest], key, scores, reused, kind)
        note(facts, self.memory.first)
        self._spent.not_finite += sum(not reply.finite for reply in replies.values())
        return facts

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
        known = self.memory.known(item, key)
        if known is not None:
            return known
        if key == "":
            return scores_of(item.probe, item.role, self.baseline.reply(item.probe.query), self.baseline)
        return None

    def _answer(self, asked: Sequence[Asked]) -> list[dict[str, Reply]]:
        """Return the replies by query of each of `asked`; rows of all of them share batches."""
        asks = [asks_of(one.due(), self.baseline) for one in asked]
        flat = [(ask, one.routes[ask.query.digest]) for one, part in zip(asked, asks, strict=True) for ask in part]
        got = iter(
            answered(
                self.vlm, self.editor, flat, rows=self.settings.chunk, max_tokens=self.baseline.max_tokens,
                decode_all=self.settings.decode_all,
            )
        )  # fmt: skip
        return [{ask.query.digest: next(got) for ask in part} for part in asks]

    def _kind(self, probe: Probe) -> str:
        """Return the kind of the edit's prompt; `text` for a question of it that shows no picture."""
        kind = self._kind_of(probe.edit_id) if self._kind_of is not None else ""
        kind = kind or self.memory.kinds.get(probe.edit_id, "")
        return "text" if kind and probe.query.image is None else kind

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
        why = lost(self.memory.first, now, self.editor.holds, routed=bool(banks))
        values = [("index", "index_recall", share, n)] if banks else []
        values += [("lost", f"lost_{f.name}", getattr(why, f.name), why.asked) for f in fields(Lost)[1:]]
        return [Gauged(asked.step, asked.sim_s, kind, name, float(value), n) for kind, name, value, n in values]

    def _gauges(self, step: int, sim_s: float) -> list[Gauged]:
        spent, self._spent = self._spent, Spent()
        bank = [("bank", "bank_len", self.editor.bank_len(), 1), ("bank", "bank_bytes", self.editor.nbytes(), 1)]
        broken = ("panel", "answers_not_finite", spent.not_finite, spent.asked)
        drift = self.editor.weight_drift()
        weights = [] if drift is None else [("weights", "weight_drift", *drift)]
        values = [*bank, ("process", "rss_bytes", rss_bytes(), 1), *spent.values(), broken, *weights]
        return [Gauged(step, sim_s, kind, name, float(value), n) for kind, name, value, n in values]
