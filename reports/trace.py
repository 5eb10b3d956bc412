"""A run's timeline for chrome://tracing and Perfetto: arrivals waiting, edits and queries in service, panels.

Knows facts and the trace format (JSON objects: complete and instant events); draws nothing. Simulated seconds become
microseconds of the trace.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lifelong.log import Edited, Gauged, RunLog, Served
from reports.written import write_whole

MICRO = 1e6
WAITING, CHANGES, QUERIES = 1, 2, 3
_NAMES = {WAITING: "waiting", CHANGES: "edits in the system", QUERIES: "queries in service"}


def events(log: RunLog) -> list[dict[str, Any]]:
    """Return the trace's events; spans that overlap lie on lanes of their own."""
    served = log.table(Served).to_pylist()
    edited = log.table(Edited).to_pylist()
    waits = ((r["arrived_sim_s"], r["begun_sim_s"], f"wait {r['scope']}", _told(r)) for r in served)
    answers = ((r["begun_sim_s"], r["sim_s"], r["scope"], _told(r)) for r in served)
    changes = (
        (r["arrived_sim_s"], r["visible_sim_s"], "edit", {"edit": r["edit_id"], "note": r["note"]}) for r in edited
    )
    panels = {(r["step"], r["sim_s"]) for r in log.table(Gauged).to_pylist() if r["kind"] == "bank"}
    out = [{"ph": "M", "pid": pid, "name": "process_name", "args": {"name": name}} for pid, name in _NAMES.items()]
    out += _spans(waits, WAITING) + _spans(changes, CHANGES) + _spans(answers, QUERIES)
    out += [
        {"ph": "i", "s": "g", "pid": CHANGES, "tid": 0, "name": f"panel at step {step}", "ts": at_s * MICRO}
        for step, at_s in sorted(panels)
    ]
    return out


def _told(row: dict[str, Any]) -> dict[str, Any]:
    names = ("query", "edit_id", "answer", "right", "stale_version", "stale_answer")
    return {name: row[name] for name in names}


def _spans(spans: Iterable[tuple[float, float, str, dict[str, Any]]], pid: int) -> list[dict[str, Any]]:
    out = []
    free: list[int] = []
    busy: list[tuple[float, int]] = []
    for begin, end, name, args in sorted(spans, key=lambda span: span[:2]):
        while busy and busy[0][0] <= begin:
            heapq.heappush(free, heapq.heappop(busy)[1])
        lane = heapq.heappop(free) if free else len(busy) + 1
        heapq.heappush(busy, (end, lane))
        if end > begin:
            out.append({"ph": "X", "pid": pid, "tid": lane, "name": name, "ts": begin * MICRO,
                        "dur": (end - begin) * MICRO, "args": args})  # fmt: skip
    return out


def write_trace(folder: Path, out: Path) -> Path:
    """Write a run's timeline as JSON, whole or not at all, and return its path.

    Raises `LogError` for a folder that is no run, and where it cannot be written.
    """
    found = {"traceEvents": events(RunLog.open(folder)), "displayTimeUnit": "ms"}
    return write_whole(out, json.dumps(found).encode())
