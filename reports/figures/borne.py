"""The capacity card: how far each editor gets, and where each of its limits breaks. Knows capacities and style."""

from __future__ import annotations

import polars as pl

from reports.analyses.capacity import BOUNDS, UNCLEAR, borne
from reports.figures import style
from reports.figures.looks import COLOURS, MARKERS
from reports.figures.style import Drawn, not_asked

_START = 0.7  # where 0 edits are drawn on a logarithmic axis


def capacity_card(table: pl.DataFrame, editors: list[str]) -> Drawn:
    """Draw a bar an editor up to its first broken limit, and a mark where each limit breaks."""
    name, heading = "capacity", "How far each editor gets"
    shown = [e for e in editors if e in set(table["editor"])]
    if not shown:
        return not_asked(name, heading, "panel of ten edits or more", table)
    figure, (ax,) = style.grid(1, width=4.8, height=1.3 + 0.36 * len(shown))
    last = int(table["last"].max() or 1)  # pyright: ignore[reportArgumentType]
    for measure, colour, marker in zip(BOUNDS, COLOURS, MARKERS, strict=False):
        if measure in set(table["measure"]):
            ax.plot([], [], marker, color=colour, markersize=6, label=f"{measure} (least {BOUNDS[measure].least:g})")
    for place, editor in enumerate(reversed(shown)):
        step, before, _ = borne(table, editor)
        own = table.filter(pl.col("editor") == editor)
        with style.marks_of(editor, ax):
            open_end = step is None and UNCLEAR in set(own["state"])
            ax.plot([_START, max(before, _START)], [place, place], color="#bbbbbb", linewidth=9,
                    solid_capstyle="butt", alpha=0.45 if open_end else 1.0)  # fmt: skip
            if step is None:
                ax.plot(before, place, ">", color="#555555", markersize=8)
            for at, measure in enumerate(BOUNDS):
                broken = own.filter((pl.col("measure") == measure) & pl.col("step").is_not_null())
                if broken.height:
                    up = place + 0.11 * (at - (len(BOUNDS) - 1) / 2)
                    ax.plot(broken["step"], [up], MARKERS[at], color=COLOURS[at], markersize=6)
    ax.set_yticks(range(len(shown)), list(reversed(shown)))
    ax.set_ylim(-0.6, len(shown) - 0.4)
    ax.set_xscale("log")
    ax.set_xlim(_START, last * 1.5)
    style.plain_ticks(ax.xaxis)
    ax.set_xlabel("edits so far (step)")
    style.legend(figure, [ax])
    caption = (
        "Bar: the last panel before the first limit breaks; an arrow: none did, the stream ended first (paler: "
        "chance could have hidden one). Marks: the first of two panels in a row, or the last, at which the whole "
        "95 % interval lies below the limit. Freely generated answers, panels of ten edits and more."
    )
    return Drawn(name, heading, caption, figure, table, f"n = {len(shown)} editors")
