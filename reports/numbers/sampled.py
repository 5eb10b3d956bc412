"""How many edits an edit that a panel asked about stands for. Knows fact tables, and no settings of panels.

A panel may ask about a sample by age, of which young edits are most (`lifelong.probing.due.log_age_sample`), so that
a plain mean over it is one of young edits. Which ages were asked about is known, and so is how many edits there were
of each: the edits between two that were asked about count half for the one and half for the other. That is a
stratified estimate with known inclusion probabilities (1 / weight), and the trapezoidal rule over ages.
"""

from __future__ import annotations

import polars as pl

_PANEL = ["editor", "seed", "step"]
_RETIRED = pl.col("variant").is_in(["superseded", "withdrawn"])


def weighted(rows: pl.DataFrame, probed: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of panels with a column `weight`: how many edits a row's edit stands for, on its axis.

    1 where every edit was asked about, and for questions about no edit. `probed` are all rows of the runs: an edit
    that has questions on an axis, and was asked none of them at a panel, is not in that axis' sample there. One that
    has none is: it stands for others that have none.
    """
    asked = rows.filter(pl.col("edit_id") != "").select(*_PANEL, "edit_id", "age", "axis", "variant")
    if asked.is_empty():
        return rows.with_columns(pl.lit(1.0).alias("weight"))
    edits = asked.group_by(*_PANEL, "edit_id").agg(pl.col("age").first(), _RETIRED.any().alias("retired"))
    has = probed.filter(~_RETIRED).select("editor", "seed", "edit_id", "axis").unique()
    here = asked.select(*_PANEL, "edit_id", "axis").unique()
    left_out = edits.filter(~pl.col("retired")).join(has, on=["editor", "seed", "edit_id"])
    left_out = left_out.join(here, on=[*_PANEL, "edit_id", "axis"], how="anti")
    base = edits.join(asked.select(*_PANEL, "axis").unique(), on=_PANEL)
    base = base.join(left_out, on=[*_PANEL, "edit_id", "axis"], how="anti")
    weights = _stand_for(base.group_by(*_PANEL, "axis", "age").agg(pl.len().alias("asked")))
    return rows.join(weights, on=[*_PANEL, "axis", "age"], how="left", maintain_order="left").with_columns(
        pl.when(pl.col("edit_id") == "").then(1.0).otherwise(pl.col("weight")).alias("weight")
    )


def _stand_for(ages: pl.DataFrame) -> pl.DataFrame:
    """Return the weight of each age of each panel and axis, of which so many edits were `asked` about.

    An age is the number of edits that are younger: what lies between two ages, and was not asked about, is known.
    """
    panel = [*_PANEL, "axis"]
    younger = (pl.col("age") + pl.col("asked")).shift(1).over(panel)  # edits up to the age before
    found = ages.sort(*panel, "age").with_columns(
        (pl.col("age") - younger.fill_null(0)).clip(0).alias("before"), younger.is_null().alias("youngest")
    )
    after = pl.col("before").shift(-1).over(panel)
    rest = (pl.col("step") - pl.col("age") - pl.col("asked")).clip(0)
    before = pl.when("youngest").then(pl.col("before")).otherwise(pl.col("before") / 2)
    stands = 1 + (before + pl.when(after.is_null()).then(rest).otherwise(after / 2)) / pl.col("asked")
    return found.with_columns(stands.cast(pl.Float64).alias("weight")).select(*panel, "age", "weight")
