"""What records of a file say together: which repeat one another, which replace another, and the ids of all.

A record repeats the last one of its split that has the same question and picture where the target is the same, too,
and no two ids tell them apart: both are one edit with the probes of both. One with another target replaces it. Knows
drafts of records, and no file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from streams.near import near
from streams.orders.order import with_id
from streams.text import printable
from streams.types import Edit, PoolItem, Probe, modality_of, probe_with_id

Problems = dict[str, list[str]]
"""What is wrong, by the place of the record."""


@dataclass(frozen=True)
class Draft:
    """A record as it was read: its edit has no id unless the file gives one, its probes belong to no edit yet.

    `said` names the fields that the file gives and an edit may lack; `truths` are no part of the edit.
    """

    place: str
    split: str
    edit: Edit
    said: frozenset[str]
    probes: tuple[Probe, ...]
    truths: tuple[str, ...] = ()


def joined(drafts: Sequence[Draft], problems: Problems) -> tuple[list[Draft], int]:
    """Return the drafts with repeated ones joined to the one that they repeat, and how many those were.

    One that says of its edit what the other denies is a problem, and left out.
    """
    kept: list[Draft] = []
    last: dict[tuple[str, str], int] = {}
    split_of: dict[tuple[str, str], Draft] = {}
    repeats = 0
    for draft in drafts:
        question = (draft.split, draft.edit.query.digest)
        before = kept[last[question]] if question in last else None
        other = split_of.setdefault((draft.edit.query.digest, draft.edit.target), draft)
        if other.split != draft.split:
            problems[draft.place] = [
                f"{draft.place}, field 'split': the same edit is of split {other.split!r} in {other.place}. A record "
                "belongs to one split: what is learnt from must not be asked about."
            ]
        elif before is not None and _repeats(draft, before):
            differ = [n for n in sorted(draft.said & before.said) if _of(draft, n) != _of(before, n)]
            if differ:
                problems[draft.place] = [
                    f"{draft.place}, field {differ[0]!r}: it repeats {before.place}, which says another one. "
                    "Make them alike, or give both an id."
                ]
                continue
            kept[last[question]] = _both(before, draft)
            repeats += 1
        else:
            last[question] = len(kept)
            kept.append(draft)
    return kept, repeats


def settled(
    drafts: Sequence[Draft], problems: Problems
) -> tuple[dict[str, list[PoolItem]], dict[str, tuple[str, ...]]]:
    """Return the items of each split (edit, fit, general), every edit with its id and what it replaces, and by id
    what was true before.

    An id that is used twice, or that nothing before it has, is a problem of its record, which is left out.
    """
    items: dict[str, list[PoolItem]] = {"edit": [], "fit": [], "general": []}
    places: dict[str, str] = {}
    newest: dict[str, str] = {}
    truths: dict[str, tuple[str, ...]] = {}
    for draft in drafts:
        edit = draft.edit
        if edit.supersedes is None and draft.split == "edit":
            edit = replace(edit, supersedes=newest.get(edit.query.digest))
        edit = edit if edit.id else with_id(edit)
        if edit.id in places:
            problem = f"field 'id': '{printable(edit.id)}' is already used in {places[edit.id]}."
        elif edit.supersedes is not None and edit.supersedes not in places:
            hint = near(edit.supersedes, list(places)[-20:]) if places else ""
            name = printable(edit.supersedes)
            problem = f"field 'supersedes': no record before this one has the id '{name}'.{printable(hint)}"
        else:
            places[edit.id] = draft.place
            newest[edit.query.digest] = edit.id
            items[draft.split].append(PoolItem(edit, asked_probes(edit, draft.probes)))
            truths |= {edit.id: draft.truths} if draft.truths else {}
            continue
        problems[draft.place] = [f"{draft.place}, {problem}"]
    return items, truths


def _repeats(draft: Draft, before: Draft) -> bool:
    new, old = draft.edit, before.edit
    one_id = not new.id or not old.id or new.id == old.id
    return one_id and new.target == old.target and new.supersedes in (None, old.supersedes)


def _of(draft: Draft, name: str) -> object:
    return draft.truths if name == "truths" else getattr(draft.edit, name)


def _both(before: Draft, draft: Draft) -> Draft:
    """Return two drafts as one: what the first lacks the second says, and the probes of both are asked."""
    new: dict[str, Any] = {name: _of(draft, name) for name in draft.said - before.said}
    truths = new.pop("truths", before.truths)
    edit = replace(before.edit, id=before.edit.id or draft.edit.id, **new)
    return Draft(before.place, before.split, edit, before.said | draft.said, before.probes + draft.probes, truths)


def asked_probes(edit: Edit, given: Sequence[Probe]) -> tuple[Probe, ...]:
    """Return an edit's probes under their ids, each once, with a reliability probe if none is given."""
    probes = list(given)
    if not any(p.axis == "reliability" for p in probes):
        modality = modality_of("reliability", edit.query, edit.query)
        probes.insert(0, Probe("", "", "reliability", "edit", modality, edit.query, edit.target))
    return tuple(dict.fromkeys(probe_with_id(replace(p, edit_id=edit.id)) for p in probes))
