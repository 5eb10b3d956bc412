"""The figures of routers' scores: how well they tell scope apart as the bank grows, and what a threshold buys.

Knows fact tables, the estimators and style; reads and writes no files.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from matplotlib.axes import Axes

from reports.analyses.roc import roc, scores_at_panels, separation
from reports.figures import style
from reports.figures.looks import COLOURS, SHADES, palette
from reports.figures.style import Drawn, not_asked
from reports.numbers.metrics import panels_of
from reports.table import Facts

_SHADES = [SHADES[f"shade-{i}"][0] for i in (1, 2, 3)]  # bank sizes, the largest last
_ABSENT = "score of a router's nearest edit (an editor with a bank), in and out of scope"


def router(facts: Facts) -> Drawn:
    """Draw AUC and recall at false fires of 1 and 5 % against bank size, with bands."""
    name, heading = "router", "What routers' scores can tell apart"
    table = separation(_scores(facts))
    if table.is_empty():
        return not_asked(name, heading, _ABSENT, table)
    sizes = facts.gauged.group_by("editor", "step").agg(pl.col("bank_len").mean())
    table = table.join(sizes, on=["editor", "step"], how="left").sort("editor", "step")
    looks = palette(facts.editors, facts.origins)
    titles = {
        "auc": "area under ROC",
        "recall at 0.05": "recall, 5 % out of scope fire",
        "recall at 0.01": "recall, 1 % fire",
    }
    figure, axes = style.grid(3, width=4.2, height=3.1)
    for ax, (column, title) in zip(axes, titles.items(), strict=True):
        for editor, look in style.each(looks, ax):
            mine = table.filter((pl.col("editor") == editor) & (pl.col("bank_len") > 0))
            if mine.is_empty():
                continue
            ax.plot(mine["bank_len"], mine[column], **look.line(), linewidth=1.3, label=style.named(editor))
            ax.fill_between(mine["bank_len"], mine[f"{column} low"], mine[f"{column} high"], color=look.colour,
                            alpha=0.12, linewidth=0)  # fmt: skip
        ax.set_title(title, fontsize=10)
        style.count_axis(ax, int(table["bank_len"].max() or 0), "bank size (entries)")  # pyright: ignore[reportArgumentType]
        style.score_axis(ax, "share")
    axes[0].set_ylim(0.45, 1.02)
    axes[0].set_ylabel("AUC")
    style.legend(figure, axes)
    caption = (
        "From the score of the nearest stored edit alone, also where the router refused it: how often a question in "
        "scope (reliability, generality) scores above one out of it (locality, must not), and the largest recall "
        "that a single threshold reaches while 5 or 1 % of those out of scope fire. What no threshold reaches is the "
        "keys' doing. Reaching any edit counts, not only the right one. Editors with limits of their own for "
        "questions with and without a picture are judged by one limit; of one that filters and then weighs, only the "
        "filter counts. Bands: 95 % of a bootstrap over edits."
    )
    n = f"n = {int(table['n_in'].sum()):,} questions in scope, {int(table['n_out'].sum()):,} out of it"
    return Drawn(name, heading, caption, figure, table, n)


def router_frontier(facts: Facts) -> Drawn:
    """Draw, per editor, histograms of scores in and out of scope, and recall against false fires, by bank size."""
    name, heading = "router_frontier", "Routers' margins and what a threshold buys"
    rows = _scores(facts)
    both = rows.group_by("editor", "step").agg(
        pl.col("inside").any().alias("in"), (~pl.col("inside")).any().alias("out")
    )
    both = both.filter(pl.col("in") & pl.col("out")).sort("step")
    editors = [e for e in facts.editors if e in set(both["editor"])]
    if not editors:
        return not_asked(name, heading, _ABSENT, pl.DataFrame())
    figure, axes = style.grid(2 * len(editors), columns=4)
    tables = []
    for i, editor in enumerate(editors):
        steps = both.filter(pl.col("editor") == editor)["step"].to_list()
        chosen = sorted({steps[0], steps[len(steps) // 2], steps[-1]})
        for step, shade in zip(chosen, _SHADES[-len(chosen) :], strict=True):
            mine = rows.filter((pl.col("editor") == editor) & (pl.col("step") == step))
            best, inside = mine["best"].to_numpy(), mine["inside"].to_numpy()
            if step == chosen[-1]:
                tables.append(_histogram(axes[2 * i], best, inside, editor, step))
            curve = roc(best, inside)
            axes[2 * i + 1].plot(*curve, color=shade, linewidth=1.3, label=f"{step:,} edits")
            fired = mine["fired"].to_numpy()
            axes[2 * i + 1].plot(fired[~inside].mean(), fired[inside].mean(), "o", color=shade, markersize=5)
            at = np.unique(np.searchsorted(curve[0], np.linspace(0, curve[0][-1], 101), side="right") - 1)
            tables.append(pl.DataFrame({"editor": editor, "step": step, "false fires": curve[0][at],
                                        "recall": curve[1][at]}))  # fmt: skip
        style.of_editor(axes[2 * i], editor, f"{editor}: scores at {chosen[-1]:,} edits")
        style.of_editor(axes[2 * i + 1], editor, f"{editor}: frontier")
        axes[2 * i + 1].set_xlim(-0.03, 1.03)
        axes[2 * i + 1].set_xlabel("false fires (out of scope)")
        axes[2 * i + 1].legend(frameon=False, fontsize=7, loc="lower right")
        style.score_axis(axes[2 * i + 1], "recall (in scope)")
    style.legend(figure, axes[::2])
    caption = (
        "Left of each pair: scores of the nearest stored edit, as densities. Right: recall against false fires of "
        "every threshold, at the first, a middle and the last panel; a dot is the router as it is set, which lies "
        "off its curve where it has limits of several kinds."
    )
    return Drawn(name, heading, caption, figure, pl.concat(tables, how="diagonal"), f"n = {len(rows):,} scores")


def _scores(facts: Facts) -> pl.DataFrame:
    return facts.once("router scores", lambda: scores_at_panels(panels_of(facts)))


def _edges(best: np.ndarray) -> np.ndarray:
    low, high = np.quantile(best, [0.002, 0.998])
    return np.linspace(float(low), float(high), 41)


def _histogram(ax: Axes, best: np.ndarray, inside: np.ndarray, editor: str, step: int) -> pl.DataFrame:
    """Draw densities of finite scores in and out of scope, and return them as a table."""
    finite = np.isfinite(best)
    edges = _edges(best[finite]) if finite.any() else np.linspace(0, 1, 41)
    edges = edges if edges[-1] > edges[0] else np.linspace(edges[0] - 0.5, edges[0] + 0.5, 41)
    out = {"editor": editor, "step": step, "from": edges[:-1], "to": edges[1:]}
    for side, title, colour in ((inside, "in scope", COLOURS[3]), (~inside, "out of scope", COLOURS[0])):
        counts, _ = np.histogram(np.clip(best[finite & side], edges[0], edges[-1]), edges)
        density = counts / max(1, side.sum()) / (edges[1] - edges[0])
        ax.stairs(density, edges, color=colour, fill=True, alpha=0.35, label=title)
        out[title] = density
    ax.set_xlabel("score of the nearest edit")
    ax.set_ylabel("density")
    return pl.DataFrame(out)
