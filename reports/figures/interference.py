"""The figure of interference: which edits were right at which step, and what broke them.

Knows fact tables, the estimator and style; reads and writes no files.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap

from reports.analyses.interference import LONGEST_WINDOW, by_similarity, first_losses, transitions
from reports.figures import style
from reports.figures.looks import palette
from reports.figures.style import Drawn, not_asked
from reports.numbers.metrics import HOLDS
from reports.table import Facts

_MOST_MAPS = 6  # editors whose matrix is drawn: those that lost most
_FEWEST = 100  # transitions; with fewer nothing can be read off
_SEEN = ListedColormap(["#B2182B", "#D9E6F2"])


def interference(facts: Facts) -> Drawn:
    """Draw the matrix of right answers by edit and step, and the share that broke by similarity to the breaker."""
    found = transitions(facts.probed, facts.edited, facts.told)
    name, heading = "interference", "Which edit broke which"
    if len(found) < _FEWEST:
        what = (
            f"{_FEWEST} right edits that were asked again within {LONGEST_WINDOW} edits, with the words of edits kept"
        )
        return not_asked(name, heading, what, pl.DataFrame())
    rates, lost = by_similarity(found), first_losses(found)
    counts = dict(lost.group_by("editor").len().rows())
    maps = sorted((e for e in facts.editors if counts.get(e)), key=lambda e: -counts[e])[:_MOST_MAPS]
    figure, axes = style.grid(len(maps) + 1, width=3.8, height=3.1)
    for ax, editor in zip(axes, maps, strict=False):
        _matrix(ax, facts, editor)
    _shares(axes[-1], rates, facts)
    style.legend(figure, axes[-1:])
    one = lost.filter(pl.col("breakers").list.len() == 1)
    worst = one.group_by("editor", pl.col("breakers").list.first().alias("breaker")).len().sort("len", "breaker")
    most = (
        f" The worst breaker was alone in {worst['len'][-1]} of {len(one):,} cases that have one." if len(one) else ""
    )
    caption = (
        "Maps: rows are edits in their order, columns steps; red: its own question is answered wrongly. On the right "
        f"of them the share of right edits that are wrong when next asked, at most {LONGEST_WINDOW} edits later, by "
        "the largest cosine of letter trigrams between their question and those of the edits made in between "
        "(reports know words, no model's states); equal words are 1. Solid: with other pictures, dashed: with the "
        f"same picture. Bars: 95 % of a bootstrap over victims and steps at once; hollow: fewer than ten cases.{most}"
    )
    said = lost.with_columns(pl.col("breakers").list.join(" "))
    table = pl.concat([rates, said], how="diagonal")
    n = f"n = {len(found):,} questions asked again, {int(found['broke'].sum()):,} then wrong"
    return Drawn(name, heading, caption, figure, table, n)


def _matrix(ax: Axes, facts: Facts, editor: str) -> None:
    """Draw one run of an editor, the one of its first seed: right and wrong answers by edit and step."""
    own = HOLDS & (pl.col("axis") == "reliability") & (pl.col("scorer") == "generated") & (pl.col("editor") == editor)
    mine = facts.probed.filter(own)
    mine = mine.filter(pl.col("seed") == mine["seed"].min())
    cells = mine.group_by("edit_id", "step").agg((pl.col("score").min() >= 1).alias("right"), pl.col("age").first())
    order = cells.with_columns((pl.col("step") - pl.col("age")).alias("born")).sort("born", "edit_id")
    edits, steps = order["edit_id"].unique(maintain_order=True).to_list(), sorted(cells["step"].unique())
    row, column = {e: i for i, e in enumerate(edits)}, {s: i for i, s in enumerate(steps)}
    image = np.full((len(edits), len(steps)), np.nan)
    image[[row[e] for e in cells["edit_id"]], [column[s] for s in cells["step"]]] = cells["right"].cast(pl.Float64)
    ax.imshow(image, origin="lower", aspect="auto", vmin=0, vmax=1, cmap=_SEEN, interpolation="nearest")
    shown = range(0, len(steps), max(1, len(steps) // 5))
    ax.set_xticks(list(shown), [str(steps[i]) for i in shown], fontsize=8)
    ax.grid(False)
    ax.set_xlabel("edits so far (step)")
    ax.set_ylabel("edit, in order")
    style.of_editor(ax, editor)


def _shares(ax: Axes, rates: pl.DataFrame, facts: Facts) -> None:
    for editor, look in style.each(palette(facts.editors, facts.origins), ax):
        for same, dash in ((False, "-"), (True, ":")):
            mine = rates.filter((pl.col("editor") == editor) & (pl.col("same_picture") == same))
            if mine.is_empty():
                continue
            many, few = mine.filter(pl.col("low").is_not_null()), mine.filter(pl.col("low").is_null())
            x, y = many["alike"].to_numpy(), many["rate"].to_numpy()
            reach = np.abs(np.stack([y - many["low"].to_numpy(), many["high"].to_numpy() - y]))
            ax.errorbar(x, y, reach, elinewidth=0.7, **look.line(dash), label=None if same else style.named(editor))
            ax.plot(few["alike"], few["rate"], look.marker, color=look.colour, markerfacecolor="white", markersize=4)
    ax.set_xlim(-0.05, 1.05)
    ax.set_ylim(bottom=0)
    ax.set_xlabel("similarity to the breaker (bins from)")
    ax.set_ylabel("share that broke")
    ax.set_title("what breaks", fontsize=10)
