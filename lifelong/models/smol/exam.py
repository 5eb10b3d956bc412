"""What the pretrained backbone is examined in: names of drawings, what it knew before it could see, told facts.

Knows questions, and which were answered rightly; asks no model itself.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lifelong.models.atlas.exam_questions import ExamQuestion
from streams.atlas.relations import RELATIONS
from streams.atlas.world import World


def asked_of_smol(facts: frozenset[tuple[str, str]], told: frozenset[str], question: ExamQuestion) -> bool:
    """Return whether a question is asked of a model that was taught to see and no facts.

    Names of all drawings that no training saw; of these what the language model recalls (`facts`); told facts of the
    entities `told`, to be followed; and recalled facts behind told ones to be ignored.
    """
    known = (question.entity, question.relation) in facts
    if question.slice == "drawn":
        return not question.seen and (known or RELATIONS[question.relation].identity)
    if question.slice == "context_ignored":
        return known
    return question.slice == "context" and question.entity in told


def recalled_facts(path: Path) -> frozenset[tuple[str, str]]:
    """Return the facts of the file recalled.json of a training: (entity, relation)."""
    return frozenset((entity, relation) for entity, relation in json.loads(path.read_text()))


def through_pictures(
    asked: Sequence[ExamQuestion], right: np.ndarray, recalled: Path, world: World
) -> dict[str, Any]:
    """Return accuracy and n, in all and by relation, of recalled facts asked by drawings that were named rightly.

    Of drawings that no training saw, and of entities that streams edit, so that no such fact was ever asked by a
    picture. `recalled` is the file of that name beside a training's checkpoints.
    """
    facts = recalled_facts(recalled)
    drawn = [(q, bool(mark)) for q, mark in zip(asked, right, strict=True) if q.slice == "drawn" and not q.seen]
    named = {(q.entity, q.rendering) for q, mark in drawn if mark and RELATIONS[q.relation].identity}
    found: dict[str, list[bool]] = defaultdict(list)
    for q, mark in drawn:
        if (q.entity, q.relation) in facts and world.by_id[q.entity].split == "edit":
            if (q.entity, q.rendering) in named:
                found[q.relation].append(mark)
    every = [mark for marks in found.values() for mark in marks]
    parts = {name: {"accuracy": float(np.mean(marks)), "n": len(marks)} for name, marks in sorted(found.items())}
    return {"accuracy": float(np.mean(every)) if every else float("nan"), "n": len(every), "relations": parts}
