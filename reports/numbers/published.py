"""Published numbers, and whether editors rank here as they do there. Knows papers' tables, and evidence.

Every number is transcribed from the table that its source names. Rankings are compared by Spearman's correlation with
a permutation's p; a table is held against runs of about as many edits as it is about, and of no others.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np
import polars as pl

from reports.numbers.gains import LOCALITY, SUCCESS
from reports.statistics.paired import holm

METRICS = (*SUCCESS, *LOCALITY)
AVERAGE = "Avg"
FEWEST_RANKED = 5  # editors: of four the smallest two-sided p that there can be is .083
_LONGER = 2  # times as many edits as a table is about: of more the ranking is another question
_EXACT = 7  # editors of whom every order is looked at (5,040); of more, `_ORDERS` random ones
_ORDERS = 20_000


@dataclass(frozen=True)
class Published:
    """One table of a paper: what it was measured on, after how many edits, and its percent by editor.

    Numbers are Rel, T-Gen, M-Gen, T-Loc, M-Loc, editors by their names here.
    """

    source: str
    on: str
    edits: int
    percent: Mapping[str, tuple[float, float, float, float, float]]


_LIVEEDIT = "LiveEdit (arXiv 2411.15432), table 1"
_NAMES = ("ft", "ft_vision", "mend", "serac", "t_patcher", "lte", "recipe", "lemoe", "liveedit")
"""The rows of LiveEdit's table 1 by their names here: FT-L, FT-M, MEND, SERAC, TP, LTE, RECIPE, LEMoE, LiveEdit."""


def _rows(text: str) -> dict[str, tuple[float, float, float, float, float]]:
    """Return a block of the table: a line an editor in the order of `_NAMES`, `-` where it is not legible."""
    found = {}
    for name, line in zip(_NAMES, text.strip().splitlines(), strict=True):
        if line.strip() != "-":
            rel, text_gen, modal_gen, text_loc, modal_loc = (float(word) for word in line.split())
            found[name] = (rel, text_gen, modal_gen, text_loc, modal_loc)
    return found


SINGLE = Published(
    _LIVEEDIT,
    "LLaVA, E-VQA",
    1,
    _rows("""
        93.88 87.98 80.25 99.61 94.78
        87.29 76.11 53.23 100.00 96.95
        91.23 90.05 91.29 91.02 90.22
        89.33 83.72 84.97 82.05 23.78
        35.95 36.12 28.65 93.87 97.61
        94.16 93.57 93.59 94.08 86.26
        91.37 86.51 87.73 94.27 88.88
        93.60 92.77 89.99 99.28 96.98
        94.28 94.51 88.01 100.00 100.00"""),
)
"""One edit at a time: what a table of a stream is read against. One edit ranks nobody here."""

PUBLISHED_TABLES = (
    Published(_LIVEEDIT, "LLaVA, E-VQA", 1000, _rows("""
        71.39 59.83 57.41 55.55 48.99
        69.57 56.34 44.07 100.00 41.47
        0.04 0.05 0.05 0.08 0.09
        85.57 75.58 82.01 62.46 15.69
        16.56 16.80 15.65 7.28 15.60
        83.93 82.55 81.34 83.97 73.09
        87.00 76.81 83.09 86.95 87.03
        30.80 25.75 24.32 71.45 46.23
        92.93 90.16 84.30 100.00 96.43""")),
    Published(_LIVEEDIT, "LLaVA, VLKEB", 1000, _rows("""
        68.14 66.38 66.98 65.61 75.35
        53.41 48.80 43.16 100.00 57.03
        0.03 0.05 0.07 0.06 0.08
        60.93 56.49 60.06 52.94 15.04
        5.46 4.81 5.51 2.77 7.19
        64.51 56.26 64.80 80.85 76.52
        62.00 56.84 61.50 85.37 82.07
        67.97 61.07 58.16 48.48 44.06
        92.22 83.97 82.75 100.00 100.00""")),
    Published(_LIVEEDIT, "BLIP2, E-VQA", 1000, _rows("""
        45.10 34.62 35.42 48.42 41.24
        40.40 31.46 27.85 100.00 27.44
        15.84 14.35 17.73 91.74 70.17
        83.35 70.80 80.32 67.66 13.13
        20.63 15.09 18.41 8.65 8.25
        89.32 82.82 81.51 94.86 69.83
        84.99 74.20 82.04 96.82 87.73
        19.73 17.34 18.22 72.01 31.06
        94.42 91.98 84.65 100.00 97.38""")),
    Published(_LIVEEDIT, "BLIP2, VLKEB", 1000, _rows("""
        55.39 54.34 53.87 50.80 54.00
        47.03 49.68 46.99 100.00 41.41
        37.22 38.03 37.19 91.49 84.10
        53.58 45.78 52.42 56.81 16.90
        24.36 24.21 24.25 16.37 19.96
        61.67 51.05 61.60 94.78 90.94
        -
        34.74 33.43 32.05 55.55 50.04
        97.00 91.92 87.53 100.00 100.00""")),
)  # fmt: skip


def published_number(editor: str, metric: str, edits: int, on: str = "LLaVA, E-VQA") -> float:
    """Return a published share of an editor; raises `KeyError` where no table has it."""
    table = next(t for t in (SINGLE, *PUBLISHED_TABLES) if (t.on, t.edits) == (on, edits))
    return table.percent[editor][METRICS.index(metric)] / 100


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
    for table in PUBLISHED_TABLES:
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
        value = (sum(numbers) / len(numbers) if metric == AVERAGE else numbers[METRICS.index(metric)]) / 100
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
