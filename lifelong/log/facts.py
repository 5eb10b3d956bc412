"""The facts that a run appends to its log, and their Arrow schemas; readable without torch.

Knows nothing about files, editors or streams. Schema (version 3; `step` = edits visible so far; `_s` simulated
seconds, `_wall_s` measured seconds):

edited: one row per edit, when it becomes visible
    step, sim_s          int64, float64   the step and moment at which it became visible
    edit_id              string
    arrived_sim_s        float64          when it reached the system
    visible_sim_s        float64          when its service ended
    edit_wall_s          float64          measured time of its batch's `edit`
    batch_len            int64            edits in that batch
    prompt_kind, relation, note           string
    outcome              string           applied; no-op: nothing in the editor changed; skipped: the method does not
                                          take such an edit; not finite: the update was refused (`note` says why)
    knowledge            string           updated: the frozen model gave the answer that was true before; unknown: it
                                          gave another; '' where nobody asked it or the stream does not say what was

probed: one row per probe, scorer and panel: a cell of the matrix R[step, edit]
    step, sim_s          int64, float64   when it was asked
    probe_id, edit_id    string           `edit_id` is the edit it measures ('' for the general set)
    age                  int64            edits that became visible after that edit
    axis, variant, modality, prompt_kind  string (variant `superseded`: the replaced answer still given;
                                          `withdrawn`: agreement with the frozen model after a withdrawal)
    scorer               string           teacher_forced, generated, locality_top1_answer, locality_top1_all,
                                          locality_top10_all, nll
    score                float64
    answer               string           the generated answer
    routed_ids           list<string>     the edits that served it, by weight, at most 8
    routed_n             int64            how many served it
    routed_home          bool             its own edit is among all of them
    route_digest         string           identifies the whole route and the editor's revision ('' when none)
    route_score          float64 or null  the best expert's score
    reused               bool             the answer was taken from an earlier panel: its route had not changed
    best_score           float64 or null  how near the nearest stored expert was, also where the route was refused:
                                          higher is nearer, on the scale by which the editor decides scope (its
                                          `route` says which); null where nothing was stored or searched

gauged: one number about the system
    step, sim_s, kind, name, value (float64), n (int64: what the number was taken over)
    kinds of a panel: bank, process, panel, index, lost, weights (`weight_drift`: the norm of the change of the
    matrices that edits change, over their own); of the simulation: loop, queue, traffic, withdrawn,
    restored (after this step the editor was put back to its beginning; its value: how many edits that took out)

timed: one latency sample, one query or batch at a time, uncached
    step, bank_len, operation (encode, route, apply, answer, edit, ...), wall_s

served: one row per query of the traffic, when its service ends
    step, sim_s          int64, float64   edits visible when its service began; the moment of its end
    query                int64            its number in the traffic
    probe_id, edit_id    string           what was asked; the edit that it is about ('' far out of scope)
    scope                string           edited, rephrased, rendering, near, far
    arrived_sim_s, begun_sim_s            float64; latency counts from the intended arrival
    encode_s, route_s, apply_s, answer_s  float64, simulated seconds of the parts of its service
    bank_len             int64
    stale_version        bool             what it is about had arrived (or been taken back) and was not visible yet
    stale_answer         bool or null     right by what was true before, wrong by what is (null: not answered)
    right                bool or null     right by what is true; out of scope: as the frozen model answers
    answer               string
    routed_n, routed_home                 int64, bool
    replica              int64            which of several copies of the system served it
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any, get_type_hints

import pyarrow as pa

FACTS_SCHEMA = 3

APPLIED, NO_OP, SKIPPED, NOT_FINITE = OUTCOMES = ("applied", "no-op", "skipped", "not finite")
UPDATED, UNKNOWN = "updated", "unknown"
RESTORED = "restored"
"""The kind of a gauge that says: after this step the editor was put back, and so many edits are in it no more."""


@dataclass(frozen=True)
class Edited:
    """An edit became visible; `outcome`, one of `OUTCOMES`, says what became of it."""

    step: int
    sim_s: float
    edit_id: str
    arrived_sim_s: float
    visible_sim_s: float
    edit_wall_s: float
    batch_len: int = 1
    prompt_kind: str = ""
    relation: str = ""
    note: str = ""
    outcome: str = APPLIED
    knowledge: str = ""


@dataclass(frozen=True)
class Probed:
    """One answer to one probe, under one scorer: a cell of the matrix R[step, edit]."""

    step: int
    sim_s: float
    probe_id: str
    edit_id: str
    age: int
    axis: str
    variant: str
    modality: str
    prompt_kind: str
    scorer: str
    score: float
    answer: str = ""
    routed_ids: Sequence[str] = ()
    routed_n: int = 0
    routed_home: bool = False
    route_digest: str = ""
    route_score: float | None = None
    reused: bool = False
    best_score: float | None = None


@dataclass(frozen=True)
class Gauged:
    """One number about the system at one step; names end in their unit."""

    step: int
    sim_s: float
    kind: str
    name: str
    value: float
    n: int = 1


@dataclass(frozen=True)
class Timed:
    """One raw latency sample in measured seconds."""

    step: int
    bank_len: int
    operation: str
    wall_s: float


@dataclass(frozen=True)
class Served:
    """A query of the traffic, served."""

    step: int
    sim_s: float
    query: int
    probe_id: str
    edit_id: str
    scope: str
    arrived_sim_s: float
    begun_sim_s: float
    encode_s: float
    route_s: float
    apply_s: float
    answer_s: float
    bank_len: int = 0
    stale_version: bool = False
    stale_answer: bool | None = None
    right: bool | None = None
    answer: str = ""
    routed_n: int = 0
    routed_home: bool = False
    replica: int = 0


Fact = Edited | Probed | Gauged | Timed | Served
FACTS: tuple[type, ...] = (Edited, Probed, Gauged, Timed, Served)

_ARROW = {
    int: pa.int64(),
    float: pa.float64(),
    float | None: pa.float64(),
    str: pa.string(),
    bool: pa.bool_(),
    bool | None: pa.bool_(),
    Sequence[str]: pa.list_(pa.string()),
}


def schema_of(fact: type) -> pa.Schema:
    """Return the Arrow schema of a fact type.

    >>> schema_of(Timed).names
    ['step', 'bank_len', 'operation', 'wall_s']
    """
    hints = get_type_hints(fact)
    return pa.schema([(f.name, _ARROW[hints[f.name]]) for f in fields(fact)])


def table_of(fact: type, rows: Iterable[Any]) -> pa.Table:
    """Return the Arrow table of facts of one type, in the order given."""
    kept = [row for row in rows if type(row) is fact]
    schema = schema_of(fact)
    arrays = [pa.array([getattr(row, f.name) for row in kept], type=f.type) for f in schema]
    return pa.Table.from_arrays(arrays, schema=schema)
