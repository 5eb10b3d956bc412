"""The traffic of a run: queries in service and not yet answered, and the facts about those that were.

Knows the contracts of server and clock; nothing of queues, panels or logs. A query sees the edits that are visible
when its service begins.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, replace
from typing import Any

from lifelong.editing.contract import Editor
from lifelong.log import Served
from lifelong.simulation.clock import PARTS, Clock
from lifelong.simulation.jobs import NANO, nanoseconds
from lifelong.simulation.queries import OUTSIDE, Begun, Verdict
from lifelong.simulation.roles import ServerLike
from lifelong.simulation.tally import Tally
from streams.types import Posed


class Traffic:
    """Queries between their beginning and their fact."""

    def __init__(self, server: ServerLike, clock: Clock, editor: Editor) -> None:
        self.clock, self.editor = clock, editor
        self._server = server
        self._asked: dict[int, tuple[Begun, Served]] = {}  # begun, not answered yet
        self._told: dict[int, Served] = {}  # answered, still in service
        self._ended: dict[int, float] = {}  # job -> end, of those not answered yet
        self._facts: list[Served] = []
        self.tally = Tally()

    @property
    def defers(self) -> bool:
        """Whether answers may wait until an edit replaces or takes back another."""
        return self._server.defers

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
        begun = self._server.begin(posed, measured=self.clock.measures)
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
        if self._asked:
            verdicts = self._server.answer([begun for begun, _ in self._asked.values()])
            for (job, (_, fact)), verdict in zip(self._asked.items(), verdicts, strict=True):
                self._file(job, fact, verdict)
            self._asked = {}
        facts, self._facts = self._facts, []
        return facts

    def _file(self, job: int, fact: Served, verdict: Verdict) -> None:
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
