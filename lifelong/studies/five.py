"""The five published metrics as means of facts. Knows facts; nothing of runs, editors or files."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import cast

import polars as pl

from lifelong.log import Probed
from lifelong.probing.scorers import TEACHER_FORCED
from reports.numbers.axes import MEASURES

FIVE = ("Rel", "T-Gen", "M-Gen", "T-Loc", "M-Loc")
"""The papers' five metrics, as names of `reports.numbers.axes.MEASURES`: hard locality is not among them."""


def five(facts: Iterable[Probed]) -> dict[str, float]:
    """Return the five metrics of facts, teacher forced: token by token, as published; each probe counts once.

    A metric without any probe is nan.
    """
    scored = {f.probe_id: f for f in facts if f.scorer == TEACHER_FORCED}
    columns = ("axis", "modality", "variant", "scorer", "score")
    table = pl.DataFrame(
        [[getattr(f, name) for name in columns] for f in scored.values()],
        schema=dict.fromkeys(columns[:-1], pl.String) | {"score": pl.Float64},
        orient="row",
    )
    out = {}
    for name in FIVE:
        mean = table.filter(MEASURES[name].rows())["score"].mean()
        out[name] = math.nan if mean is None else float(cast(float, mean))
    return out
