"""What a question counts under each published way of scoring; knows measures and the scorers of facts.

A scoring says what a right answer is and what an unchanged one is:

| scoring | an edit's answer | an unchanged answer |
|---|---|---|
| LiveEdit (UniKE) | share of its tokens that are the likeliest | share of the answer's likeliest tokens that stayed |
| VLKEB (MemEIC) | the same | share of ordered ids that stayed, at every position: one, with a picture ten |
| MMEdit (FGVEdit) | 1 where all of its tokens are the likeliest | as VLKEB |
| free | 1 where the model, asked freely, gives it exactly | 1 where the freely given answer stayed |
"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from reports.numbers.axes import EXACT, MEASURES, MUST, MUST_NOT, TOKEN_BY_TOKEN, TOP1_ALL, TOP10, Measure

LIVEEDIT, VLKEB, MMEDIT, FREE = SCORINGS = ("LiveEdit", "VLKEB", "MMEdit", "free")
"""The ways of scoring by the paper that each is named after."""
SPECIFICITY = "Spec"
_TOP1_ANSWER = "locality_top1_answer"
_INSIDE = Measure("specificity", "in", only=MUST)
_OUTSIDE = Measure("specificity", "out", only=MUST_NOT)
SCORED: Mapping[str, Measure] = {
    **{name: MEASURES[name] for name in ("Rel", "T-Gen", "M-Gen", "T-Loc", "M-Loc")},
    "Port": Measure("portability", "in", only=("hop", "1-hop")),
    **{f"{n}-hop": Measure("portability", "in", only=(f"{n}-hop",)) for n in (2, 3, 4)},
    "Spec in": _INSIDE,
    "Spec out": _OUTSIDE,
    "Comp": Measure("compositional", "in"),
}
"""What is printed of every protocol, by the papers' names; `Port` is portability of one hop."""
SCORED_ORDER = (*SCORED, SPECIFICITY)
"""The order of columns: `SPECIFICITY` is the mean of its two halves."""


def _scorer(name: str, one: Measure, scoring: str) -> str:
    """Return which scorer of the facts a measure is read by."""
    if scoring == FREE:
        return EXACT
    if one.scope == "in":
        return TOKEN_BY_TOKEN
    if scoring == LIVEEDIT:
        return _TOP1_ANSWER
    return TOP1_ALL if name == "T-Loc" else TOP10


def scored(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of facts that measures read, once for each scoring, with columns measure, scoring and score."""
    parts = []
    for name, one in SCORED.items():
        for scoring in SCORINGS:
            part = rows.filter(one.rows(_scorer(name, one, scoring)))
            if one.scope == "in" and scoring == MMEDIT:
                part = part.with_columns((pl.col("score") >= 1).cast(pl.Float64).alias("score"))
            parts.append(part.with_columns(pl.lit(name).alias("measure"), pl.lit(scoring).alias("scoring")))
    found = pl.concat(parts)
    return pl.concat([found, _specificity(found)])


def _specificity(found: pl.DataFrame) -> pl.DataFrame:
    """Return one row an edit (at a step) that was asked both halves: the mean of what each half scored."""
    halves = found.filter(pl.col("measure").is_in(["Spec in", "Spec out"]))
    keys = ["editor", "seed", "step", "edit_id", "scoring"]
    both = halves.group_by([*keys, "measure"]).agg(pl.col("score").mean()).group_by(keys)
    score = both.agg(pl.col("score").mean(), pl.len().alias("halves")).filter(pl.col("halves") == 2).drop("halves")
    one = halves.filter(pl.col("measure") == "Spec in").drop("score").unique(keys, keep="first", maintain_order=True)
    joined = one.join(score, on=keys).with_columns(pl.lit(SPECIFICITY).alias("measure"))
    return joined.select(found.columns)


def unasked(found: pl.DataFrame) -> list[str]:
    """Return the five measures of the papers that no question is of."""
    asked = set(found["measure"].unique())
    return [name for name in ("Rel", "T-Gen", "M-Gen", "T-Loc", "M-Loc") if name not in asked]
