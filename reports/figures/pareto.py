"""The figure of cost against quality: one point an editor, published and tuned settings of one editor joined.

Knows fact tables, the numbers and style; reads and writes no files.
"""

from __future__ import annotations

import math

import polars as pl
from matplotlib.axes import Axes

from reports.analyses.pareto import CEILING, COST_AXES, FLOOR, equal_step, points, unbeaten
from reports.figures import style
from reports.figures.looks import Look, palette
from reports.figures.style import Drawn, not_asked
from reports.table import Facts

_TITLES = {
    "bytes an edit": "bytes that one more edit adds",
    "edit (ms)": "one edit, p50 (ms)",
    "query (ms)": "one query, p50 (ms)",
}


def cost_quality(facts: Facts) -> Drawn:
    """Draw the harmonic score of gain and locality against marginal bytes, an edit's time and a query's time."""
    name, heading = "pareto", "Cost against quality"
    step = equal_step(facts)
    table = points(facts, step) if step is not None else pl.DataFrame()
    if table.is_empty() or (table["name"] == FLOOR).all():
        what = f"panel of all past edits that every editor has, or no run of `{FLOOR}` on the same streams as a floor"
        return not_asked(name, heading, what, table)
    looks = palette(facts.editors, facts.origins)
    figure, axes = style.grid(len(COST_AXES), width=4.4, height=3.6)
    for ax, cost in zip(axes, COST_AXES, strict=True):
        _plane(ax, table, cost, looks)
    style.legend(figure, axes)
    ceiling = CEILING in set(facts.names.values())
    caption = (
        f"After {step:,} edits. Height: harmonic mean of gain in success (Rel, T-Gen, M-Gen, from `{FLOOR}` = 0 to "
        f"{f'`{CEILING}` = 1' if ceiling else 'all right = 1'}) and of locality, teacher forced; doing nothing "
        "scores 0. Bars: lowest to highest seed, Student's 95 % from five on. A grey line joins the published "
        "(hollow) and the tuned setting of an editor; the step line is what nothing drawn beats in both. Times are "
        "measured, an edit's with nothing read beforehand; a query is the sum of its parts' medians. At 0 bytes lie "
        "editors that write into a fixed number of weights."
    )
    seeds = int(table["seeds"].max() or 0)  # pyright: ignore[reportArgumentType]
    n = f"n = {len(table)} editors, {'one seed' if seeds == 1 else f'{seeds} seeds at most'}"
    return Drawn(name, heading, caption, figure, table, n)


def _plane(ax: Axes, table: pl.DataFrame, cost: str, looks: dict[str, Look]) -> None:
    shown = table.filter(pl.col(cost).is_not_nan() & pl.col(cost).is_not_null()).sort(cost)
    for one, other in pairs(shown["editor"].to_list()):
        ends = shown.filter(pl.col("editor").is_in([one, other]))
        ax.plot(ends[cost], ends["harmonic"], "-", color="#999999", linewidth=0.8, zorder=1)
    rows = {row["editor"]: row for row in shown.iter_rows(named=True)}
    for row in (rows[editor] for editor in looks if editor in rows):
        look = looks[row["editor"]]
        reach = [[row["harmonic"] - row["low"]], [row["high"] - row["harmonic"]]]
        inner = "white" if "(published" in row["editor"] else look.colour
        with style.marks_of(row["editor"], ax):
            ax.errorbar([row[cost]], [row["harmonic"]], [[max(0.0, r[0])] for r in reach], fmt=look.marker,
                        color=look.colour, markerfacecolor=inner, markersize=6, elinewidth=0.8,
                        label=style.named(row["editor"]))  # fmt: skip
    if shown.height:
        best = shown.filter(pl.Series(unbeaten(shown[cost].to_numpy(), shown["harmonic"].to_numpy())))
        ax.step(best[cost], best["harmonic"], where="post", color="#555555", linewidth=0.7, linestyle=":", zorder=0)
        if (shown[cost] > 0).any():
            least = float(shown.filter(pl.col(cost) > 0)[cost].min())  # pyright: ignore[reportArgumentType]
            if (shown[cost] <= 0).any():
                ax.set_xscale("symlog", linthresh=least)
                ends = (math.ceil(math.log10(least)), math.floor(math.log10(float(shown[cost].max()))))  # pyright: ignore[reportArgumentType]
                ticks = [0.0, *(10.0**k for k in range(ends[0], ends[1] + 1))]
                ax.set_xticks(ticks, [f"{tick:,.10g}" for tick in ticks])
            else:
                style.log_axis(ax.xaxis)
    ax.set_xlabel(_TITLES[cost])
    style.score_axis(ax, "harmonic score")


def pairs(labels: list[str]) -> list[tuple[str, str]]:
    """Return which labels are the published and the tuned setting of one editor, all else equal.

    >>> pairs(["ft (tuned)", "ft (published)", "grace (tuned) layer=0.5", "none"])
    [('ft (published)', 'ft (tuned)')]
    """
    known = set(labels)
    found = [(label, label.replace("(published)", "(tuned)")) for label in sorted(known) if "(published)" in label]
    return [(one, other) for one, other in found if other in known]
