"""The table of all numbers: one row per editor, every measure with its n. Reads no files.

Every number is taken within each seed and then averaged over seeds; percentiles are of all seeds' samples together.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import polars as pl

from reports.numbers import metrics
from reports.numbers.axes import DRAWN, DRAWN_SCOPE, EXACT, MEASURES
from reports.numbers.growth import MB, bytes_an_edit, fixed_bytes
from reports.statistics.curves import mean_score
from reports.statistics.percentiles import percentiles
from reports.statistics.seeds import mean_of, over_seeds
from reports.table import Facts

SURPRISE = "general: untouched questions, NLL (nats a token)"
LAST, ALL, WHOLE = "last panel", "all panels", "whole run"
TAKEN_OVER = {
    "reliability right after the edit": WHOLE,
    "forgetting (first)": ALL,
    "forgetting (max)": ALL,
    "half-life (edits)": ALL,
    "edit (s)": WHOLE,
    "fixed (MB)": ALL,
    "bytes an edit": ALL,
    "collapsed edits": WHOLE,
    "answers not finite": WHOLE,
    "edits/s": WHOLE,
    "probes/s": WHOLE,
    "answers kept by an unchanged route": WHOLE,
    "simulator overhead": WHOLE,
    "encode p50, all panels (ms)": ALL,
    "encode p99, all panels (ms)": ALL,
    "route p50, all panels (ms)": ALL,
    "route p99, all panels (ms)": ALL,
}
"""What each number is taken over; those that are not named are of each seed's last panel."""


def summary(facts: Facts) -> pl.DataFrame:
    """Return one row per editor: quality, forgetting, and cost (units in the column names); nan where not asked."""
    every = metrics.asked_of(facts)
    rows, untouched = pl.col("scorer") == "generated", every.filter(MEASURES["general NLL"].rows())
    out = []
    for editor in facts.editors:
        asked = every.filter(rows & (pl.col("editor") == editor))
        mine = asked.filter("at_panel")
        gauges = facts.gauged.filter(pl.col("editor") == editor)
        last = at_the_end(mine, gauges)
        record: dict[str, object] = {"editor": editor, "edits": int(gauges["step"].max() or 0)}  # pyright: ignore[reportArgumentType]
        for title, measure in (DRAWN | DRAWN_SCOPE).items():
            record |= _counted(title, last.filter(measure.rows(EXACT)))
        surprise = untouched.filter((pl.col("editor") == editor) & pl.col("at_panel"))
        surprise = at_the_end(surprise, gauges)
        record[SURPRISE], record[f"n {SURPRISE}"] = over_seeds(surprise, mean_score)["mean"], len(surprise)
        instant = metrics.instant_rows(asked)
        record |= _counted("reliability right after the edit", instant.filter(pl.col("axis") == "reliability"))
        matrix = metrics.retention_matrix(asked)
        record["forgetting (first)"] = over_seeds(matrix, metrics.forgetting_first)["mean"]
        record["forgetting (max)"] = over_seeds(matrix, metrics.forgetting_max)["mean"]
        record["half-life (edits)"] = over_seeds(matrix, metrics.half_life)["mean"]
        out.append(record | _cost(facts, editor, gauges))
    return pl.DataFrame(out, infer_schema_length=None)


def at_the_end(rows: pl.DataFrame, gauges: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of each seed's last panel, of one editor's rows."""
    ends = gauges.group_by("seed").agg(pl.col("step").max())
    return rows.join(ends, on=["seed", "step"], how="semi")


def _counted(title: str, rows: pl.DataFrame) -> dict[str, object]:
    return {title: over_seeds(rows, mean_score)["mean"], f"n {title}": len(rows)}


def speed(gauges: pl.DataFrame, timed: pl.DataFrame, edits: int) -> dict[str, object]:
    """Return how fast one seed's run went, nan where it did not say; rates count measured seconds.

    `edits/s` over the whole loop, `probes/s` over probing (latency samples left out); the share of probes whose
    answer an unchanged route kept; the share of all time outside edit, encode, route, answer and latency samples.
    """
    spent = {name: float(gauges[name].sum()) for name in gauges.columns if name.endswith("_wall_s")}
    whole = sum(spent.get(f"{part}_wall_s", 0.0) for part in ("edit", "probe", "commit", "own"))
    sampled = float(timed.filter(pl.col("operation").is_in(["encode", "route", "apply", "answer"]))["wall_s"].sum())
    inside = sum(spent.get(f"{part}_wall_s", 0.0) for part in ("edit", "encode", "route", "answer")) + sampled
    asked, probing = float(gauges["probes_asked"].sum()), spent.get("probe_wall_s", 0.0) - sampled
    return {
        "edits/s": edits / whole if whole > 0 else math.nan,
        "probes/s": asked / probing if probing > 0 else math.nan,
        "answers kept by an unchanged route": float(gauges["probes_reused"].sum()) / asked if asked else math.nan,
        "n answers kept by an unchanged route": int(asked),
        "simulator overhead": max(0.0, 1 - inside / whole) if whole > 0 else math.nan,
    }


WRONG_THOUGH_FOUND, WRONG_UNROUTED = "lost: found, answered wrongly", "lost: answered wrongly (nothing is routed)"
LOST = {
    "index recall": "index_recall",
    "lost: not found": "lost_router_miss",
    "lost: missed by the index": "lost_index_miss",
    "lost: no longer stored": "lost_overwritten",
    WRONG_THOUGH_FOUND: "lost_wrong_answer",
    WRONG_UNROUTED: "lost_wrong_answer",
}


def lost_edits(gauges: pl.DataFrame) -> dict[str, object]:
    """Return, at the last panel of one editor's runs, the index's recall and how many edits are lost why (means).

    Lost: right when first asked, wrong now. Nan where a run did not say. An editor that searches no bank finds
    nothing and misses nothing: only its wrong answers are counted, under a name of their own.
    """
    out: dict[str, object] = {}
    last = at_the_end(gauges, gauges)
    routes = "index_recall" in last.columns and last["index_recall"].null_count() < len(last)
    for title, name in LOST.items():
        told = last[name].drop_nulls().to_list() if name in last.columns else []
        searches = title not in ("lost: no longer stored", WRONG_UNROUTED)
        out[title] = mean_of(told)["mean"] if title == "lost: no longer stored" or searches == routes else math.nan
    return out


def _cost(facts: Facts, editor: str, gauges: pl.DataFrame) -> dict[str, object]:
    edited = facts.edited.filter(pl.col("editor") == editor)
    timed = facts.timed.filter(pl.col("editor") == editor)

    def mean(frame: pl.DataFrame, value: Callable[[pl.DataFrame], Any]) -> float:
        return over_seeds(frame, lambda part: float(value(part)))["mean"]

    out: dict[str, object] = {
        "edit (s)": mean(edited, lambda p: (p["edit_wall_s"] / p["batch_len"]).mean()),  # a batch's time, shared
        "fixed (MB)": mean(gauges, lambda p: fixed_bytes(p) / MB),
        "bytes an edit": mean(gauges, bytes_an_edit),
        "collapsed edits": int((edited["outcome"] == "not finite").sum()),
        "answers not finite": int(gauges["answers_not_finite"].sum()),
    }
    out |= lost_edits(gauges)
    out |= _speeds(gauges, timed, edited)
    for operation in ("encode", "route"):
        p50, p99 = percentiles(timed.filter(pl.col("operation") == operation)["wall_s"], (0.5, 0.99))
        # Of all panels' samples together; the table of evidence has those of the last panel alone.
        out[f"{operation} p50, all panels (ms)"] = p50.value * 1e3
        out[f"{operation} p99, all panels (ms)"] = p99.value * 1e3
        out[f"n {operation}"] = p50.n
    return out


def _speeds(gauges: pl.DataFrame, timed: pl.DataFrame, edited: pl.DataFrame) -> dict[str, object]:
    """Return the means over seeds of `speed`; numbers of answers are those of all seeds."""

    def of(frame: pl.DataFrame, seed: int) -> pl.DataFrame:
        return frame.filter(pl.col("seed") == seed)

    per = [speed(of(gauges, s), of(timed, s), len(of(edited, s))) for s in sorted(gauges["seed"].unique())]
    return {
        name: sum(one[name] for one in per) if name.startswith("n ") else mean_of([one[name] for one in per])["mean"]  # pyright: ignore[reportArgumentType,reportCallIssue]
        for name in per[0]
    }
