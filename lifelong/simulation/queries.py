"""Queries in service: a desk that routes, answers and judges them, and the facts about those that were served.

Knows the contracts of editor, model and clock, the frozen model's answers and what was posed; nothing of queues,
panels or logs. A query sees the edits that are visible when its service begins. What is computed here is kept here,
in a cache of its own: no panel reuses it, so that a run probes the same, to the last bit, with traffic and without.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from lifelong.editing.contract import Editor, Route
from lifelong.log import Served
from lifelong.probing import latency
from lifelong.probing.asking import Ask, answered
from lifelong.probing.baseline import Baseline
from lifelong.probing.memory import reuse_key
from lifelong.probing.routes import RouteBook
from lifelong.probing.scorers import agreement, line_match
from lifelong.simulation.clock import PARTS, Clock
from lifelong.simulation.jobs import NANO, nanoseconds
from lifelong.simulation.tally import Tally
from streams.types import Posed, Query

if TYPE_CHECKING:
    from lifelong.models.vlm import VLM

OUTSIDE = ("near", "far")
_ENCODED_TOGETHER = 64  # queries whose keys are made in one call
_ROWS = 512  # scored rows that share one application of the editor


@dataclass(frozen=True)
class AtDesk:
    """A query whose service has begun: its route; with a measured clock seconds by part and the answer."""

    posed: Posed
    route: Route
    wall_s: Mapping[str, float] | None = None
    text: str | None = None


@dataclass(frozen=True)
class AnswerVerdict:
    """What a query was told: `right` by what is true, `stale` if right only by what was true before."""

    answer: str
    right: bool
    stale: bool


class Desk:
    """Answers queries through an editor; remembers answers by query, route and revision.

    `queries` are all that will be asked, in order.
    """

    def __init__(self, vlm: VLM, editor: Editor, baseline: Baseline, queries: Iterable[Query] = ()) -> None:
        self.vlm, self.editor, self.baseline = vlm, editor, baseline
        self._book = RouteBook(editor)
        self._coming = list({query.digest: query for query in queries}.values())
        self._place = {query.digest: n for n, query in enumerate(self._coming)}
        self._texts: dict[tuple[str, str], str] = {}
        self._cache = vlm.cache.anew(4)

    @property
    def defers(self) -> bool:
        """Whether a query may be answered after further edits (its route, taken when it began, still holds)."""
        return self.editor.lasting

    def begin(self, posed: Posed, *, measured: bool) -> AtDesk:
        """Route a query now; with `measured` serve it alone, uncached, and note the seconds.

        The entries that serve it are touched, for banks that evict by use; panels never touch.
        """
        if measured:
            with self.vlm.serving_with(timed=True):
                once = latency.serve_once(self.vlm, self.editor, posed.probe.query, self.baseline.max_tokens)
            at_desk = AtDesk(posed, once.route, once.wall_s, once.text)
        else:
            at_desk = AtDesk(posed, self._route(posed.probe.query))
        for bank in self.editor.routing_banks():
            bank.touch([edit_id for edit_id in at_desk.route.ids if edit_id in bank])
        return at_desk

    def answer(self, begun: Sequence[AtDesk]) -> list[AnswerVerdict]:
        """Answer what has begun and is not answered yet, each query and route once, and judge everything."""
        keys = [self._key(one) for one in begun]
        due = {
            key: (Ask(one.posed.probe.query, (one.posed.probe.target,)), one.route)
            for key, one in zip(keys, begun, strict=True)
            if one.text is None and key not in self._texts
        }
        with self.vlm.serving_with(self._cache):
            got = answered(self.vlm, self.editor, list(due.values()), rows=_ROWS, max_tokens=self.baseline.max_tokens)
        texts = {key: reply.text for key, reply in zip(due, got, strict=True)}
        if self.editor.routed:  # the others may answer anything else after the next edit
            self._texts |= texts
        pairs = zip(keys, begun, strict=True)
        known = ChainMap(texts, self._texts)
        return [self._judge(one.posed, known[key] if one.text is None else one.text) for key, one in pairs]

    def _route(self, query: Query) -> Route:
        """Return a query's present route; keys are made in blocks of the queries to come, whoever asks first."""
        if query.digest not in self._book:
            first = self._place[query.digest] // _ENCODED_TOGETHER * _ENCODED_TOGETHER
            with self.vlm.serving_with(self._cache):
                self._book.encode(self._coming[first : first + _ENCODED_TOGETHER])
        return self._book.routes([query.digest])[query.digest]

    def _key(self, one: AtDesk) -> tuple[str, str]:
        return one.posed.probe.query.digest, reuse_key(one.route, self.editor.revision)

    def _judge(self, posed: Posed, text: str) -> AnswerVerdict:
        frozen = self.baseline.text(posed.probe.query)
        if posed.scope in OUTSIDE:
            return AnswerVerdict(text, bool(agreement(text, frozen)), False)
        new = bool(line_match(text, posed.probe.answers))
        old = bool(line_match(text, (posed.before,)) if posed.before else agreement(text, frozen))
        right, outdated = (old, new) if posed.withdrawn else (new, old)
        return AnswerVerdict(text, right, outdated and not right)


class Queries:
    """The traffic's queries between their beginning and their fact; without a `desk` none may begin."""

    def __init__(self, desk: Desk | None, clock: Clock, editor: Editor) -> None:
        self.clock, self.editor = clock, editor
        self._desk = desk
        self._asked: dict[int, tuple[AtDesk, Served]] = {}  # begun, not answered yet
        self._told: dict[int, Served] = {}  # answered, still in service
        self._ended: dict[int, float] = {}  # job -> end, of those not answered yet
        self._facts: list[Served] = []
        self.tally = Tally()

    @property
    def defers(self) -> bool:
        """Whether answers may wait until an edit replaces or takes back another."""
        return self._desk is None or self._desk.defers

    def begin(
        self,
        job: int,
        query: int,
        posed: Posed,
        arrived: int,
        now: int,
        visible: Collection[str],
        retired: Mapping[str, str],
    ) -> int:
        """Begin the service of a query, number `query` of the traffic, and return its nanoseconds.

        `visible` are the ids of edits that are visible now; `retired` maps those taken back to ''.
        """
        if self._desk is None:
            raise ValueError(f"probe {posed.probe.id} is posed and nobody answers it: give a `desk`.")
        begun = self._desk.begin(posed, measured=self.clock.measures)
        bank_len = self.editor.bank_len()
        wall_s = begun.wall_s or {}
        parts = {part: self.clock.service_s(part, 1, bank_len, wall_s.get(part)) for part in PARTS}
        self._asked[job] = (
            begun,
            Served(
                step=len(visible),
                sim_s=0.0,
                query=query,
                probe_id=posed.probe.id,
                edit_id=posed.edit_id,
                scope=posed.scope,
                arrived_sim_s=arrived / NANO,
                begun_sim_s=now / NANO,
                encode_s=parts["encode"],
                route_s=parts["route"],
                apply_s=parts["apply"],
                answer_s=parts["answer"],
                bank_len=bank_len,
                stale_version=is_stale(posed, visible, retired),
                routed_n=len(begun.route.ids),
                routed_home=posed.edit_id in begun.route.ids,
            ),
        )
        return nanoseconds(sum(parts.values()))

    def end(self, job: int, now: int) -> None:
        """End a query's service."""
        if job in self._told:
            self._facts.append(replace(self._told.pop(job), sim_s=now / NANO))
        else:
            self._ended[job] = now / NANO

    @property
    def waiting(self) -> int:
        """How many queries wait to be answered."""
        return len(self._asked)

    def answered(self) -> list[Served]:
        """Answer all that has begun, and return the facts of those whose service has ended."""
        if self._asked and self._desk is not None:
            verdicts = self._desk.answer([begun for begun, _ in self._asked.values()])
            for (job, (_, fact)), verdict in zip(self._asked.items(), verdicts, strict=True):
                self._file(job, fact, verdict)
            self._asked = {}
        facts, self._facts = self._facts, []
        return facts

    def _file(self, job: int, fact: Served, verdict: AnswerVerdict) -> None:
        fact = replace(fact, right=verdict.right, stale_answer=verdict.stale, answer=verdict.answer)
        if job in self._ended:
            self._facts.append(replace(fact, sim_s=self._ended.pop(job)))
        else:
            self._told[job] = fact

    def state(self) -> dict[str, Any]:
        """Return what `load` needs, after `answered`: the queries that are still in service."""
        return {"told": [[job, asdict(fact)] for job, fact in self._told.items()], "tally": self.tally.state()}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        self._told = {int(job): Served(**fact) for job, fact in state["told"]}
        self.tally.load(state["tally"])


def is_stale(posed: Posed, visible: Collection[str], retired: Mapping[str, str]) -> bool:
    """Whether what was true when a query was posed is not visible yet: its edit, or that it was taken back."""
    if posed.scope in OUTSIDE:
        return False
    if posed.withdrawn:
        return posed.edit_id in visible and retired.get(posed.edit_id) != ""
    return posed.edit_id not in visible
