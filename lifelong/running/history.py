"""What a run's model was told, edit by edit, and what it says of each now; and which pictures a stream has.

Knows run folders and the atlas's world. Loads no model, so that it answers at once, also while the run goes on.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from lifelong.log import Edited, Probed, RunLog
from lifelong.log.stream_tables import stream_table
from lifelong.running.words import ConfigError

_MADE = ("outcome", "note", "knowledge")


def edits_told(run: str | Path) -> list[dict[str, Any]]:
    """Return one row per edit of a run's stream, in their order, with what the edited model answers.

    Keys are the columns of `edits.parquet` and `at_once` and `now`: the freely generated answers to the edit's own
    question right after it and when it was last asked (None: not asked yet), and `asked_step`, when that was; of an
    edit that was made also `outcome`, its `note` and `knowledge` (None before). Raises `LogError` for a folder that
    is no run.
    """
    log = RunLog.open(run)
    rows = stream_table(log, "edits").to_pylist()
    own = (pc.field("axis") == "reliability") & (pc.field("scorer") == "generated")
    asked = log.table(Probed).filter(own & (pc.field("variant") != "superseded"))
    said: dict[str, list[tuple[int, int, str]]] = {}
    for fact in asked.select(["step", "age", "edit_id", "answer"]).to_pylist():
        said.setdefault(fact["edit_id"], []).append((fact["step"], fact["age"], fact["answer"]))
    made = log.table(Edited).select(["edit_id", *_MADE]).to_pylist()
    became = {fact["edit_id"]: fact for fact in made}
    for row in rows:
        row |= {name: became.get(row["edit_id"], {}).get(name) for name in _MADE}
        answers = sorted(said.get(row["edit_id"], ()))
        row["at_once"] = next((answer for _, age, answer in answers if age == 0), None)
        row["asked_step"], _, row["now"] = answers[-1] if answers else (None, None, None)
    return rows


def probes_asked(run: str | Path, edit_id: str = "") -> list[dict[str, Any]]:
    """Return the rows of `probes.parquet`, of one edit or all; raises `LogError` for a folder that is no run."""
    rows = stream_table(RunLog.open(run), "probes").to_pylist()
    return [row for row in rows if not edit_id or row["edit_id"] == edit_id]


def place_of(ids: Sequence[str], wanted: str) -> int:
    """Return the place of the edit with an id, or with a number in the stream from 1; raises `ConfigError`.

    `ids` are those of all edits in order. The message has near ids.
    """
    if wanted in ids:
        return list(ids).index(wanted)
    if wanted.isdecimal() and 1 <= int(wanted) <= len(ids):
        return int(wanted) - 1
    close = difflib.get_close_matches(wanted, ids, 3, 0.5)
    hint = f" Did you mean {', '.join(close)}?" if close else ""
    raise ConfigError(
        f"edit={wanted}: the run has no edit of this id, and its edits are numbered 1 to {len(ids)}.{hint} "
        "`lifelong list edits RUN` shows them all."
    )


def pictures(stream: str, named: str = "") -> list[dict[str, Any]]:
    """Return one row per picture of a stream that has pictures of its own, of things whose name contains `named`.

    `picture` is what `ask --image` takes. Raises `ConfigError` for a stream without, and where nothing is so called.
    """
    if stream != "atlas":
        raise ConfigError(f"list pictures {stream}: only the atlas has pictures of its own; others name files.")
    from streams.atlas.pictures import pictures_of
    from streams.atlas.world import load_world

    found = list(pictures_of(load_world(), named))
    if not found:
        raise ConfigError(f"list pictures {stream} {named}: nothing in the atlas has a name with {named!r} in it.")
    return found
