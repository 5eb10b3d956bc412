"""What the numbers of each panel of a run are by the definitions of reports; for tests of what else shows them."""

from __future__ import annotations

from typing import Any, cast

import polars as pl

from lifelong.log import Edited, Gauged, Probed, RunLog
from lifelong.log.facts import RESTORED
from reports.numbers.axes import MEASURES
from reports.numbers.metrics import HOLDS, panel_rows
from reports.statistics.curves import mean_score

_AXES = {
    "retention": pl.col("axis") == "reliability",
    "generality": pl.col("axis") == "generality",
    "locality": pl.col("axis") == "locality",
}
_GAUGES = ("bank/bank_len", "bank/bank_bytes", "panel/route_wall_s", "panel/answers_not_finite")


def means_by_panel(log: RunLog) -> dict[int, dict[str, float]]:
    """Return the mean of each measure and scorer at each panel's step, weighted where a sample was asked about."""
    probed, gauged = (_frame(log, kind) for kind in (Probed, Gauged))
    panels = gauged.filter(pl.col("name") == "bank_len")  # a withdrawal is a gauge, too, and no panel
    rows = panel_rows(probed, panels).filter(HOLDS)
    if len(gauged.filter(pl.col("kind") == RESTORED)):  # of which there is no report: a panel asks all of its chunk
        rows = rows.with_columns(pl.lit(1.0).alias("weight"))
    found: dict[int, dict[str, float]] = {}
    for (step, scorer), part in rows.group_by("step", "scorer"):
        which = _AXES | {
            "text generality": MEASURES["T-Gen"].rows(str(scorer)),
            "modal generality": MEASURES["M-Gen"].rows(str(scorer)),
        }
        for name, chosen in which.items():
            if len(some := part.filter(chosen)):
                found.setdefault(cast(int, step), {})[f"{name}/{scorer}"] = mean_score(some)
    return found


def numbers_by_panel(log: RunLog) -> dict[int, dict[str, float]]:
    """Return all numbers that a tracker has of each panel, by step and name."""
    found, before = means_by_panel(log), 0
    gauged, edited = _frame(log, Gauged), _frame(log, Edited)
    for step in sorted(found):
        for row in gauged.filter(pl.col("step") == step).iter_rows(named=True):
            if (name := f"{row['kind']}/{row['name']}") in _GAUGES:
                found[step][name] = row["value"]
        since = edited.filter((pl.col("step") > before) & (pl.col("step") <= step))
        share = (since["edit_wall_s"] / since["batch_len"]).quantile(0.5, "lower")
        found[step] |= {"edits/edit_wall_s": cast(float, share), "edits/made": float(step)}
        before = step
    return found


def _frame(log: RunLog, kind: Any) -> pl.DataFrame:
    frame = cast(pl.DataFrame, pl.from_arrow(log.table(kind)))
    return frame.with_columns(pl.lit("").alias("editor"), pl.lit(0).alias("seed"))
