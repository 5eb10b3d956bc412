"""What an examination comes to: accuracies by measure, and the table of what is known. Asks no model itself."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lifelong.log.files import write_atomic
from lifelong.models.atlas.exam_questions import ExamQuestion
from streams.atlas.hops import HOPS
from streams.atlas.known import hop_relation
from streams.atlas.relations import RELATIONS
from streams.atlas.world import load_world


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
    words = ("entity", "relation", "rendering", "template_split", "modality")
    arrays = {name: pa.array(columns[name]).dictionary_encode() for name in words}
    arrays["template"] = pa.array(columns["template"], pa.int8())
    arrays["correct"] = pa.array(columns["correct"], pa.bool_())
    order = (*words[:3], "template", *words[3:], "correct")
    table = pa.table({n: arrays[n] for n in order})
    write_atomic(path, lambda file: pq.write_table(table, file, compression="zstd", compression_level=9))
