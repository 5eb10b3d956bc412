"""The figure of locality by dose: agreement with the frozen model by similarity to the nearest edit, and bank size.

Knows fact tables, the estimator and style; reads and writes no files.
"""

from __future__ import annotations

import polars as pl

from reports.analyses.dose import MOST_QUESTIONS, dosed, locality_by_dose
from reports.figures import style
from reports.figures.looks import SHADES
from reports.figures.style import Drawn, not_asked
from reports.numbers.metrics import panels_of
from reports.table import Facts

_SHADES = {i / 5: SHADES[f"dose-{i}"][0] for i in range(6)}
_FEW = 10  # answers; a point of fewer is left out of the picture


def locality_dose(facts: Facts) -> Drawn:
    """Draw agreement on questions out of scope against edits so far, a line for each likeness to an edit."""
    name, heading = "locality_dose", "Locality by similarity to the nearest edit"
    rows = dosed(panels_of(facts), facts.told, facts.outside)
    if rows.is_empty():
        return not_asked(name, heading, "question out of scope whose words are kept", pl.DataFrame())
    table = locality_by_dose(rows)
    editors = [e for e in facts.editors if e in set(table["editor"])]
    figure, axes = style.grid(len(editors))
    last = int(table["step"].max() or 0)  # pyright: ignore[reportArgumentType]
    for alike, shade in _SHADES.items():  # named once, in order
        axes[0].plot([], [], color=shade, label=f"from {alike:g}" if alike < 1 else "equal words")
    for ax, editor in zip(axes, editors, strict=True):
        mine = table.filter((pl.col("editor") == editor) & (pl.col("n") >= _FEW))
        for (same, alike), line in mine.sort("step").group_by("same_picture", "alike", maintain_order=True):
            look = {"color": _SHADES[alike], "marker": "o", "markersize": 2.5, "linewidth": 1.3}
            ax.plot(line["step"], line["mean"], ":" if same else "-", **look)
            bounds = line.drop_nulls("low")
            ax.fill_between(bounds["step"], bounds["low"], bounds["high"], color=_SHADES[alike], alpha=0.12,
                            linewidth=0)  # fmt: skip
        style.of_editor(ax, editor)
        style.edits_axis(ax, last)
        style.score_axis(ax, "agreement with base")
    style.legend(figure, axes)
    caption = (
        "Questions out of scope (locality, and the must-not half of specificity), by the largest cosine of letter "
        "trigrams with the question of any edit made by then; a line is a bin from that cosine on (equal words: 1). "
        "Dotted: questions about a picture that an edit shows too. Only words and names of pictures are compared, no "
        "model's states. Bands: 95 % of a bootstrap over edits; points of fewer than ten answers are left out. A "
        f"question changes its bin as edits come. At most {MOST_QUESTIONS:,} questions of a stream."
    )
    n = f"n = {len(rows):,} answers about {rows['edit_id'].n_unique():,} edits"
    return Drawn(name, heading, caption, figure, table, n)
