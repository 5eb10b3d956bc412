"""One function per figure of time and memory: frames in, a matplotlib figure and its numbers out.

Knows metrics and style; reads and writes no files. Latencies are raw samples of the online path, one query at a
time, taken at every panel.
"""

from __future__ import annotations

import math

import polars as pl

from reports.figures import style
from reports.figures.looks import COLOURS, palette
from reports.figures.style import Drawn, not_asked
from reports.numbers import metrics
from reports.numbers.growth import MB, bytes_grown
from reports.statistics.percentiles import percentile
from reports.table import Facts

OPERATIONS = ("encode", "route", "apply", "answer")


def latency(facts: Facts) -> Drawn:
    """Draw p50, p90 and p99 of routing (encode + route) and of each operation against bank size, log-log."""
    looks = palette(facts.editors, facts.origins)
    queries = facts.timed.filter(pl.col("operation").is_in(OPERATIONS))
    table = metrics.latency_bins(queries)
    shown = [o for o in OPERATIONS if o in set(table["operation"])]
    name, heading = "latency", "Latency against bank size"
    if not shown:
        return not_asked(name, heading, "latency sample", table)
    figure, axes = style.grid(len(shown), columns=4, height=3.1)
    slopes = []
    for ax, operation in zip(axes, shown, strict=False):
        part = table.filter(pl.col("operation") == operation)
        for editor, look in style.each(looks, ax):
            mine = part.filter((pl.col("editor") == editor) & (pl.col("bank_len") > 0)).sort("bank_len")
            if mine.is_empty():
                continue
            for column, dash in (("p50_s", "-"), ("p90_s", "--"), ("p99_s", ":")):
                known = mine.filter(pl.col(column).is_not_null())
                label = style.named(f"{editor} {column[:3]}") if column == "p50_s" else None
                ax.plot(known["bank_len"], known[column] * 1e3, **look.line(dash), linewidth=1.3, label=label)
            known = mine.filter(pl.col("p50_s").is_not_null())
            fit = metrics.slope(known["bank_len"].to_numpy(), known["p50_s"].to_numpy())
            if not math.isnan(fit):
                slopes.append(f"{editor} {operation} {fit:+.2f}")
        style.log_axis(ax.xaxis)
        style.log_axis(ax.yaxis)
        ax.set_title(operation, fontsize=10)
        ax.set_xlabel("bank size (entries)")
        ax.set_ylabel("wall time (ms)")
    style.legend(figure, axes)
    caption = (
        "One query at a time, uncached, samples of neighbouring panels pooled by bank size. Solid p50, dashed p90, "
        "dotted p99, each where there are samples enough for its interval (8, 53 and 563; n is in the table). "
        + ("Log-log slopes of p50: " + "; ".join(slopes) + "." if slopes else "")
    )
    return Drawn(name, heading, caption, figure, table, f"n = {len(queries):,} latency samples")


def latency_split(facts: Facts) -> Drawn:
    """Draw the median time of a full answer by operation, stacked, at the last panel."""
    ends = facts.timed.group_by("editor", "seed").agg(pl.col("step").max())
    last = facts.timed.join(ends, on=["editor", "seed", "step"], how="semi")
    last = last.filter(pl.col("operation").is_in(OPERATIONS))
    rows = [
        (editor, operation, percentile(part["wall_s"], 0.5).value, len(part))
        for (editor, operation), part in last.group_by("editor", "operation")
    ]
    names = {"editor": pl.String, "operation": pl.String, "p50_s": pl.Float64, "n": pl.Int64}
    table = pl.DataFrame(rows, schema=names, orient="row").sort("editor", "operation")
    known = {(r["editor"], r["operation"]): r["p50_s"] for r in table.fill_nan(None).drop_nulls().to_dicts()}
    editors = [e for e in facts.editors if any(e == editor for editor, _ in known)]
    name, heading = "latency_split", "Where a query's time goes"
    if not editors:
        return not_asked(name, heading, "8 latency samples of one operation at the last panel", table)
    figure, (ax,) = style.grid(1, width=6.0, height=max(2.6, 1.2 + 0.22 * len(editors)))
    left, places = dict.fromkeys(editors, 0.0), range(len(editors))
    for i, operation in enumerate(OPERATIONS):
        widths = [known.get((e, operation), 0.0) * 1e3 for e in editors]
        start = [left[e] for e in editors]
        bars = ax.barh(places, widths, left=start, label=operation, color=COLOURS[i], height=0.6)
        for bar, editor in zip(bars, editors, strict=True):
            style.belongs(bar, editor)
        left = {e: left[e] + w for e, w in zip(editors, widths, strict=True)}
    ax.set_yticks(places, editors)
    ax.invert_yaxis()
    ax.set_xlabel("median wall time of one query at the last panel (ms)")
    style.legend(figure, [ax])
    caption = "Keys (encode), bank search (route), putting the edit in place (apply), model (answer)."
    return Drawn(name, heading, caption, figure, table, f"n = {len(last):,} latency samples at the last panel")


def memory(facts: Facts) -> Drawn:
    """Draw bank bytes and resident memory against edits, and state the fixed part and what an edit adds."""
    looks = palette(facts.editors, facts.origins)
    table = (
        facts.gauged.group_by("editor", "step")
        .agg(pl.col("bank_len").mean(), pl.col("bank_bytes").mean(), pl.col("rss_bytes").max())
        .sort("editor", "step")
    )
    figure, axes = style.grid(2, width=4.2, height=3.2)
    slopes = []
    for editor, look in style.each(looks, *axes):
        part = table.filter(pl.col("editor") == editor)
        grown = part.filter(pl.col("bank_bytes") > 0)
        if not grown.is_empty():
            axes[0].plot(grown["step"], grown["bank_bytes"] / 2**20, **look.line(), label=style.named(editor))
            fixed, each = bytes_grown(part["step"].to_numpy(), part["bank_bytes"].to_numpy())
            slopes += [] if math.isnan(each) else [f"{editor} {fixed / MB:.2f} MB and {each:,.0f} bytes an edit"]
        axes[1].plot(part["step"], part["rss_bytes"] / 2**20, **look.line(), label=style.named(editor))
    axes[0].set_ylabel("bytes that grow with edits (MiB)")
    axes[1].set_ylabel("process memory (MiB)")
    axes[1].set_ylim(bottom=0)
    for ax in axes:
        style.edits_axis(ax, int(table["step"].max() or 0))  # pyright: ignore[reportArgumentType]
    if table["bank_bytes"].max():
        style.log_axis(axes[0].yaxis)
    style.legend(figure, axes)
    caption = (
        "Keys and payloads (weight editors: the changed weights), and the whole process. The line through all "
        "panels, where it begins and what an edit adds: "
    )
    words, n = caption + ("; ".join(slopes) or "not known") + ".", len(facts.gauged)
    return Drawn("memory", "Memory against edits", words, figure, table, f"n = {n:,} panels")


def edit_time(facts: Facts) -> Drawn:
    """Draw the measured time of one edit against the number of edits (running median of 50), a line a seed."""
    looks = palette(facts.editors, facts.origins)
    name, heading = "edit_time", "Time of one edit"
    each = facts.edited.with_columns((pl.col("edit_wall_s") / pl.col("batch_len")).alias("edit_wall_s"))
    table = each.select("editor", "seed", "step", "edit_wall_s").sort("editor", "seed", "step", maintain_order=True)
    if table.is_empty():
        return not_asked(name, heading, "edit", table)
    figure, (ax,) = style.grid(1, width=5.0, height=3.2)
    for editor, look in style.each(looks, ax):
        for i, (_, part) in enumerate(table.filter(pl.col("editor") == editor).group_by("seed", maintain_order=True)):
            window = min(50, len(part))
            smooth = part["edit_wall_s"].rolling_quantile(0.5, "lower", window, min_samples=1)
            label = style.named(editor) if i == 0 else None
            ax.plot(part["step"], smooth * 1e3, linestyle=look.dash, color=look.colour, linewidth=1.3, label=label)
    style.log_axis(ax.yaxis)
    ax.set_xlabel("edits so far (step)")
    ax.set_ylabel("wall time of one edit (ms)")
    style.legend(figure, [ax])
    caption = "Running median over 50 edits, a line a seed, measured from outside the editor."
    return Drawn(name, heading, caption, figure, table, f"n = {len(table):,} edits")
