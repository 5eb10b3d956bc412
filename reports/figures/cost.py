"""One function per figure of time and memory: frames in, a matplotlib figure and its numbers out.

Knows metrics and style; reads and writes no files. Latencies are raw samples of the online path, one query at a
time, taken at every panel.
"""

from __future__ import annotations

import math

import polars as pl

from reports.figures import style
from reports.figures.style import Drawn
from reports.numbers import metrics
from reports.table import Facts

OPERATIONS = ("encode", "route", "apply", "answer")


def latency(facts: Facts) -> Drawn:
    """Draw p50, p90 and p99 of routing (encode + route) and of each operation against bank size, log-log."""
    looks = style.palette(facts.editors)
    queries = facts.timed.filter(pl.col("operation").is_in(OPERATIONS))
    table = metrics.latency_bins(queries)
    shown = [o for o in OPERATIONS if o in set(table["operation"])]
    figure, axes = style.grid(max(1, len(shown)), columns=4, height=3.1)
    slopes = []
    for ax, operation in zip(axes, shown, strict=False):
        part = table.filter(pl.col("operation") == operation)
        for editor, look in looks.items():
            mine = part.filter((pl.col("editor") == editor) & (pl.col("bank_len") > 0)).sort("bank_len")
            if mine.is_empty():
                continue
            for column, dash in (("p50_s", "-"), ("p90_s", "--"), ("p99_s", ":")):
                known = mine.filter(pl.col(column).is_not_null())
                label = f"{editor} {column[:3]}" if column == "p50_s" else None
                ax.plot(known["bank_len"], known[column] * 1e3, **look.line(dash), linewidth=1.3, label=label)
            fit = metrics.slope(mine["bank_len"].to_numpy(), mine["p50_s"].to_numpy())
            if not math.isnan(fit):
                slopes.append(f"{editor} {operation} {fit:+.2f}")
        ax.set_xscale("log")
        ax.set_yscale("log")
        style.plain_ticks(ax.xaxis)
        style.plain_ticks(ax.yaxis)
        ax.set_title(operation, fontsize=10)
        ax.set_xlabel("bank size (entries)")
        ax.set_ylabel("wall time (ms)")
    style.legend(figure, axes)
    caption = (
        "One query at a time, uncached, samples of neighbouring panels pooled by bank size. Solid p50, dashed p90, "
        "dotted p99 (only where 100 samples or more are pooled; n is in the table). "
        + ("Log-log slopes of p50: " + "; ".join(slopes) + "." if slopes else "")
    )
    return Drawn("latency", "Latency against bank size", caption, figure, table)


def latency_split(facts: Facts) -> Drawn:
    """Draw the median time of a full answer by operation, stacked, at the last panel."""
    last = facts.timed.join(
        facts.timed.group_by("editor").agg(pl.col("step").max()), on=["editor", "step"], how="semi"
    ).filter(pl.col("operation").is_in(OPERATIONS))
    table = last.group_by("editor", "operation").agg(pl.col("wall_s").median().alias("p50_s"), pl.len().alias("n"))
    editors = [e for e in facts.editors if e in set(table["editor"])]
    figure, (ax,) = style.grid(1, width=6.0, height=max(2.6, 1.2 + 0.22 * len(editors)))
    left = dict.fromkeys(editors, 0.0)
    for i, operation in enumerate(OPERATIONS):
        part = {
            r["editor"]: r["p50_s"] * 1e3
            for r in table.filter(pl.col("operation") == operation).iter_rows(named=True)
        }
        widths = [part.get(e, 0.0) for e in editors]
        ax.barh(editors, widths, left=[left[e] for e in editors], label=operation, color=style.COLOURS[i], height=0.6)
        left = {e: left[e] + w for e, w in zip(editors, widths, strict=True)}
    ax.invert_yaxis()
    ax.set_xlabel("median wall time of one query at the last panel (ms)")
    style.legend(figure, [ax])
    caption = "Keys (encode), bank search (route), putting the edit in place (apply), model (answer)."
    return Drawn("latency_split", "Where a query's time goes", caption, figure, table.sort("editor", "operation"))


def memory(facts: Facts) -> Drawn:
    """Draw bank bytes and resident memory against edits, and state bytes per edit."""
    looks = style.palette(facts.editors)
    table = (
        facts.gauged.group_by("editor", "step")
        .agg(pl.col("bank_len").mean(), pl.col("bank_bytes").mean(), pl.col("rss_bytes").max())
        .sort("editor", "step")
    )
    figure, axes = style.grid(2, width=4.2, height=3.2)
    slopes = []
    for editor, look in looks.items():
        part = table.filter(pl.col("editor") == editor)
        grown = part.filter(pl.col("bank_bytes") > 0)
        if not grown.is_empty():
            axes[0].plot(grown["step"], grown["bank_bytes"] / 2**20, **look.line(), label=editor)
            last = grown.row(-1, named=True)
            slopes.append(f"{editor} {last['bank_bytes'] / last['step']:,.0f}")
        axes[1].plot(part["step"], part["rss_bytes"] / 2**20, **look.line(), label=editor)
    axes[0].set_ylabel("bytes that grow with edits (MiB)")
    axes[1].set_ylabel("process memory (MiB)")
    axes[1].set_ylim(bottom=0)
    for ax in axes:
        style.edits_axis(ax, int(table["step"].max() or 0))  # pyright: ignore[reportArgumentType]
    axes[0].set_yscale("log")
    style.legend(figure, axes)
    caption = (
        "Keys and payloads (weight editors: the changed weights), and the whole process. Bytes per edit at the end: "
    )
    return Drawn("memory", "Memory against edits", caption + ("; ".join(slopes) or "none") + ".", figure, table)


def edit_time(facts: Facts) -> Drawn:
    """Draw the measured time of one edit against the number of edits (running median of 50)."""
    looks = style.palette(facts.editors)
    figure, (ax,) = style.grid(1, width=5.0, height=3.2)
    tables = []
    for editor, look in looks.items():
        part = (
            facts.edited.filter(pl.col("editor") == editor)
            .sort("seed", "step")
            .with_columns((pl.col("edit_wall_s") / pl.col("batch_len")).alias("edit_wall_s"))
        )
        if part.is_empty():
            continue
        smooth = part["edit_wall_s"].rolling_median(min(50, len(part)), min_samples=1)
        ax.plot(part["step"], smooth * 1e3, look.dash, color=look.colour, linewidth=1.3, label=editor)
        tables.append(part.select("editor", "seed", "step", "edit_wall_s"))
    ax.set_yscale("log")
    ax.set_xlabel("edits so far (step)")
    ax.set_ylabel("wall time of one edit (ms)")
    style.legend(figure, [ax])
    caption = "Running median over 50 edits, measured from outside the editor."
    return Drawn("edit_time", "Time of one edit", caption, figure, pl.concat(tables))
