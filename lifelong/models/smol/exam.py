"""Whether a picture is enough to answer what the language model knew before it could see: an examination's part.

Knows questions that were asked and which were answered rightly; asks no model itself.
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


def through_pictures(
    asked: Sequence[ExamQuestion], right: np.ndarray, recalled: Path, world: World
) -> dict[str, Any]:
    """Return accuracy and n, in all and by relation, of recalled facts asked by drawings that were named rightly.

    Of drawings that no training saw, and of entities that streams edit, so that no such fact was ever asked by a
    picture. `recalled` is the file of that name beside a training's checkpoints.
    """
    facts = {(entity, relation) for entity, relation in json.loads(recalled.read_text())}
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
