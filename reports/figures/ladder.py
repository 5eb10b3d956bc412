"""The figure of a ladder of models: one column an editor, one row an axis, one line a model.

Knows tables of points and style; reads and writes no files.
"""

from __future__ import annotations

from textwrap import fill

import polars as pl
from matplotlib.axes import Axes

from reports.analyses.ladder.points import BUDGET_AXES, BY_EDITS, BY_WEIGHTS, known_gain
from reports.figures import style
from reports.figures.looks import Look, in_order
from reports.figures.style import Drawn, not_asked
from reports.statistics.seeds import ENOUGH, of_seeds

ROWS = (BY_EDITS, BY_WEIGHTS)
_HEIGHT = {"reliability": "gain in reliability", "generality": "gain in generality", "locality": "locality"}


def ladder_curves(points: pl.DataFrame, measure: str) -> Drawn:
    """Draw a measure of every editor on every model against edits (above) and edits per editable weights (below)."""
    name, heading = f"ladder_{measure}", f"Models of several sizes: {measure}"
    mine = known_gain(points.filter(pl.col("measure") == measure))
    if mine.is_empty():
        return not_asked(name, heading, f"panel that asked about {measure}", mine)
    table = curves_over_seeds(mine)
    editors = list(dict.fromkeys(table["editor"]))
    models = list(dict.fromkeys(table.sort("editable_weights")["model"]))
    looks = in_order(models)
    figure, axes = style.grid(len(editors) * len(ROWS), columns=len(editors), width=2.3, height=2.5)
    for place, ax in enumerate(axes):
        axis, editor = ROWS[place // len(editors)], editors[place % len(editors)]
        for model in models:
            own = (pl.col("editor") == editor) & (pl.col("model") == model)
            _line(ax, table.filter(own), mine.filter(own), axis, looks[model], model)
        if place < len(editors):
            ax.set_title(fill(editor, 20), fontsize=9)
        style.log_axis(ax.xaxis)
        ax.tick_params(labelsize=8)
        ax.set_xlabel("edits so far" if axis == BY_EDITS else "edits per million\neditable weights")
        style.score_axis(ax, _HEIGHT[measure] if place % len(editors) == 0 else "")
    style.legend(figure, axes)
    floored = mine["floor"].null_count() == 0 and measure != "locality"
    seeds = mine["seed"].n_unique()
    spread = "Bands: Student's 95 % over seeds." if seeds >= ENOUGH else "Thin lines are single seeds." * (seeds > 1)
    of = "0 is the unedited model, 1 all right" if floored else "as measured, beside no floor"
    what = "agreement with the unedited model far from edits" if measure == "locality" else of
    caption = (
        "Each column is one editor, each line one model. Above against edits, below against edits per "
        "million editable weights (the numbers in the matrices of the decoder's layers). "
        f"Height: {what}. A hollow point is of a sample of past edits. {spread}"
    )
    n = f"n = {len(editors)} editors, {len(models)} models, {seeds} seed{'s' if seeds > 1 else ''}"
    return Drawn(name, heading, caption.strip(), figure, table, n)


def curves_over_seeds(points: pl.DataFrame) -> pl.DataFrame:
    """Return the mean gain over seeds at every panel, with Student's interval from five seeds on (else null)."""
    keys = ("editor", "measure", "model", "editable_weights", BY_EDITS)
    rows = []
    for key, part in points.group_by(keys, maintain_order=True):
        told = of_seeds(part["gain"].to_list(), len(part))
        rows.append({
            **dict(zip(keys, key, strict=True)), **{a: part[a].mean() for a in BUDGET_AXES if a != BY_EDITS},
            "mean": told["mean"], "low": told.get("low"), "high": told.get("high"), "seeds": len(part),
            "sampled": bool(part["sampled"].any()),
        })  # fmt: skip
    return pl.DataFrame(rows, schema_overrides={"low": pl.Float64, "high": pl.Float64})


def _line(ax: Axes, table: pl.DataFrame, seeds: pl.DataFrame, axis: str, look: Look, model: str) -> None:
    if table.is_empty():
        return
    line = look.line()
    if seeds["seed"].n_unique() > 1:
        for _, own in seeds.group_by("seed"):
            ax.plot(own.sort(BY_EDITS)[axis], own.sort(BY_EDITS)["gain"], color=look.colour, linewidth=0.5, alpha=0.5)
    ax.plot(table[axis], table["mean"], linewidth=1.4, **line, label=style.named(model))
    known = table.filter(pl.col("low").is_not_null())
    if known.height:
        ax.fill_between(known[axis], known["low"], known["high"], color=look.colour, alpha=0.15, linewidth=0)
    some = table.filter("sampled")
    ax.plot(some[axis], some["mean"], linestyle="", marker=look.marker, markersize=3.5, color=look.colour,
            markerfacecolor="white")  # fmt: skip
