"""Shared by the tests of whole runs: a small configuration, and what two equal runs must have in common."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lifelong.log import FACTS, RunLog
from lifelong.log.hive import HIVE

SMALL: dict[str, Any] = {
    "editor": "grace",
    "model": "tiny",
    "stream": "toy",
    "edits": 6,
    "panels": [1, 2, 3],
    "threads": 1,
    "panels.latency_routes": 4,
    "panels.latency_answers": 2,
}


def out_of(folder: Path) -> Path:
    """Return the `out` of a run's folder, which its hive folders lie in."""
    return folder.parents[len(HIVE)]


def facts_of(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Return all committed facts by type, measured times and bytes left out."""
    log = RunLog.open(folder)
    found = {}
    for fact in FACTS:
        rows = log.table(fact).to_pylist()
        for row in rows:
            if str(row.get("name", "")).endswith(("_wall_s", "_bytes")):
                row["value"] = None
        found[fact.__name__] = [{k: v for k, v in row.items() if not k.endswith("_wall_s")} for row in rows]
        for row in found[fact.__name__]:
            row.pop("wall_s", None)
    return found
