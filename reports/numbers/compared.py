"""Which editor is better than which, over the same streams: differences, their intervals, and p adjusted for many.

Knows fact tables; the statistics are in `reports.statistics.paired`. Editors are compared by their score and the
papers' five metrics, over probes that all of them were asked after as many edits of the same streams.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from reports.numbers.axes import MEASURES
from reports.numbers.evidence import SCORE
from reports.numbers.floors import NONE, ORACLE, REFERENCES, by_label, five_by_seed
from reports.numbers.gains import LOCALITY, SUCCESS, harmonics
from reports.statistics.paired import Difference, SeedScores, holm, pairs_apart
from reports.table import Facts, RunInfo

_FIVE = (*SUCCESS, *LOCALITY)
COMPARED = (SCORE, *_FIVE)
MANY = 8
"""Of more editors than this not every pair is compared, but each against the leaders and against the unedited model.

Leaders are the best by the mean of the five metrics, and the one that keeps most edits.
"""
LEVEL = 0.05
_SCHEMA: dict[str, Any] = {
    "measure": pl.String, "editor": pl.String, "beside": pl.String,
    **dict.fromkeys(("difference", "low", "high", "p", "holm"), pl.Float64),
    "better": pl.String, "seeds": pl.Int64, "edits": pl.Int64, "rule": pl.String,
}  # fmt: skip


def compared(
    facts: Facts, runs: Sequence[RunInfo], last: pl.DataFrame, pairs: Sequence[tuple[str, str]] | None = None
) -> pl.DataFrame:
    """Return one row per pair of editors and measure: the difference, its 95 % interval, p and Holm's p.

    `pairs` are those that are compared, of all that share a stream; by default every pair, of many editors some.
    `last` is of `reports.numbers.floors.last_rows`. `better` names the one that is better, where the interval does
    not hold 0 and Holm's p (over the pairs of that measure) is below .05. Ceilings are compared with nothing.
    """
    frames = by_label(last)
    ceilings = set(REFERENCES) - {NONE}
    labels = [e for e in facts.editors if e in frames and facts.names.get(e, e) not in ceilings]
    blocks: dict[tuple[Any, ...], list[tuple[str, str]]] = {}
    profile = {e: _profile(runs, frames[e], e) for e in labels}
    asked = _pairs(facts, frames, labels, profile) if pairs is None else pairs
    for one, other in (p for p in asked if profile.get(p[0], frozenset()) & profile.get(p[1], frozenset())):
        blocks.setdefault(tuple(sorted(profile[one] & profile[other])), []).append((one, other))
    rows = [row for block, pairs in blocks.items() for row in _rows(facts, runs, frames, block, pairs)]
    table = pl.DataFrame(rows, schema=_SCHEMA)
    return _adjusted(table) if rows else table


def _profile(runs: Sequence[RunInfo], frame: pl.DataFrame, label: str) -> frozenset[tuple[Any, ...]]:
    """Return the streams that an editor's runs are of: ground, seed and number of edits."""
    grounds = {r.seed: r.ground for r in runs if r.editor == label}
    ends = frame.group_by("seed").agg(pl.col("step").max())
    return frozenset((grounds.get(seed, ()), seed, step) for seed, step in ends.select("seed", "step").rows())


def _pairs(
    facts: Facts, frames: Mapping[str, pl.DataFrame], labels: Sequence[str], profile: Mapping[str, frozenset[Any]]
) -> list[tuple[str, str]]:
    """Return which pairs are compared, of those that have a stream in common."""
    every = [(a, b) for i, a in enumerate(labels) for b in labels[:i]]
    if len(labels) > MANY:
        methods = [e for e in labels if facts.names.get(e, e) != NONE]
        leaders = {max(methods, key=lambda e: _mean(frames[e], names)) for names in (_FIVE, SUCCESS[:1]) if methods}
        chosen = leaders | {e for e in labels if facts.names.get(e, e) == NONE}
        every = [(a, b) for a, b in every if a in chosen or b in chosen]
    return [(a, b) for a, b in every if profile[a] & profile[b]]


def _mean(frame: pl.DataFrame, names: Sequence[str]) -> float:
    found = [five_by_seed(frame, seed) for seed in frame["seed"].unique()]
    known = [one[name] for one in found for name in names if not math.isnan(one[name])]
    return sum(known) / len(known) if known else -math.inf


def _rows(
    facts: Facts,
    runs: Sequence[RunInfo],
    frames: Mapping[str, pl.DataFrame],
    block: Sequence[tuple[Any, ...]],
    pairs: Sequence[tuple[str, str]],
) -> list[dict[str, Any]]:
    """Return the rows of pairs that have the same streams in common."""
    labels = sorted({label for pair in pairs for label in pair})
    seeds = [_seed_scores([frames[label] for label in labels], seed) for _, seed, _ in block]
    floors = [_ends(facts, runs, frames, NONE, one) for one in block]
    ceilings = [_ends(facts, runs, frames, ORACLE, one) for one in block]

    def score(means: np.ndarray, at: int) -> np.ndarray:
        floor = floors[at]
        parts = {name: means[..., i] for i, name in enumerate(_FIVE)}
        whole = np.full(means.shape[:-1], math.nan) if floor is None else harmonics(parts, floor, ceilings[at])
        return np.concatenate([whole[..., None], means], axis=-1)

    places = [(labels.index(a), labels.index(b)) for a, b in pairs]
    found = pairs_apart(seeds, places, score)
    edits = sum(one.n.shape[0] for one in seeds)
    return [
        _row(name, pair, difference, len(seeds), edits)
        for pair, differences in zip(pairs, found, strict=True)
        for name, difference in zip(COMPARED, differences, strict=True)
        if not math.isnan(difference.value)
    ]


def _row(name: str, pair: tuple[str, str], found: Difference, seeds: int, edits: int) -> dict[str, Any]:
    ends = {"difference": found.value, "low": found.low, "high": found.high, "p": found.p}
    about = {"measure": name, "editor": pair[0], "beside": pair[1], "seeds": seeds, "edits": edits}
    return about | ends | {"holm": math.nan, "better": "", "rule": found.rule}


def _ends(
    facts: Facts, runs: Sequence[RunInfo], frames: Mapping[str, pl.DataFrame], name: str, stream: tuple[Any, ...]
) -> dict[str, float] | None:
    """Return the five metrics of a reference's run of one stream; None where there is none."""
    for run in runs:
        if facts.names.get(run.editor, run.editor) == name and (run.ground, run.seed) == stream[:2]:
            own = frames.get(run.editor)
            if own is not None and stream in _profile(runs, own, run.editor):
                return five_by_seed(own, run.seed)
    return None


def _seed_scores(frames: Sequence[pl.DataFrame], seed: int) -> SeedScores:
    """Return sums and n by edit of what all editors were asked in one seed, in the order of `_FIVE`."""
    parts = []
    for at, name in enumerate(_FIVE):
        own = [frame.filter((pl.col("seed") == seed) & MEASURES[name].rows()) for frame in frames]
        weight = pl.col("weight") if "weight" in own[0].columns else pl.lit(1.0)
        table = own[0].select("edit_id", "probe_id", weight.alias("weight"))
        for i, frame in enumerate(own):
            table = table.join(frame.select("probe_id", pl.col("score").alias(f"s{i}")), on="probe_id")
        sums = [(pl.col(f"s{i}") * pl.col("weight")).sum() for i in range(len(frames))]
        parts.append(table.group_by("edit_id").agg(pl.lit(at).alias("at"), pl.col("weight").sum(), *sums))
    whole = pl.concat(parts)
    edits = {edit: i for i, edit in enumerate(sorted(whole["edit_id"].unique()))}
    sums, n = np.zeros((len(frames), len(edits), len(_FIVE))), np.zeros((len(edits), len(_FIVE)))
    rows = np.array([edits[e] for e in whole["edit_id"]], int)
    n[rows, whole["at"].to_numpy()] = whole["weight"].to_numpy()
    for i in range(len(frames)):
        sums[i, rows, whole["at"].to_numpy()] = whole[f"s{i}"].to_numpy()
    return SeedScores(sums, n)


def _adjusted(table: pl.DataFrame) -> pl.DataFrame:
    """Return the table with Holm's p of each measure's pairs, and who is better by it."""
    parts = []
    for name in COMPARED:
        part = table.filter(pl.col("measure") == name)
        parts.append(part.with_columns(pl.Series("holm", holm(part["p"].to_list()), dtype=pl.Float64)))
    told = (pl.col("holm") < LEVEL) & ((pl.col("low") > 0) | (pl.col("high") < 0))
    winner = pl.when(pl.col("difference") > 0).then(pl.col("editor")).otherwise(pl.col("beside"))
    return pl.concat(parts).with_columns(pl.when(told).then(winner).otherwise(pl.lit("")).alias("better"))
