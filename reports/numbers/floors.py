"""Every number beside its floor and its ceilings: the unedited model, the fact told in the prompt, perfect routing.

Knows fact tables, and the three editors that others are read against by their names. Floor and ceiling are of the
very probes that an editor was asked, after as many edits of the same streams.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from reports.numbers.axes import EXACT, IN_SCOPE, MEASURES, TOKEN_BY_TOKEN
from reports.numbers.gains import LOCALITY, SUCCESS, gain, harmonic
from reports.numbers.metrics import panels_of
from reports.statistics.curves import mean_score
from reports.statistics.seeds import of_seeds
from reports.table import Facts, RunInfo

NONE, TOLD, ORACLE = "none", "told", "oracle"
REFERENCES = (NONE, TOLD, ORACLE)
FOLLOWED = 0.2
"""A ceiling below this says that a model does not follow even a told fact there: what is measured is the model."""
_KEY = ("seed", "step", "probe_id", "scorer")
_READ = ("editor", *_KEY, "edit_id", "axis", "variant", "modality", "score", "weight")


def last_rows(facts: Facts) -> pl.DataFrame:
    """Return the rows of each run's last panel that measures read: what tables of the end are made of."""
    ends = facts.gauged.lazy().group_by("editor", "seed").agg(pl.col("step").max())
    rows = panels_of(facts).lazy().select(_READ)
    return rows.join(ends, on=["editor", "seed", "step"], how="semi", maintain_order="left").collect()


def references(facts: Facts, runs: Sequence[RunInfo], label: str) -> dict[str, str]:
    """Return the labels of the references on the ground of a label's runs, by their names, of those that were run."""
    mine = {r.ground for r in runs if r.editor == label}
    found: dict[str, str] = {}
    for run in runs:
        if run.ground in mine and facts.names.get(run.editor, run.editor) in REFERENCES:
            found.setdefault(facts.names.get(run.editor, run.editor), run.editor)
    return found


def by_label(last: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """Return the rows of each editor, by its label."""
    return {str(key[0]): part for key, part in last.group_by("editor", maintain_order=True)}


def five_by_seed(rows: pl.DataFrame, seed: int) -> dict[str, float]:
    """Return the papers' five metrics of one seed of an editor's rows; not a number where one was not asked."""
    own = rows.filter(pl.col("seed") == seed)
    return {name: mean_score(own.filter(MEASURES[name].rows())) for name in (*SUCCESS, *LOCALITY)}


def scores_by_seed(last: Mapping[str, pl.DataFrame], label: str, beside: Mapping[str, str]) -> dict[int, float]:
    """Return an editor's harmonic score of each seed (`reports.numbers.gains.harmonic`), nan without its floor.

    The ceiling is perfect routing where there is a run of it, else 1.
    """
    mine = last[label]
    out = {}
    for seed in sorted(mine["seed"].unique()):
        ends = {name: _alike(last.get(beside.get(name, "")), mine, seed) for name in (NONE, ORACLE)}
        own, floor, best = five_by_seed(mine, seed), ends[NONE], ends[ORACLE]
        ceiling = None if best is None else five_by_seed(best, seed)
        out[seed] = math.nan if floor is None else harmonic(own, five_by_seed(floor, seed), ceiling)
    return out


def _alike(reference: pl.DataFrame | None, mine: pl.DataFrame, seed: int) -> pl.DataFrame | None:
    """Return a reference's rows where it has this seed, and as many edits of it."""
    if reference is None:
        return None
    steps = [frame.filter(pl.col("seed") == seed)["step"].max() for frame in (reference, mine)]
    return reference if steps[0] is not None and steps[0] == steps[1] else None


def gains(facts: Facts, runs: Sequence[RunInfo], last: pl.DataFrame) -> pl.DataFrame:
    """Return one row per editor, in-scope measure and scorer: its mean, floor and ceilings, and what it gained.

    `gain` is (value - none) / (1 - none), `of_told` and `of_oracle` have that ceiling in place of 1; each is taken
    within a seed, then over seeds, with Student's interval (`low`, `high`, of the gain) from five on. Not a number
    where there is no run of the reference; `told` and the others are means of the editor's own probes.
    """
    beside = {label: references(facts, runs, label) for label in facts.editors}
    rows: list[dict[str, Any]] = []
    for name in IN_SCOPE:
        for scorer in (TOKEN_BY_TOKEN, EXACT):
            frames = by_label(last.filter(MEASURES[name].rows(scorer)))
            for label in [e for e in facts.editors if e in frames]:
                about = {"editor": label, "measure": name, "scorer": scorer}
                rows.append(about | _gained(frames[label], beside[label], frames))
    return pl.DataFrame(rows, schema=_SCHEMA)


_NUMBERS = ("value", NONE, TOLD, ORACLE, "gain", "low", "high", "of_told", "of_oracle")
_SCHEMA: dict[str, Any] = {
    "editor": pl.String, "measure": pl.String, "scorer": pl.String, **dict.fromkeys(_NUMBERS, pl.Float64),
    "seeds": pl.Int64, "n": pl.Int64,
}  # fmt: skip


def _gained(part: pl.DataFrame, beside: Mapping[str, str], frames: Mapping[str, pl.DataFrame]) -> dict[str, Any]:
    for name in REFERENCES:
        other = frames.get(beside.get(name, ""))
        other = part.head(0) if other is None else other
        theirs = other.select(*_KEY, pl.col("score").alias(name))
        part = part.join(theirs, on=_KEY, how="left", maintain_order="left")
    per = [_within(own) for _, own in sorted(part.group_by("seed"), key=lambda pair: pair[0])]
    out = {name: _mean([one[name] for one in per]) for name in ("value", *REFERENCES, "of_told", "of_oracle")}
    found = of_seeds([one["gain"] for one in per if not math.isnan(one["gain"])], len(part))
    ends = {end: found.get(end, math.nan) for end in ("low", "high")}
    return {**out, "gain": found["mean"], **ends, "seeds": len(per), "n": len(part)}


def _within(own: pl.DataFrame) -> dict[str, float]:
    """Return one seed's means and gains; a reference counts where it was asked all that the editor was."""
    means = {"value": mean_score(own)}
    for name in REFERENCES:
        whole = own[name].null_count() == 0
        means[name] = mean_score(own.with_columns(pl.col(name).alias("score"))) if whole else math.nan
    value, floor = means["value"], means[NONE]
    ends = {"gain": 1.0, "of_told": means[TOLD], "of_oracle": means[ORACLE]}
    return means | {name: gain(value, floor, ceiling) for name, ceiling in ends.items()}


def _mean(values: Sequence[float]) -> float:
    known = [v for v in values if not math.isnan(v)]
    return sum(known) / len(known) if known else math.nan


def unfollowed(found: pl.DataFrame) -> dict[tuple[str, str], float]:
    """Return, by editor and measure, the ceilings of told facts (exact answers) that are below `FOLLOWED`."""
    low = found.filter((pl.col("scorer") == EXACT) & (pl.col(TOLD) < FOLLOWED))
    return {(r["editor"], r["measure"]): r[TOLD] for r in low.iter_rows(named=True)}
