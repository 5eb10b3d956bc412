"""What the last panel of a run measured, in the few numbers that a limit can be set to. Knows fact tables."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import polars as pl

from lifelong.log import Edited, Gauged, Probed, RunLog, Timed
from reports.numbers.growth import bytes_grown
from reports.numbers.metrics import HOLDS, panel_rows
from reports.statistics.curves import mean_score
from reports.statistics.percentiles import percentile

_AXES = {"retention": "reliability", "generality": "generality", "locality": "locality"}
SCORERS = ("generated", "teacher_forced")


def last_panel(log: RunLog, scorer: str = "generated") -> tuple[int, dict[str, tuple[float, int]]]:
    """Return the step of a run's last panel, and value and n of each measure there (left out where n is 0).

    retention, generality, locality: mean scores over all past edits that hold, weighted where a sample of them was
    asked about; `route_p99_s` and `encode_p99_s`, measured, where there are samples enough for one;
    `edit_s`, the mean measured seconds of the edits of this log. Raises `ValueError` for an unknown
    scorer or a run without a panel.
    """
    if scorer not in SCORERS:
        raise ValueError(f"scorer={scorer!r}: expected one of {', '.join(SCORERS)}.")
    probed, edited, gauged, timed = (
        cast(pl.DataFrame, pl.from_arrow(log.table(fact))) for fact in (Probed, Edited, Gauged, Timed)
    )
    if gauged.is_empty():
        raise ValueError(f"{log.folder}: no panel was committed yet.")
    step = cast(int, gauged["step"].max())
    one = (pl.lit("").alias("editor"), pl.lit(0).alias("seed"))
    rows = panel_rows(probed.with_columns(one), gauged.with_columns(one))
    rows = rows.filter(HOLDS & (pl.col("step") == step) & (pl.col("scorer") == scorer))
    found: dict[str, tuple[float, int]] = {}
    for name, axis in _AXES.items():
        part = rows.filter(pl.col("axis") == axis)
        if len(part):
            found[name] = (mean_score(part), len(part))
    for operation in ("route", "encode"):
        samples = timed.filter((pl.col("step") == step) & (pl.col("operation") == operation))["wall_s"]
        p99 = percentile(samples, 0.99)
        if p99.known:
            found[f"{operation}_p99_s"] = (p99.value, p99.n)
    if len(edited):
        share = edited["edit_wall_s"] / edited["batch_len"]
        found["edit_s"] = (float(cast(float, share.mean())), len(edited))
    return step, found


def bytes_grown_since(logs: Sequence[RunLog]) -> dict[str, tuple[float, int]]:
    """Return `bytes_per_edit`, what one more edit adds to the bank, by all panels of a run's logs; n are their edits.

    It is left out until there are two panels.
    """
    gauged = pl.concat([cast(pl.DataFrame, pl.from_arrow(log.table(Gauged))) for log in logs])
    held = gauged.filter(pl.col("name") == "bank_bytes")
    each = bytes_grown(held["step"].to_numpy(), held["value"].to_numpy())[1]
    return {} if math.isnan(each) else {"bytes_per_edit": (each, cast(int, held["step"].max()))}


def since_at_once(logs: Sequence[RunLog], scorer: str = "generated") -> dict[str, tuple[float, int]]:
    """Return retention, generality and locality at the last of a run's logs, each as a share of its value at once.

    Both are of the same probes: those of the last panel that were also asked right after their edit; with n. What
    was never right at once is kept by no share (0). Logs are in order and have the facts since the one before.
    """
    tables = [cast(pl.DataFrame, pl.from_arrow(log.table(Probed))) for log in logs]
    step = cast(int, cast(pl.DataFrame, pl.from_arrow(logs[-1].table(Gauged)))["step"].max())
    mine = [rows.filter(HOLDS & (pl.col("scorer") == scorer)) for rows in tables]
    now = mine[-1].filter(pl.col("step") == step).unique(subset=["probe_id"], keep="last", maintain_order=True)
    first = pl.concat(mine).filter((pl.col("age") == 0) & (pl.col("edit_id") != ""))
    first = first.unique(subset=["probe_id"], keep="first", maintain_order=True)
    both = now.join(first.select("probe_id", pl.col("score").alias("at_once")), on="probe_id")
    found: dict[str, tuple[float, int]] = {}
    for name, axis in _AXES.items():
        rows = both.filter(pl.col("axis") == axis)
        if len(rows):
            at_once = float(rows["at_once"].sum())
            found[name] = (float(rows["score"].sum()) / at_once if at_once else 0.0, len(rows))
    return found
