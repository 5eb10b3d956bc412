"""The unlearning figure: agreement with the frozen model on edits taken back, and retention of those that stay.

Knows fact tables, the numbers and style; reads and writes no files.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from reports.analyses.unlearning import unlearnt
from reports.figures import style
from reports.figures.looks import palette
from reports.figures.style import Drawn, not_asked
from reports.table import Facts

_TITLES = {
    "agreement": "edits taken back: agreement with base",
    "retention": "edits that stay: retention",
    "generality": "edits that stay: generality",
    "locality": "edits that stay: locality",
}


def unlearning(facts: Facts) -> Drawn:
    """Draw, against the share of edits taken back, what is left of them and what stays of the others."""
    name, heading = "unlearning", "Unlearning"
    if facts.withdrawals.filter(pl.col("value") == 1).is_empty():
        return not_asked(name, heading, "edit that was taken back (withdrawals)", pl.DataFrame())
    table = unlearnt(facts.probed, facts.gauged, facts.edited, facts.withdrawals)
    shown = [m for m in _TITLES if m in set(table["measure"])]
    if not shown:
        return not_asked(name, heading, "answer about an edit that was taken back", pl.DataFrame())
    curves = list(dict.fromkeys(table["curve"]))
    looks = palette(curves)
    figure, axes = style.grid(len(shown), width=3.6, height=3.1)
    for ax, measure in zip(axes, shown, strict=True):
        for curve in curves:
            mine = table.filter((pl.col("curve") == curve) & (pl.col("measure") == measure)).sort("share")
            if mine.is_empty():
                continue
            mean = mine["mean"].to_numpy()
            low, high = (mine[end].cast(pl.Float64).fill_null(np.nan).to_numpy() for end in ("low", "high"))
            reach = np.maximum(np.nan_to_num(np.stack([mean - low, high - mean])), 0)
            with style.marks_of(curve, ax):
                ax.errorbar(mine["share"], mean, reach, elinewidth=0.8, linewidth=1.3,
                            **looks[curve].line(), label=style.named(curve))  # fmt: skip
        ax.set_title(_TITLES[measure], fontsize=10)
        ax.set_xlim(-0.03, 1.03)
        ax.set_xlabel("share of edits taken back")
        style.score_axis(ax, "share of probes")
    style.legend(figure, axes)
    caption = (
        "At the last panel, freely generated answers. Left: everything asked about an edit that was taken back is "
        "answered as the frozen model answers it; an editor that never learnt agrees too, so that it is read beside "
        "retention. Right of it: edits that stand. Bars: 95 % of a bootstrap over edits. Lines join runs that differ "
        "in nothing but their withdrawals; what an editor could not take back counts as standing."
    )
    n = f"n = {int(table['n'].sum()):,} answers, {int(table.unique('editor')['gone'].sum()):,} edits taken back"
    return Drawn(name, heading, caption, figure, table, n)
