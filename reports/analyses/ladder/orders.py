"""Which editor is above which on each model of a ladder, and which of these orders carry over to another model.

An order is told on a model where the comparison of the two editors there tells a winner (`reports.numbers.compared`).
Knows facts and statistics of one model's runs at a time; draws nothing.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from reports.analyses.ladder.points import Rung
from reports.numbers.compared import COMPARED, compared
from reports.numbers.evidence import evidence
from reports.numbers.floors import REFERENCES, last_rows
from reports.numbers.published import FEWEST_RANKED, permuted, spearman

CARRIES, TURNED, ONE, NEITHER = "carries over", "turned round", "told on one model", "told on neither"
VERDICTS = (CARRIES, TURNED, ONE, NEITHER)

_PAIRS: dict[str, Any] = {
    "measure": pl.String, "model": pl.String, "other": pl.String, "editor": pl.String, "beside": pl.String,
    "difference": pl.Float64, "other_difference": pl.Float64, "better": pl.String, "other_better": pl.String,
    "verdict": pl.String,
}  # fmt: skip


def heights(rungs: Sequence[Rung]) -> pl.DataFrame:
    """Return one row per measure, model and editor: its `value` at the last panel, over seeds.

    Of editors that were run on every model, without the unedited one and the ceilings; a `value` is not a number
    where the measure was not asked.
    """
    records = {rung.name: {r["editor"]: r for r in evidence(rung.facts, rung.runs)} for rung in rungs}
    common = _methods(rungs)
    rows = [
        (measure, rung.name, editor, float(records[rung.name][editor][measure]["mean"]))
        for measure, rung, editor in itertools.product(COMPARED, rungs, common)
        if editor in records[rung.name]
    ]
    names = {"measure": pl.String, "model": pl.String, "editor": pl.String, "value": pl.Float64}
    return pl.DataFrame(rows, schema=names, orient="row")


def orders(rungs: Sequence[Rung]) -> pl.DataFrame:
    """Return one row per measure, pair of models and pair of editors: who is better on each, and the `verdict`.

    `difference` is the first editor's less the second's on `model`, `other_difference` the same on `other`; `better`
    and `other_better` name a winner or are empty. Holm's p is over all pairs of editors of a measure on one model.
    """
    pairs = list(itertools.combinations(_methods(rungs), 2))
    told: dict[str, dict[tuple[str, str, str], Mapping[str, Any]]] = {}
    for rung in rungs:
        found = compared(rung.facts, rung.runs, last_rows(rung.facts), pairs)
        told[rung.name] = {(r["measure"], r["editor"], r["beside"]): r for r in found.iter_rows(named=True)}
    rows = []
    for (one, other), measure in itertools.product(itertools.combinations([r.name for r in rungs], 2), COMPARED):
        for a, b in pairs:
            here, there = told[one].get((measure, a, b)), told[other].get((measure, a, b))
            if here is not None and there is not None:
                ends = (here["difference"], there["difference"], here["better"], there["better"])
                rows.append((measure, one, other, a, b, *ends, carried(here["better"], there["better"])))
    return pl.DataFrame(rows, schema=_PAIRS, orient="row")


def carried(here: str, there: str) -> str:
    """Return what becomes of an order whose winner on one model and on another are told, '' where none is.

    >>> carried("a", "a"), carried("a", "b"), carried("", "b"), carried("", "")
    ('carries over', 'turned round', 'told on one model', 'told on neither')
    """
    if here and there:
        return CARRIES if here == there else TURNED
    return ONE if here or there else NEITHER


def ranked_alike(high: pl.DataFrame, found: pl.DataFrame) -> pl.DataFrame:
    """Return one row per pair of models and measure: how alike they rank the editors, and how many pairs say what.

    `rho` is Spearman's over the values of `heights`, `p` its permutation's (two-sided), both not a number of fewer
    than five editors; `n` is the number of editors, and each of `VERDICTS` a number of pairs of `orders`.
    """
    rows = []
    for (one, other, measure), part in found.group_by("model", "other", "measure", maintain_order=True):
        asked = high.filter(pl.col("measure") == measure)
        values = [dict(asked.filter(pl.col("model") == m).select("editor", "value").rows()) for m in (one, other)]
        known = [e for e in values[0] if not any(math.isnan(v.get(e, math.nan)) for v in values)]
        enough = len(known) >= FEWEST_RANKED
        ranks = [[v[e] for e in known] for v in values]
        rho, p = (spearman(*ranks), permuted(*ranks)) if enough else (math.nan, math.nan)
        counts = {name: part.filter(pl.col("verdict") == name).height for name in VERDICTS}
        rows.append({"model": one, "other": other, "measure": measure, "n": len(known), "rho": rho, "p": p, **counts})
    names: dict[str, Any] = {"model": pl.String, "other": pl.String, "measure": pl.String, "n": pl.Int64}
    names |= {"rho": pl.Float64, "p": pl.Float64, **dict.fromkeys(VERDICTS, pl.Int64)}
    return pl.DataFrame(rows, schema=names)


def _methods(rungs: Sequence[Rung]) -> list[str]:
    """Return the labels of editors that were run on every model and that are no floor and no ceiling."""
    first = rungs[0].facts
    everywhere = set.intersection(*(set(rung.facts.editors) for rung in rungs))
    return [e for e in first.editors if e in everywhere and first.names.get(e, e) not in REFERENCES]
