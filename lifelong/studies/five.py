"""The five published metrics as means of facts. Knows facts; nothing of runs, editors or files."""

from __future__ import annotations

import math
from collections.abc import Iterable

from lifelong.log import Probed
from lifelong.probing.scorers import TEACHER_FORCED

FIVE = {
    "Rel": ("reliability", None),
    "T-Gen": ("generality", "text"),
    "M-Gen": ("generality", "image"),
    "T-Loc": ("locality", "text"),
    "M-Loc": ("locality", "image"),
}
"""The papers' five metrics as axis and modality (None: both) of probes."""


def five(facts: Iterable[Probed]) -> dict[str, float]:
    """Return the five metrics of facts, teacher forced: token by token, as published; each probe counts once.

    A metric without any probe is nan.
    """
    scored = {f.probe_id: f for f in facts if f.scorer == TEACHER_FORCED}
    out = {}
    for name, (axis, modality) in FIVE.items():
        part = [f.score for f in scored.values() if f.axis == axis and modality in (None, f.modality)]
        out[name] = sum(part) / len(part) if part else math.nan
    return out
