"""The figure of published numbers against those measured here: a panel a metric. Knows rankings; computes none."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from reports.figures import style
from reports.figures.looks import palette
from reports.figures.style import Drawn
from reports.numbers.published import FEWEST_RANKED, Ranked, ranked_table

_MARKS = ("o", "s", "^", "D", "v", "P", "X", "*")


def published(found: Sequence[Ranked], editors: Sequence[str], origins: Mapping[str, str] | None = None) -> Drawn:
    """Draw each editor's number here against what published tables have; `editors` are the labels of the report."""
    name, heading = "published", "Published against here"
    tested = [r for r in found if not r.untested]
    table = ranked_table(found)
    if not tested:
        why = "; ".join(dict.fromkeys(r.untested for r in found)) or "not tested: no published table is known"
        return Drawn(name, heading, f"{why[0].upper()}{why[1:]}.", None, table)
    looks, metrics = palette(editors, origins), list(dict.fromkeys(r.metric for r in tested))
    tables = list(dict.fromkeys((r.table.on, r.table.edits) for r in tested))
    figure, axes = style.grid(len(metrics), columns=3, width=3.9, height=3.4)
    for ax, metric in zip(axes, metrics, strict=True):
        own = [r for r in tested if r.metric == metric]
        for editor in dict.fromkeys(e for r in own for e in r.here):
            there = [r.published[editor] for r in own if editor in r.published]
            here = next(r.here[editor] for r in own if editor in r.here)
            line: dict[str, Any] = looks[editor].line() | {"marker": "", "linewidth": 1.0}
            with style.marks_of(editor, ax):
                ax.plot([min(there), max(there)], [here, here], **line, label=style.named(editor))
        for r in own:
            mark = _MARKS[tables.index((r.table.on, r.table.edits)) % len(_MARKS)]
            for editor, value in r.published.items():
                with style.marks_of(editor, ax):
                    ax.plot(value, r.here[editor], **looks[editor].line() | {"marker": mark, "markersize": 4.5})
        ax.plot([0, 1], [0, 1], color="#999999", linewidth=0.8, linestyle=":")
        known = [r for r in own if not math.isnan(r.rho)]
        said = "   ".join(f"{_MARKS_SAID[tables.index((r.table.on, r.table.edits))]} {r.rho:+.2f}" for r in known)
        ax.set_title(f"{metric}: rank correlation\n{said}", fontsize=9)
        ax.set_xlim(-0.03, 1.03)
        ax.set_xlabel("published (share)")
        style.score_axis(ax, "here (share)")
    for at, (on, edits) in enumerate(tables):
        label = f"{_MARKS_SAID[at]}: {on}, {edits:,} edits"
        axes[0].plot([], [], _MARKS[at % len(_MARKS)], color="#444444", markersize=4.5, label=label)
    style.legend(figure, axes)
    sources = "; ".join(dict.fromkeys(r.table.source for r in tested))
    low = [f"{r.metric}, {r.table.on} ({r.holm:.3f})" for r in tested if r.holm < 0.05]
    words = (
        f"After as many edits as each table is about, from {sources}; a line joins an editor's published numbers, "
        "and on the dotted line both agree. Above each panel: Spearman's correlation with each table. Whether it is "
        "more than chance is asked by exchanging editors at random (Holm's p over the metrics of a table, "
        f"{FEWEST_RANKED} editors at least). Below .05: {', '.join(low) or 'none'}."
    )
    return Drawn(name, heading, words, figure, table, f"n = {max(len(r.here) for r in tested)} editors")


_MARKS_SAID = ("○", "□", "△", "◇", "▽", "+", "×", "☆")
