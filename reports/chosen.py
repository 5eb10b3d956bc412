"""Which editors a report shows and what it calls them, and two sets of runs as one. Knows columns of fact tables.

A label that a reader chose keeps what the runs called themselves (`Facts.origins`), so that colours stay.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

import polars as pl

from reports.table import Facts, RunInfo

_TABLES = [f.name for f in fields(Facts) if f.name not in ("names", "origins", "made")]


def only(facts: Facts, runs: Sequence[RunInfo], editors: Sequence[str]) -> tuple[Facts, list[RunInfo]]:
    """Return the facts and runs of some labels."""
    kept: dict[str, Any] = {n: getattr(facts, n).filter(pl.col("editor").is_in(list(editors))) for n in _TABLES}
    names = {label: name for label, name in facts.names.items() if label in editors}
    return replace(facts, **kept, names=names), [run for run in runs if run.editor in editors]


def renamed(facts: Facts, runs: Sequence[RunInfo], labels: Mapping[str, str]) -> tuple[Facts, list[RunInfo]]:
    """Return them with other labels (`labels` by the old ones); what is not named keeps its own."""
    new: dict[str, Any] = {n: getattr(facts, n).with_columns(pl.col("editor").replace(labels)) for n in _TABLES}
    names = {labels.get(label, label): name for label, name in facts.names.items()}
    origins = {labels.get(label, label): facts.origins.get(label, label) for label in facts.names}
    called = [replace(r, editor=labels.get(r.editor, r.editor), called=r.origin) for r in runs]
    return replace(facts, **new, names=names, origins=origins), called


def together(one: tuple[Facts, list[RunInfo]], other: tuple[Facts, list[RunInfo]]) -> tuple[Facts, list[RunInfo]]:
    """Return two sets of facts and runs, of different labels, as one."""
    both: dict[str, Any] = {
        name: pl.concat([getattr(one[0], name), getattr(other[0], name)], how="diagonal_relaxed") for name in _TABLES
    }
    names, origins = {**one[0].names, **other[0].names}, {**one[0].origins, **other[0].origins}
    return replace(one[0], **both, names=names, origins=origins), [*one[1], *other[1]]
