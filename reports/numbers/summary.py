"""The table of all numbers: one row per editor, every measure at the last panel with its n. Reads no files."""

from __future__ import annotations

import math

import polars as pl

from reports.numbers import metrics
from reports.numbers.metrics import SHOWN_AXES, on_axis
from reports.table import Facts


def summary(facts: Facts) -> pl.DataFrame:
    """Return one row per editor: quality at the last panel, forgetting, and cost (units in the column names)."""
    rows = metrics.panel_rows(facts.probed, facts.gauged).filter(pl.col("scorer") == "generated")
    out = []
    for editor in facts.editors:
        mine = rows.filter(pl.col("editor") == editor)
        last = mine.filter(pl.col("step") == mine["step"].max())
        record: dict[str, object] = {"editor": editor, "edits": int(mine["step"].max() or 0)}  # pyright: ignore[reportArgumentType]
        for title, axis, modality, variants in SHOWN_AXES:
            part = on_axis(last, axis, modality, variants)
            record[title] = float(part["score"].mean()) if len(part) else math.nan  # pyright: ignore[reportArgumentType]
            record[f"n {title}"] = len(part)
        instant = metrics.instant_rows(
            facts.probed.filter((pl.col("editor") == editor) & (pl.col("scorer") == "generated"))
        )
        instant = instant.filter(pl.col("axis") == "reliability")
        matrix = metrics.retention_matrix(
            facts.probed.filter(pl.col("editor") == editor).unique(
                subset=["seed", "step", "probe_id", "scorer"], maintain_order=True
            )
        )
        record["reliability right after the edit"] = float(instant["score"].mean()) if len(instant) else math.nan  # pyright: ignore[reportArgumentType]
        record["n reliability right after the edit"] = len(instant)
        record["forgetting (first)"] = metrics.forgetting_first(matrix)
        record["forgetting (max)"] = metrics.forgetting_max(matrix)
        record["half-life (edits)"] = metrics.half_life(matrix)
        record |= _cost(facts, editor)
        out.append(record)
    return pl.DataFrame(out)


def speed(gauges: pl.DataFrame, timed: pl.DataFrame, edits: int) -> dict[str, object]:
    """Return how fast one editor's runs went, nan where they did not say; rates count measured seconds.

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


LOST = {
    "index recall": "index_recall",
    "lost: not found": "lost_router_miss",
    "lost: missed by the index": "lost_index_miss",
    "lost: no longer stored": "lost_overwritten",
    "lost: found, answered wrongly": "lost_wrong_answer",
}


def lost_edits(gauges: pl.DataFrame) -> dict[str, object]:
    """Return, at the last panel of one editor's runs, the index's recall and how many edits are lost why (means).

    Lost: right when first asked, wrong now. Nan where a run did not say.
    """
    out: dict[str, object] = {}
    last = gauges.filter(pl.col("step") == pl.col("step").max()) if len(gauges) else gauges
    for title, name in LOST.items():
        told = last[name].drop_nulls() if name in last.columns else pl.Series([], dtype=pl.Float64)
        out[title] = _mean(told.to_list())
    return out


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def _cost(facts: Facts, editor: str) -> dict[str, object]:
    edited = facts.edited.filter(pl.col("editor") == editor)
    timed = facts.timed.filter(pl.col("editor") == editor)
    gauges = facts.gauged.filter(pl.col("editor") == editor).sort("step")
    paired = timed.filter(pl.col("operation").is_in(["encode", "route"]))
    last = gauges.row(-1, named=True) if len(gauges) else {"bank_bytes": 0, "step": 1, "rss_bytes": 0}
    out: dict[str, object] = {
        "edit (s)": _mean((edited["edit_wall_s"] / edited["batch_len"]).to_list()),  # a batch's time, shared
        "bytes per edit": last["bank_bytes"] / max(1, last["step"]),
        "collapsed edits": int(edited["collapsed"].sum()),
        "answers not finite": int(gauges["answers_not_finite"].sum())
        if "answers_not_finite" in gauges.columns
        else 0,
    }
    out |= lost_edits(gauges)
    out |= speed(gauges, timed, len(edited))
    for operation in ("encode", "route"):
        part = paired.filter(pl.col("operation") == operation)["wall_s"]
        out[f"{operation} p50 (ms)"] = float(part.median() or 0) * 1e3 if len(part) else math.nan  # pyright: ignore[reportArgumentType]
        p99 = part.quantile(0.99, "linear") if len(part) >= 100 else None
        out[f"{operation} p99 (ms)"] = p99 * 1e3 if p99 is not None else math.nan
        out[f"n {operation}"] = len(part)
    return out
