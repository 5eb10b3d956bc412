"""What examinations come to: accuracies by measure, the table of what is known, and what several models all know.

Asks no model itself.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lifelong.log.files import write_atomic
from lifelong.models.atlas.exam_questions import ExamQuestion
from streams.atlas.hops import HOPS
from streams.atlas.known import Known, hop_relation, read_known
from streams.atlas.relations import RELATIONS
from streams.atlas.world import load_world
from streams.stream import StreamError


def metrics(asked: Sequence[ExamQuestion], right: np.ndarray) -> dict[str, Any]:
    """Accuracy and n of every measure, in all and per relation (and per role for context measures)."""
    groups: dict[str, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
    for item, mark in zip(asked, right.tolist(), strict=True):
        for name in _measures(item):
            groups[name]["all"].append(mark)
            groups[name][item.relation].append(mark)
    return {
        name: {
            "accuracy": float(np.mean(marks["all"])),
            "n": len(marks["all"]),
            "relations": {
                relation: {"accuracy": float(np.mean(values)), "n": len(values)}
                for relation, values in sorted(marks.items())
                if relation != "all"
            },
        }
        for name, marks in groups.items()
    }


def _measures(item: ExamQuestion) -> tuple[str, ...]:
    if item.slice == "drawn":
        return ("train" if item.seen else "rendering",)
    if item.slice.startswith("context"):
        return (item.slice, f"{item.slice}_{load_world().role(item.entity, item.relation)}")
    if item.slice == "hop" and item.template_split == "held_out":
        return ("hop_template",)
    return (item.slice,)


def write_table(asked: Sequence[ExamQuestion], right: np.ndarray, path: Path) -> None:
    """Write what is known, one row per question, as the Parquet table that the edit generator reads.

    Columns entity, relation, rendering ('' for text), template, template_split, modality, correct. Plain facts
    of the first rendering are repeated under their identity's two-step name (`country>capital`).
    """
    following = {h.answer_relation: [] for h in HOPS}
    for hop in HOPS:
        if RELATIONS[hop.relation].identity:
            following[hop.answer_relation].append(hop)
    world = load_world()
    columns: dict[str, list[Any]] = defaultdict(list)
    for item, mark in zip(asked, right.tolist(), strict=True):
        if item.slice not in ("drawn", "template", "text", "text_template", "hop"):
            continue
        entity = world.by_id[item.entity]
        names = [item.relation]
        if item.slice in ("drawn", "template") and item.rendering == entity.training[0]:
            names += [hop_relation(h) for h in following.get(item.relation, ()) if h.relation in entity.facts]
        for name in names:
            columns["entity"].append(item.entity)
            columns["relation"].append(name)
            columns["rendering"].append(item.rendering)
            columns["template"].append(item.template)
            columns["template_split"].append(item.template_split)
            columns["modality"].append("picture" if item.rendering else "text")
            columns["correct"].append(mark)
    _write(columns, path)


def write_shared(tables: Sequence[Path], path: Path) -> dict[Path, int]:
    """Write the table of what all models of some tables know, and return how many questions each of them knows.

    A question is known by all where each table marks that wording, on that drawing, as answered correctly; the order
    is the first table's. So streams over several models ask one and the same. Raises `StreamError` for a table that
    cannot be read, and for fewer than two of them or where no question is left.
    """
    if len(tables) < 2:
        raise StreamError(f"{len(tables)} table was given: expected two or more, one of each model.")
    world = load_world()
    known = {table: _questions(read_known(str(table), world)) for table in tables}
    first, *others = known.values()
    shared = [row for row in first if all(row in other for other in others)]
    if not shared:
        raise StreamError(f"No question is known by all of {', '.join(map(str, tables))}: nothing could be edited.")
    columns: dict[str, list[Any]] = {n: list(c) for n, c in zip(_QUESTION, zip(*shared, strict=True), strict=True)}
    columns["modality"] = ["picture" if rendering else "text" for rendering in columns["rendering"]]
    columns["correct"] = [True] * len(shared)
    path.parent.mkdir(parents=True, exist_ok=True)
    _write(columns, path)
    return {table: len(rows) for table, rows in known.items()} | {path: len(shared)}


def _questions(known: Known) -> dict[tuple[str, str, str, str, int], None]:
    """Return all questions of a table in their order."""
    return {(*fact, *asked): None for fact, questions in known.rows.items() for asked in questions}


_QUESTION = ("entity", "relation", "rendering", "template_split", "template")


def _write(columns: Mapping[str, Sequence[Any]], path: Path) -> None:
    words = ("entity", "relation", "rendering", "template_split", "modality")
    arrays = {name: pa.array(columns[name]).dictionary_encode() for name in words}
    arrays["template"] = pa.array(columns["template"], pa.int8())
    arrays["correct"] = pa.array(columns["correct"], pa.bool_())
    order = (*words[:3], "template", *words[3:], "correct")
    table = pa.table({n: arrays[n] for n in order})
    write_atomic(path, lambda file: pq.write_table(table, file, compression="zstd", compression_level=9))
