"""The figures of routing alone: recall and false fires by kind of question, and thresholds that are kept, over edits.

Knows rows of routes, their numbers and style; reads and writes no files.
"""

from __future__ import annotations

import polars as pl

from reports.analyses.routes import RECALLS, SET_FROM, by_kind, held_thresholds
from reports.figures import style
from reports.figures.looks import palette
from reports.figures.style import Drawn

_DASHES = dict(zip(RECALLS, (":", "--", "-"), strict=True))


def routes_by_kind(rows: pl.DataFrame) -> Drawn:
    """Draw, for each kind of question, the share that reaches its edit, or outside that reaches any, over edits."""
    table = by_kind(rows)
    looks = palette(list(dict.fromkeys(rows["editor"])))
    kinds = table.select("outside", "kind").unique().sort("outside", "kind").rows()
    figure, axes = style.grid(len(kinds), columns=5, width=2.9, height=2.5)
    for ax, (outside, kind) in zip(axes, kinds, strict=True):
        for editor, look in style.each(looks, ax):
            mine = table.filter((pl.col("editor") == editor) & (pl.col("kind") == kind)).sort("step")
            if mine.is_empty():
                continue
            ax.plot(mine["step"], mine["mean"], **look.line(), linewidth=1.2, label=style.named(editor))
            known = mine.drop_nulls("low")
            ax.fill_between(known["step"], known["low"], known["high"], color=look.colour, alpha=0.12, linewidth=0)
        style.title(ax, kind)
        style.edits_axis(ax, int(table["step"].max() or 0))  # pyright: ignore[reportArgumentType]
        style.score_axis(ax, "fires" if outside else "finds its edit")
    style.legend(figure, axes)
    caption = (
        "Routes alone, nothing is answered. In scope: the share that reaches its own edit; out of scope: the "
        "share that reaches any edit. Bands: 95 % of a bootstrap over edits."
    )
    name, heading = "routes_by_kind", "Where questions go, by kind"
    return Drawn(name, heading, caption, figure, table, f"n = {len(rows):,} routes")


def routes_kept(rows: pl.DataFrame) -> Drawn:
    """Draw recall and false fires over edits of thresholds that keep .8, .9 and .99 at the first panel."""
    table = held_thresholds(rows)
    name, heading = "routes_kept", "Thresholds set once and kept"
    if table.is_empty():
        return style.not_asked(name, heading, f"panel with {SET_FROM} scored questions in scope", table)
    looks = palette(list(dict.fromkeys(rows["editor"])))
    alike = _alike(table)
    figure, axes = style.grid(2, width=4.4, height=3.2)
    for ax, measure in zip(axes, ("recall", "false fires"), strict=True):
        for (editor, recall), mine in table.group_by("editor", "set to", maintain_order=True):
            if str(editor) not in alike:
                continue
            look, others = looks[str(editor)], alike[str(editor)]
            label = style.named(f"{editor}{f' and {others} more' if others else ''}: {recall:g}")
            ax.plot(mine["step"], mine[measure], **look.line(_DASHES[recall]), linewidth=1.2, label=label)
        ax.set_title(
            {"recall": "recall (in scope)", "false fires": "false fires (out of scope)"}[measure], fontsize=10
        )
        style.edits_axis(ax, int(table["step"].max() or 0))  # pyright: ignore[reportArgumentType]
        style.score_axis(ax, "share of questions")
    style.legend(figure, axes)
    caption = (
        "One threshold for scores of the nearest edit, set so that .8, .9 and .99 of the questions in scope of the "
        f"first panel with {SET_FROM} of them reach it, and then kept: what a growing bank does to a limit that was "
        "right when it was small. Reaching any edit counts. Settings whose scores are the same are one line."
    )
    return Drawn(name, heading, caption, figure, table, f"n = {len(rows):,} routes")


def _alike(table: pl.DataFrame) -> dict[str, int]:
    """Return the first of the settings whose rows are equal, with the number of the others."""
    out: dict[str, int] = {}
    kept: dict[str, pl.DataFrame] = {}
    for (editor,), mine in table.group_by("editor", maintain_order=True):
        plain = mine.drop("editor")
        first = next((name for name, rows in kept.items() if rows.equals(plain)), None)
        if first is None:
            kept[str(editor)], out[str(editor)] = plain, 0
        else:
            out[first] += 1
    return out
