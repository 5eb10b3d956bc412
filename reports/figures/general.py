"""The figure of general ability: untouched questions, and how far edited matrices are from what they were.

Knows metrics and style; reads and writes no files.
"""

from __future__ import annotations

import polars as pl
from matplotlib.axes import Axes

from reports.figures import style
from reports.figures.looks import Look, palette
from reports.figures.style import Drawn, not_asked, stacked
from reports.numbers.axes import MEASURES
from reports.numbers.metrics import panels_of
from reports.table import Facts

_SHOWN = {"general": "agreement with the frozen model", "general NLL": "NLL of true answers (nats a token)"}


def general(facts: Facts) -> Drawn:
    """Draw agreement and NLL on the general set, and the drift of edited weights, against edits."""
    rows = panels_of(facts)
    parts = {name: rows.filter(MEASURES[name].rows()) for name in _SHOWN}
    parts = {name: part for name, part in parts.items() if not part.is_empty()}
    drift = facts.gauged.filter(pl.col("weight_drift").is_not_null()).with_columns(score=pl.col("weight_drift"))
    name, heading = "general", "General ability"
    if not parts and drift.is_empty():
        return not_asked(name, heading, "general question and no drift of weights", pl.DataFrame())
    looks = palette(facts.editors, facts.origins)
    figure, axes = style.grid(len(parts) + (not drift.is_empty()), columns=3, width=4.2, height=3.2)
    tables = [
        _drawn(ax, part, looks, _SHOWN[kind], kind) for (kind, part), ax in zip(parts.items(), axes, strict=False)
    ]
    if "general" in parts:
        style.score_axis(axes[0], _SHOWN["general"])
    if not drift.is_empty():
        words = "drift of edited weights (share of their norm)"
        weighed = drift.group_by("editor", "seed", "step").agg(pl.col("score").mean())
        tables.append(_drawn(axes[-1], weighed, looks, words, "weight drift"))
    for ax in axes:
        style.edits_axis(ax, int(facts.gauged["step"].max() or 0))  # pyright: ignore[reportArgumentType]
    style.legend(figure, axes)
    caption = (
        "Questions that no edit is about, the same for every stream: whether the freely generated answer is still "
        "the frozen model's, and how surprised the model is by the true one. Drift: the Frobenius norm of the change "
        "of the matrices that an editor changes, as a share of theirs; others change none. Means within seeds, then "
        "over seeds; thin: single seeds."
    )
    questions = rows.filter(pl.col("axis") == "general")["probe_id"].n_unique()
    return Drawn(name, heading, caption, figure, stacked(tables), f"n = {questions} questions a panel")


def _drawn(ax: Axes, rows: pl.DataFrame, looks: dict[str, Look], label: str, kind: str) -> pl.DataFrame:
    """Draw one panel, a line an editor and a thin one a seed, and return its numbers."""
    each = rows.group_by("editor", "seed", "step").agg(pl.col("score").mean(), pl.len().alias("n"))
    table = each.group_by("editor", "step").agg(
        pl.col("score").mean().alias("mean"), pl.col("n").sum(), pl.len().cast(pl.Int64).alias("seeds")
    )
    table = table.sort("editor", "step")
    for editor, look in style.each(looks, ax):
        part = table.filter(pl.col("editor") == editor)
        if part.is_empty():
            continue
        ax.plot(part["step"], part["mean"], **look.line(), linewidth=1.4, label=style.named(editor))
        if part["seeds"].max() != 1:
            for _, seed in sorted(each.filter(pl.col("editor") == editor).group_by("seed"), key=lambda pair: pair[0]):
                own = seed.sort("step")
                ax.plot(own["step"], own["score"], color=look.colour, linewidth=0.5, alpha=0.5)
    ax.set_ylabel(label)
    return table.with_columns(pl.lit(kind).alias("measure"))
