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
    return stories(run, [edit])[0]


def stories(run: str | Path, wanted: Sequence[str]) -> list[Story]:
    """Return the lives of several edits of a run, whose log is read once; else as `story` does."""
    log = RunLog.open(run)
    edits = stream_table(log, "edits").to_pylist()
    ids = [row["edit_id"] for row in edits]
    places = [place_of(ids, edit) for edit in wanted]
    about = pc.field("edit_id").isin([ids[place] for place in places])
    rows = log.table(Probed).filter(about & (pc.field("scorer") == "generated")).to_pylist()
    probes = stream_table(log, "probes").filter(about).to_pylist()
    made = log.table(Edited).to_pylist()
    seen, words = {row["edit_id"]: row for row in made}, {row["edit_id"]: row["prompt"] for row in edits}
    order, out = [(row["step"], row["edit_id"]) for row in made], []
    for edit, place in zip(wanted, places, strict=True):
        edit_id = ids[place]
        own = [row for row in rows if row["edit_id"] == edit_id]
        axes = {probe["probe_id"]: probe["axis"] for probe in probes if probe["edit_id"] == edit_id}
        if not axes and not own:
            raise ConfigError(f"edit={edit}: the run asks nothing about it.")
        moments = _moments(own, axes)
        after = {row["edit_id"]: row for row in edits if row["supersedes"] == edit_id}
        happened = _happened(seen, after, _withdrawn(log, edit_id), edit_id)
        broke = _broke(moments, edit_id, order, words)
        out.append(Story(place + 1, len(edits), edits[place], tuple(happened), tuple(moments), broke))
    return out


MOMENT_COLUMNS = {"step": "step", "age": "age", "answer": "says", "right": "right", "served": "served by",
           "score": "score", **{axis: axis for axis in OTHERS}, "state": ""}  # fmt: skip
"""What is shown of a moment, by the key of a row, with its heading: in a terminal and on a page."""


def story_rows(found: Story) -> list[dict[str, Any]]:
    """Return a row of texts a moment (None: not asked), runs of equal ones as one with a range of steps.

    Its keys are those of `MOMENT_COLUMNS`.
    """
    out: list[dict[str, Any]] = []
    for row in (_row(moment, found.told["edit_id"]) for moment in found.moments):
        if out and all(row[key] == out[-1][key] for key in row if key not in ("step", "age")):
            out[-1] |= {key: f"{str(out[-1][key]).split('-')[0]}-{row[key]}" for key in ("step", "age")}
        else:
            out.append(row)
    return out


def ending(found: Story) -> str:
    """Return in a sentence how an edit was lost, or that it was not."""
    never = bool(found.moments) and not any(m.right for m in found.moments if not m.state)
    return found.broke or ("It was never right." if never else "It never broke.")


def _row(moment: Moment, edit_id: str) -> dict[str, Any]:
    first = moment.served[0] if moment.served else ""
    who = "itself" if first == edit_id else first or "nobody"
    if len(moment.served) > 1:
        who += f" +{len(moment.served) - 1}" + (", itself too" if moment.home and first != edit_id else "")
    others = {axis: "{}/{}".format(*moment.others[axis]) if axis in moment.others else None for axis in OTHERS}
    return {
        "step": moment.step,
        "age": moment.age,
        "answer": "(nothing)" if moment.answer == "" else moment.answer,
        "right": None if moment.right is None else "yes" if moment.right else "NO",
        "served": None if moment.answer is None else who,
        "score": None if moment.score is None else f"{moment.score:.3g}",
        **others,
        "state": moment.state,
    }


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
