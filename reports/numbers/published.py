"""Published numbers, and whether editors rank here as they do there. Knows papers' tables, and evidence.

Rankings are compared by Spearman's correlation with
a permutation's p; a table is held against runs of about as many edits as it is about, and of no others.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import permutations
from typing import Any

import numpy as np
import polars as pl

from reports.numbers.gains import LOCALITY, SUCCESS
from reports.numbers.papers import Published, published_tables
from reports.statistics.paired import holm

METRICS = (*SUCCESS, *LOCALITY)
AVERAGE = "Avg"
LONGEST_TABLE = 1000  # edits of the longest published multimodal streams
FEWEST_RANKED = 5  # editors: of four the smallest two-sided p that there can be is .083
_LONGER = 2  # times as many edits as a table is about: of more the ranking is another question
_EXACT = 7  # editors of whom every order is looked at (5,040); of more, `_ORDERS` random ones
_ORDERS = 20_000


@cache
def ranked_tables() -> tuple[Published, ...]:
    """Return the tables that rankings are held against: LiveEdit's, after as many edits as any paper's."""
    return tuple(table for table in published_tables() if table.edits == LONGEST_TABLE)


def published_number(editor: str, metric: str, edits: int, on: str = "LLaVA, E-VQA") -> float:
    """Return a published share of an editor; raises `KeyError` where no table has it."""
    named = (t for t in published_tables() if (t.on, t.edits) == (on, edits) and editor in t.percent)
    table = next((t for t in named if metric in t.measures), None)
    if table is None:
        raise KeyError(f"{editor}, {metric}, {edits} edits, {on}")
    return table.percent[editor][table.measures.index(metric)] / 100


@dataclass(frozen=True)
class Ranked:
    """How one published table ranks editors by one metric, and how they rank here.

    `published` and `here` are shares by label. Without `rho` nothing was tested, and `untested` says why.
    """

    table: Published
    metric: str
    published: Mapping[str, float]
    here: Mapping[str, float]
    rho: float = math.nan
    p: float = math.nan
    holm: float = math.nan
    untested: str = ""


def spearman(one: Sequence[float], other: Sequence[float]) -> float:
    """Return Spearman's rank correlation (ties share their ranks); nan where all of one are equal.

    >>> spearman([1, 2, 3], [10, 30, 20])
    0.5
    """
    return float(_correlation(_ranks(one)[None], _ranks(other))[0])


def permuted(one: Sequence[float], other: Sequence[float]) -> float:
    """Return how often a random order of one list ranks as much like the other, or unlike it, as they do (two-sided).

    Of up to seven all orders are looked at, of more 20,000 at random, the same ones every time.
    """
    found, n = spearman(one, other), len(one)
    if math.isnan(found):
        return math.nan
    rng = np.random.default_rng(n)
    every = n <= _EXACT
    orders = list(permutations(range(n))) if every else rng.permuted(np.tile(np.arange(n), (_ORDERS, 1)), axis=1)
    beyond = np.abs(_correlation(_ranks(one)[np.array(orders)], _ranks(other))) >= abs(found) - 1e-12
    return float(beyond.mean() if every else (beyond.sum() + 1) / (_ORDERS + 1))


def _ranks(values: Sequence[float]) -> np.ndarray:
    array = np.asarray(values, float)
    below = (array[:, None] > array[None]).sum(1)
    return below + ((array[:, None] == array[None]).sum(1) - 1) / 2


def _correlation(many: np.ndarray, other: np.ndarray) -> np.ndarray:
    many, other = many - many.mean(1, keepdims=True), other - other.mean()
    scale = np.sqrt((many**2).sum(1) * (other**2).sum())
    return np.where(scale > 0, many @ other / np.where(scale > 0, scale, 1), math.nan)


def ranked(records: Sequence[Mapping[str, Any]], names: Mapping[str, str], made_up: str = "") -> list[Ranked]:
    """Return every published table against a table of evidence, by metric and by their mean.

    `names` are editors' own names by label; of several labels of an editor the tuned one is taken (published numbers
    are of tuned editors), else the first. Holm's p is over the metrics of one table. `made_up` says why nothing can
    be told of these runs, '' where it can.
    """
    out: list[Ranked] = []
    for table in ranked_tables():
        here = [r for r in records if table.edits <= r["edits"] <= _LONGER * table.edits]
        chosen = _one_each(here, names, table)
        found = [_ranked_by(table, metric, chosen, made_up) for metric in (*METRICS, AVERAGE)]
        if not here and not made_up:
            spans = sorted({int(r["edits"]) for r in records})
            why = f"not tested: the table is about {table.edits:,} edits, these runs are of {_words(spans)}"
            found = [_untested(one, why) for one in found]
        adjusted = holm([one.p for one in found])
        out += [Ranked(**{**vars(one), "holm": p}) for one, p in zip(found, adjusted, strict=True)]
    return out


def _words(spans: Sequence[int]) -> str:
    return f"{spans[0]:,}" if len(spans) == 1 else f"{spans[0]:,} to {spans[-1]:,}" if spans else "none"


def _one_each(records: Sequence[Mapping[str, Any]], names: Mapping[str, str], table: Published) -> dict[str, Any]:
    """Return one record of each editor that a table has, by the editor's name."""
    out: dict[str, Any] = {}
    for record in sorted(records, key=lambda r: "tuned" not in r["editor"]):
        name = names.get(record["editor"], record["editor"])
        if name in table.percent:
            out.setdefault(name, record)
    return {name: out[name] for name in table.percent if name in out}


def _ranked_by(table: Published, metric: str, chosen: Mapping[str, Any], made_up: str) -> Ranked:
    there, here = {}, {}
    for name, record in chosen.items():
        own = record[metric]["mean"] if metric != AVERAGE else sum(record[m]["mean"] for m in METRICS) / len(METRICS)
        numbers = table.percent[name]
        value = (sum(numbers) / len(numbers) if metric == AVERAGE else numbers[table.measures.index(metric)]) / 100
        if not math.isnan(own):
            there[record["editor"]], here[record["editor"]] = value, own
    plain = Ranked(table, metric, there, here)
    if made_up:
        return _untested(plain, made_up)
    if len(there) < FEWEST_RANKED:
        return _untested(
            plain, f"not tested: {len(there)} editors of the table were run, of {FEWEST_RANKED} at least"
        )
    one, other = list(there.values()), list(here.values())
    return Ranked(table, metric, there, here, spearman(one, other), permuted(one, other))


def _untested(one: Ranked, why: str) -> Ranked:
    return Ranked(one.table, one.metric, one.published, one.here, untested=why)


def ranked_table(found: Sequence[Ranked]) -> pl.DataFrame:
    """Return one row per published table, metric and editor: the number there and here, and how they correlate."""
    names = ("source", "on", "edits", "metric", "editor", "published", "here", "rho", "p", "holm", "said")
    kinds = (pl.String, pl.String, pl.Int64, pl.String, pl.String, *[pl.Float64] * 5, pl.String)
    rows = [
        (r.table.source, r.table.on, r.table.edits, r.metric, label, r.published[label], r.here[label], r.rho, r.p,
         r.holm, r.untested)
        for r in found
        for label in r.published
    ]  # fmt: skip
    return pl.DataFrame(rows, schema=dict(zip(names, kinds, strict=True)), orient="row")
