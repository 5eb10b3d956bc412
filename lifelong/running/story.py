"""The life of one edit: what it taught, who answered for it at each panel, and when and through whom it broke.

Knows run folders alone; loads no model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from lifelong.log import Edited, Gauged, Probed, RunLog
from lifelong.log.shown import short_repr
from lifelong.log.stream_tables import stream_table
from lifelong.running.history import place_of
from lifelong.running.words import ConfigError

OTHERS = ("generality", "portability", "specificity", "locality")
"""Axes of which a moment of a story tells how many probes were right."""
_GONE = {"superseded": "replaced", "withdrawn": "taken back"}


@dataclass(frozen=True)
class Moment:
    """What was known of an edit at one step: its own answer, who served, and (right, asked) of each further axis.

    `right` is whether its own question was answered rightly: by the target, or as the frozen model answers once the
    edit was taken back (`state`). None where it was not asked.
    """

    step: int
    age: int
    state: str
    answer: str | None
    right: bool | None
    served: tuple[str, ...]
    home: bool
    score: float | None
    others: dict[str, tuple[int, int]]


@dataclass(frozen=True)
class Story:
    """An edit as it was told, what happened to it, its moments in order; `broke` says how it was lost ('': not)."""

    number: int
    of: int
    told: dict[str, Any]
    happened: tuple[str, ...]
    moments: tuple[Moment, ...]
    broke: str

    __repr__ = short_repr


def story(run: str | Path, edit: str) -> Story:
    """Return the life of an edit of a run, by its id or its number in the stream; called for `lifelong story`.

    Raises `LogError` for a folder that is no run, and `ConfigError` with near ids for an unknown edit.
    """
    log = RunLog.open(run)
    edits = stream_table(log, "edits").to_pylist()
    place = place_of([row["edit_id"] for row in edits], edit)
    told, edit_id = edits[place], edits[place]["edit_id"]
    rows = log.table(Probed).filter((pc.field("edit_id") == edit_id) & (pc.field("scorer") == "generated"))
    probes = stream_table(log, "probes").filter(pc.field("edit_id") == edit_id).to_pylist()
    if not probes and not rows.num_rows:
        raise ConfigError(f"edit={edit}: the run asks nothing about it.")
    axes = {probe["probe_id"]: probe["axis"] for probe in probes}
    moments = _moments(rows.to_pylist(), axes)
    made = log.table(Edited).to_pylist()
    seen = {row["edit_id"]: row for row in made}
    after = {row["edit_id"]: row for row in edits if row["supersedes"] == edit_id}
    happened = _happened(seen, after, _withdrawn(log, edit_id), edit_id)
    words = {row["edit_id"]: row["prompt"] for row in edits}
    broke = _broke(moments, edit_id, [(row["step"], row["edit_id"]) for row in made], words)
    return Story(place + 1, len(edits), told, tuple(happened), tuple(moments), broke)


def _moments(rows: Sequence[dict[str, Any]], axes: dict[str, str]) -> list[Moment]:
    by_step: dict[int, list[dict[str, Any]]] = {}
    for row in rows:
        by_step.setdefault(row["step"], []).append(row)
    out = []
    for step, asked in sorted(by_step.items()):
        latest = {
            row["probe_id"]: row for row in asked
        }  # an instant probe can fall on a panel: one answer of the two
        own = [row for row in latest.values() if axes.get(row["probe_id"], row["axis"]) == "reliability"]
        others: dict[str, tuple[int, int]] = {}
        for axis in OTHERS:
            scores = [row["score"] >= 1 for row in latest.values() if axes.get(row["probe_id"], row["axis"]) == axis]
            others |= {axis: (sum(scores), len(scores))} if scores else {}
        first = own[0] if own else asked[0]
        out.append(
            Moment(
                step=step,
                age=first["age"],
                state=_GONE.get(first["variant"], ""),
                answer=first["answer"] if own else None,
                right=all(row["score"] >= 1 for row in own) if own else None,
                served=tuple(first["routed_ids"]) if own else (),
                home=bool(own) and bool(first["routed_home"]),
                score=first["route_score"] if own else None,
                others=others,
            )
        )
    return out


def _withdrawn(log: RunLog, edit_id: str) -> list[dict[str, Any]]:
    back = (pc.field("kind") == "withdrawn") & (pc.field("name") == edit_id)
    return log.table(Gauged).filter(back).to_pylist()


def _happened(
    seen: dict[str, dict[str, Any]], after: dict[str, dict[str, Any]], back: list[dict[str, Any]], edit_id: str
) -> list[str]:
    """Return in words when it was made, refused, replaced and taken back."""
    own = seen.get(edit_id)
    if own is None:
        return ["not made yet"]
    note = f"; {own['note']}" if own["note"] else ""
    out = [
        f"visible at step {own['step']}, after {own['edit_wall_s'] / own['batch_len'] * 1e3:.3g} ms of editing{note}"
    ]
    out += [f"replaced at step {seen[i]['step']} by {i} ({row['target']!r})" for i, row in after.items() if i in seen]
    for row in back:
        out.append(f"{'taken back' if row['value'] == 1 else 'not taken back, as asked,'} at step {row['step']}")
    return out


def _broke(moments: Sequence[Moment], edit_id: str, made: Sequence[tuple[int, str]], words: dict[str, str]) -> str:
    """Return how it was first lost while it stood, in a sentence; '' where it was not, or was never right."""
    standing = [m for m in moments if not m.state and m.right is not None]
    for before, now in zip(standing, standing[1:], strict=False):
        if not before.right or now.right:
            continue
        between = [i for step, i in made if before.step < step <= now.step]
        who = f"by the edit made then, {between[0]} ({words.get(between[0], '')!r})" if len(between) == 1 else (
            f"{len(between)} edits were made in between")  # fmt: skip
        return (
            f"right at step {before.step}, wrong at step {now.step}: {who}. {_through(before, now, edit_id, words)}"
        )
    return ""


def _through(before: Moment, now: Moment, edit_id: str, words: dict[str, str]) -> str:
    """Return through which expert an edit broke: one that took its place, none at all, or its own."""
    if not before.served and not now.served:
        return "No expert serves it in this editor, or none did: the weights changed."
    if not now.served:
        return "No expert serves it any more: the router refuses its own question."
    if not now.home:
        return f"Another expert serves it: {now.served[0]} ({words.get(now.served[0], '')!r})."
    return "Its own expert still serves it" + (
        f", beside {len(now.served) - 1} others." if len(now.served) > 1 else " and answers otherwise."
    )
