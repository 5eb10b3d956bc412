"""One function per figure of query traffic: frames in, a matplotlib figure and its numbers out.

Knows replications and style; reads and writes no files. Everything here is in simulated time: how long people wait
while edits stream in, what they are told, and how old it is.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from reports.figures import style
from reports.figures.looks import palette
from reports.figures.style import Drawn
from reports.statistics.replications import after_warm_up, percentiles_over
from reports.statistics.seeds import ENOUGH
from reports.table import Facts

WINDOWS = 20  # equal stretches of simulated time
INSIDE = ("edited", "rephrased", "rendering")
_PARTS = ("encode_s", "route_s", "apply_s", "answer_s")
_SHARES = ((0.5, "p50"), (0.99, "p99"))


def waiting(facts: Facts) -> Drawn:
    """Draw the service and the response times of queries side by side, as the share that took longer.

    Each seed is a replication: what arrives in its first tenth is left out, and intervals are over seeds.
    """
    looks = palette(facts.editors, facts.origins)
    served = _counted(_timed(facts.served))
    figure, axes = style.grid(2, columns=2, width=4.4, height=3.2)
    rows = []
    for ax, column, title in zip(
        axes, ("service_s", "response_s"), ("service", "response (waiting too)"), strict=True
    ):
        for editor, look in style.each(looks, ax):
            mine = served.filter(pl.col("editor") == editor)
            times = np.sort(mine[column].to_numpy())
            if not len(times):
                continue
            ax.step(times * 1e3, 1 - np.arange(1, len(times) + 1) / len(times), where="post", color=look.colour,
                    linestyle=look.dash, linewidth=1.3, label=style.named(editor))  # fmt: skip
            parts = [part[column].to_numpy() for part in mine.partition_by("seed")]
            for found, (_, name) in zip(percentiles_over(parts, [s for s, _ in _SHARES]), _SHARES, strict=True):
                rows.append((editor, title, name, found.value, found.low, found.high, found.n, found.effective_n,
                             found.replications))  # fmt: skip
        style.log_axis(ax.xaxis)
        style.log_axis(ax.yaxis)
        ax.set_title(title, fontsize=10)
        ax.set_xlabel("simulated time (ms)")
        ax.set_ylabel("share of queries that took longer")
    style.legend(figure, axes)
    words, numbers = ("editor", "time", "percentile"), ("value_s", "low_s", "high_s")
    names = dict.fromkeys(words, pl.String) | dict.fromkeys(numbers, pl.Float64)
    names |= {"n": pl.Int64, "effective_n": pl.Float64, "seeds": pl.Int64}
    table = pl.DataFrame(rows, schema=names, orient="row")
    caption = (
        "Response counts from the intended arrival; what arrived in the first tenth of a run, when nobody waited, "
        "is left out. Waiting times of one run follow each other and give no interval; the table has one over seeds, "
        f"from {ENOUGH} on, and leaves out a percentile that too few queries lie beyond."
    )
    heading = "How long queries take, and how long people wait"
    return Drawn("waiting", heading, caption, figure, table, f"n = {len(served):,} queries")


def staleness(facts: Facts) -> Drawn:
    """Draw, over simulated time, the shares of queries about edits that are right, stale by version and by answer."""
    looks = palette(facts.editors, facts.origins)
    inside = _windows(facts.served.filter(pl.col("scope").is_in(INSIDE)), "arrived_sim_s")
    shares = ("right", "stale_version", "stale_answer")
    place = ("editor", "window", "at_s")
    each = inside.group_by(*place, "seed").agg(*(pl.col(c).mean() for c in shares), pl.len().alias("n"))
    table = each.group_by(place).agg(*(pl.col(c).mean() for c in shares), pl.col("n").sum()).sort("editor", "window")
    figure, axes = style.grid(3, columns=3, height=3.0)
    titles = ("right", "stale by version", "stale by answer")
    for ax, column, title in zip(axes, shares, titles, strict=True):
        for editor, look in style.each(looks, ax):
            mine = table.filter((pl.col("editor") == editor) & pl.col(column).is_not_null())
            ax.plot(mine["at_s"], mine[column], **look.line(), linewidth=1.3, label=style.named(editor))
        ax.set_ylim(-0.02, 1.02)
        ax.set_title(title, fontsize=10)
        ax.set_xlabel("simulated time (s)")
        ax.set_ylabel("share of queries about edits")
    style.legend(figure, axes)
    caption = (
        f"Queries about an edited fact, by {WINDOWS} equal stretches of time. Stale by version: the edit had arrived "
        "and was not visible when service began. Stale by answer: right by what was true before, wrong by what is."
    )
    n = f"n = {len(inside):,} queries about edited facts"
    return Drawn("staleness", "What people are told about edited facts", caption, figure, table, n)


def lag(facts: Facts) -> Drawn:
    """Draw how long edits take from arrival to visibility, and how many queries wait, over simulated time."""
    looks = palette(facts.editors, facts.origins)
    figure, axes = style.grid(2, columns=2, width=4.4, height=3.0)
    edits = _windows(
        facts.edited.with_columns((pl.col("visible_sim_s") - pl.col("arrived_sim_s")).alias("lag_s")), "arrived_sim_s"
    )
    within = edits.group_by("editor", "window", "at_s", "seed").agg(
        pl.col("lag_s").mean().alias("lag_mean_s"), pl.col("lag_s").max().alias("lag_max_s"), pl.len().alias("edits")
    )
    lags = within.group_by("editor", "window", "at_s").agg(
        pl.col("lag_mean_s").mean(), pl.col("lag_max_s").max(), pl.col("edits").sum()
    )
    depth = _depth(_timed(facts.served))
    table = lags.join(depth, on=["editor", "window"], how="full", coalesce=True).sort("editor", "window")
    for editor, look in style.each(looks, *axes):
        mine = table.filter(pl.col("editor") == editor)
        axes[0].plot(mine["at_s"], mine["lag_mean_s"], **look.line(), linewidth=1.3, label=style.named(editor))
        axes[0].plot(mine["at_s"], mine["lag_max_s"], **look.line(":"), linewidth=1.0)
        axes[1].plot(mine["at_s"], mine["queries_inside"], **look.line(), linewidth=1.3, label=style.named(editor))
    axes[0].set_ylabel("arrival to visible (s)")
    axes[1].set_ylabel("queries in the system")
    for ax, title in zip(axes, ("edit lag: mean, longest dotted", "queue depth"), strict=True):
        ax.set_title(title, fontsize=10)
        ax.set_xlabel("simulated time (s)")
        ax.set_ylim(bottom=0)
    style.legend(figure, axes)
    caption = f"By {WINDOWS} equal stretches of simulated time. Queries in the system: the time average."
    n = f"n = {len(edits):,} edits, {len(facts.served):,} queries"
    return Drawn("edit_lag", "How long edits take to be visible, and who waits meanwhile", caption, figure, table, n)


def _timed(served: pl.DataFrame) -> pl.DataFrame:
    return served.with_columns(
        pl.sum_horizontal(_PARTS).alias("service_s"), (pl.col("sim_s") - pl.col("arrived_sim_s")).alias("response_s")
    )


def _counted(served: pl.DataFrame) -> pl.DataFrame:
    """Return the queries that arrived after the warm-up of their run."""
    spans = pl.col("arrived_sim_s").max().over("editor", "seed")
    kept = after_warm_up(served["arrived_sim_s"].to_numpy(), served.select(spans).to_series().to_numpy())
    return served.filter(pl.Series(kept, dtype=pl.Boolean))


def _windows(rows: pl.DataFrame, column: str) -> pl.DataFrame:
    """Number equal stretches of each editor's time, `at_s` their middles; all of it is one where it has no length."""
    span = pl.col(column).max().over("editor").clip(1e-9) / WINDOWS
    window = (pl.col(column) / span).floor().clip(0, WINDOWS - 1).cast(pl.Int64)
    return rows.with_columns(window.alias("window"), ((window + 0.5) * span).alias("at_s"))


def _depth(served: pl.DataFrame) -> pl.DataFrame:
    """Return the time average of queries in the system, per run and stretch, averaged over seeds (Little's law)."""
    out = []
    ends = dict(served.group_by("editor").agg(pl.col("arrived_sim_s").max()).rows())
    for (editor, _), rows in served.group_by("editor", "seed"):
        edges = np.linspace(0, float(ends[editor] or 0), WINDOWS + 1)
        came, went = rows["arrived_sim_s"].to_numpy(), rows["sim_s"].to_numpy()
        for window, (low, high) in enumerate(zip(edges[:-1], edges[1:], strict=True)):
            inside = np.clip(np.minimum(went, high) - np.maximum(came, low), 0, None).sum()
            out.append((editor, window, inside / (high - low) if high > low else 0.0))
    frame = pl.DataFrame(
        out, schema={"editor": pl.String, "window": pl.Int64, "queries_inside": pl.Float64}, orient="row"
    )
    return frame.group_by("editor", "window").agg(pl.col("queries_inside").mean())
