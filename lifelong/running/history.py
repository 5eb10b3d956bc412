"""What a run's model was told, edit by edit, and what it says of each now; read from the run folder alone.

Knows run folders. Loads no model and no stream, so that it answers at once, also while the run goes on.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lifelong.log import Probed, RunLog
from lifelong.log.stream_tables import read_stream_table


def edits_of(run: str | Path) -> list[dict[str, Any]]:
    """Return one row per edit of a run's stream, in their order, with what the edited model answers.

    Keys are the columns of `edits.parquet` and `at_once` and `now`: the freely generated answers to the edit's own
    question right after it and when it was last asked (None: not asked yet), and `asked_step`, when that was. Raises
    `LogError` for a folder that is no run.
    """
    log = RunLog.open(run)
    rows = read_stream_table(log.folder, "edits").to_pylist()
    said: dict[str, list[tuple[int, str]]] = {}
    for fact in log.table(Probed).select(["step", "edit_id", "axis", "scorer", "age", "answer"]).to_pylist():
        if fact["axis"] == "reliability" and fact["scorer"] == "generated":
            said.setdefault(fact["edit_id"], []).append((fact["step"], fact["age"], fact["answer"]))
    for row in rows:
        answers = sorted(said.get(row["edit_id"], ()))
        row["at_once"] = next((answer for _, age, answer in answers if age == 0), None)
        row["asked_step"], _, row["now"] = answers[-1] if answers else (None, None, None)
    return rows


def probes_of(run: str | Path, edit_id: str = "") -> list[dict[str, Any]]:
    """Return the rows of a run's `probes.parquet`, of one edit or all; raises `LogError` for a folder that is no run."""
    rows = read_stream_table(RunLog.open(run).folder, "probes").to_pylist()
    return [row for row in rows if not edit_id or row["edit_id"] == edit_id]
