"""Serving the traffic's queries: their routes when service begins, their answers then or later, and the verdicts.

Knows the editor's and the model's contracts, the frozen model's answers and what was posed; nothing of time passing,
queues or logs. What is computed here is kept here, in a cache of its own: no panel reuses it, so that a run probes
the same, to the last bit, with traffic and without.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lifelong.answering import answered
from lifelong.editing.contract import Editor, Route
from lifelong.probing import latency
from lifelong.probing.asking import Ask
from lifelong.probing.baseline import Baseline
from lifelong.probing.routes import RouteBook, reuse_key
from lifelong.probing.scorers import agreement, exact_match
from streams.types import Posed, Query

if TYPE_CHECKING:
    from lifelong.models.vlm import VLM

OUTSIDE = ("near", "far")
ENCODED_TOGETHER = 64  # queries whose keys are made in one call
ROWS = 512  # scored rows that share one application of the editor


@dataclass(frozen=True)
class Begun:
    """A query whose service has begun: its route; with a measured clock seconds by part and the answer."""

    posed: Posed
    route: Route
    wall_s: Mapping[str, float] | None = None
    text: str | None = None


@dataclass(frozen=True)
class Verdict:
    """What a query was told: `right` by what is true, `stale` if right only by what was true before."""

    answer: str
    right: bool
    stale: bool


class Server:
    """Answers queries through an editor; remembers answers by query, route and revision.

    `queries` are all that will be asked, in order.
    """

    def __init__(self, vlm: VLM, editor: Editor, baseline: Baseline, queries: Iterable[Query] = ()) -> None:
        self.vlm, self.editor, self.baseline = vlm, editor, baseline
        self._book = RouteBook(editor)
        self._coming = list({query.digest: query for query in queries}.values())
        self._place = {query.digest: n for n, query in enumerate(self._coming)}
        self._texts: dict[tuple[str, str], str] = {}
        self._cache = type(vlm.cache)(vlm.cache.budget_bytes // 4)

    @property
    def defers(self) -> bool:
        """Whether a query may be answered after further edits (its route, taken when it began, still holds)."""
        return self.editor.lasting

    def begin(self, posed: Posed, *, measured: bool) -> Begun:
        """Route a query now; with `measured` serve it alone, uncached, and note the seconds."""
        if not measured:
            return Begun(posed, self._route(posed.probe.query))
        with latency.other_cache(self.vlm):
            once = latency.serve_once(self.vlm, self.editor, posed.probe.query, self.baseline.max_tokens)
        return Begun(posed, once.route, once.wall_s, once.text)

    def answer(self, begun: Sequence[Begun]) -> list[Verdict]:
        """Answer what has begun and is not answered yet, each query and route once, and judge everything."""
        keys = [self._key(one) for one in begun]
        due = {
            key: (Ask(one.posed.probe.query, (one.posed.probe.target,)), one.route)
            for key, one in zip(keys, begun, strict=True)
            if one.text is None and key not in self._texts
        }
        with latency.other_cache(self.vlm, self._cache):
            got = answered(self.editor, list(due.values()), rows=ROWS, max_tokens=self.baseline.max_tokens)
        texts = {key: reply.text for key, reply in zip(due, got, strict=True)}
        if self.editor.routed:  # the others may answer anything else after the next edit
            self._texts |= texts
        pairs = zip(keys, begun, strict=True)
        known = ChainMap(texts, self._texts)
        return [self._judge(one.posed, known[key] if one.text is None else one.text) for key, one in pairs]

    def _route(self, query: Query) -> Route:
        """Return a query's present route; keys are made in blocks of the queries to come, whoever asks first."""
        if query.digest not in self._book:
            first = self._place[query.digest] // ENCODED_TOGETHER * ENCODED_TOGETHER
            with latency.other_cache(self.vlm, self._cache):
                self._book.encode(self._coming[first : first + ENCODED_TOGETHER])
        return self._book.routes([query.digest])[query.digest]

    def _key(self, one: Begun) -> tuple[str, str]:
        return one.posed.probe.query.digest, reuse_key(one.route, self.editor.revision)

    def _judge(self, posed: Posed, text: str) -> Verdict:
        frozen = self.baseline.text(posed.probe.query)
        if posed.scope in OUTSIDE:
            return Verdict(text, bool(agreement(text, frozen)), False)
        new = bool(exact_match(text, posed.probe.answers))
        old = bool(exact_match(text, (posed.before,)) if posed.before else agreement(text, frozen))
        right, outdated = (old, new) if posed.withdrawn else (new, old)
        return Verdict(text, right, outdated and not right)


class Nobody:
    """Stands where no query arrives."""

    defers = True

    def begin(self, posed: Posed, *, measured: bool) -> Begun:
        """Raise `ValueError`: a query arrived after all."""
        raise ValueError(f"probe {posed.probe.id} was posed and nobody answers.")

    def answer(self, begun: Sequence[Begun]) -> list[Verdict]:
        """Return nothing for nothing."""
        return []
