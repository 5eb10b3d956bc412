"""One function per figure of scores: frames in, a matplotlib figure and the numbers behind it out.

Knows metrics and style; reads and writes no files. Latency and memory are drawn in `cost.py`.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports.figures import style
from reports.figures.style import Drawn, not_asked, stacked
from reports.numbers import metrics
from reports.numbers.metrics import SHOWN_AXES, on_axis
from reports.table import Facts

BAND_FROM = 20  # probes; an interval over fewer covers the whole picture and says only that n is small
BANDS = (
    "Bands, from 20 probes on: Wilson's 95 % of one seed, the lowest to the highest of several seeds, Student's 95 % "
    "from five on."
)


def _lines(
    ax: Axes,
    table: pl.DataFrame,
    looks: dict[str, style.Look],
    dash: str = "",
    label: bool = True,
    x: str = "step",
) -> None:
    for editor, look in looks.items():
        part = table.filter(pl.col("editor") == editor).sort("step")
        if part.is_empty():
            continue
        at, y = part[x].to_numpy(), part["mean"].to_numpy()
        ax.plot(at, y, **look.line(dash), linewidth=1.4, label=style.named(editor) if label else None)
        many = part["n"].to_numpy() >= BAND_FROM
        low, high = part["low"].to_numpy(), part["high"].to_numpy()
        ax.fill_between(at, low, high, where=many, color=look.colour, alpha=0.12, linewidth=0)


def degradation(facts: Facts) -> Drawn:
    """Draw every axis of editing quality against the number of edits (generated answers)."""
    rows = metrics.panel_rows(facts.probed, facts.gauged).filter(pl.col("scorer") == "generated")
    looks = style.palette(facts.editors)
    shown = [a for a in SHOWN_AXES if not on_axis(rows, *a[1:]).is_empty()]
    name, heading = "degradation", "Degradation curves"
    if not shown:
        return not_asked(name, heading, "probe that was answered at a panel", pl.DataFrame())
    figure, axes = style.grid(len(shown), columns=4)
    tables = []
    for ax, (title, axis, modality, variants) in zip(axes, shown, strict=True):
        table = metrics.curve(on_axis(rows, axis, modality, variants), ("editor", "step"))
        _lines(ax, table, looks)
        style.title(ax, title)
        style.edits_axis(ax, int(rows["step"].max() or 0))  # pyright: ignore[reportArgumentType]
        style.score_axis(
            ax, "exact match" if axis != "locality" and variants != ("must-not",) else "agreement with base"
        )
        tables.append(table.with_columns(pl.lit(title).alias("measure")))
    style.legend(figure, axes)
    caption = (
        "Every past edit is probed again at every panel (weight editors: a log-age sample before the last). "
        f"Greedy free generation; locality: agreement with the frozen model. {BANDS}"
    )
    return _drawn(name, heading, caption, figure, stacked(tables), "answers to probes")


def scorer_gap(facts: Facts) -> Drawn:
    """Draw teacher-forced token accuracy against exact match of generated answers."""
    rows = metrics.panel_rows(facts.probed, facts.gauged)
    looks = style.palette(facts.editors)
    shown = [
        a
        for a in SHOWN_AXES
        if a[1] in ("reliability", "generality", "portability") and not on_axis(rows, *a[1:]).is_empty()
    ]
    name, heading = "scorers", "Teacher-forced against generated"
    if not shown:
        return not_asked(name, heading, "probe of reliability, generality or portability", pl.DataFrame())
    figure, axes = style.grid(len(shown))
    tables = []
    for ax, (title, axis, modality, variants) in zip(axes, shown, strict=True):
        for scorer, dash in (("generated", "-"), ("teacher_forced", ":")):
            part = on_axis(rows, axis, modality, variants).filter(pl.col("scorer") == scorer)
            table = metrics.curve(part, ("editor", "step"))
            _lines(ax, table, looks, dash, label=scorer == "generated")
            tables.append(table.with_columns(pl.lit(title).alias("measure"), pl.lit(scorer).alias("scorer")))
        ax.set_title(title, fontsize=10)
        style.edits_axis(ax, int(rows["step"].max() or 0))  # pyright: ignore[reportArgumentType]
        style.score_axis(ax, "score")
    style.legend(figure, axes)
    caption = (
        "Solid: exact match of freely generated answers. Dotted: teacher-forced token accuracy, the papers' scorer, "
        "which shows the model the answer's beginning and its length (arXiv 2502.11177)."
    )
    return _drawn(name, heading, caption, figure, stacked(tables), "scores of answers (each by two scorers)")


def locality_conventions(facts: Facts) -> Drawn:
    """Draw locality in both published conventions beside agreement of generated answers."""
    rows = metrics.panel_rows(facts.probed, facts.gauged).filter(metrics.HOLDS & (pl.col("axis") == "locality"))
    looks = style.palette(facts.editors)
    scorers = [
        s
        for s in ("generated", "locality_top1_answer", "locality_top1_all", "locality_top10_all")
        if s in set(rows["scorer"])
    ]
    name, heading = "locality_conventions", "Locality, by convention"
    if not scorers:
        return not_asked(name, heading, "locality probe", pl.DataFrame())
    figure, axes = style.grid(len(scorers))
    tables = []
    titles = {
        "generated": "generated answer unchanged",
        "locality_top1_answer": "top-1 on answer tokens",
        "locality_top1_all": "top-1 at all positions",
        "locality_top10_all": "ordered top-10 at all positions",
    }
    for ax, scorer in zip(axes, scorers, strict=False):
        table = metrics.curve(rows.filter(pl.col("scorer") == scorer), ("editor", "step"))
        _lines(ax, table, looks)
        ax.set_title(titles[scorer], fontsize=10)
        style.edits_axis(ax, int(rows["step"].max() or 0))  # pyright: ignore[reportArgumentType]
        style.score_axis(ax, "agreement with base")
        tables.append(table.with_columns(pl.lit(scorer).alias("scorer")))
    style.legend(figure, axes)
    caption = "The same locality probes (text, near, same image and far pooled) in the conventions that papers use."
    return _drawn(name, heading, caption, figure, stacked(tables), "scores of answers (each by every convention)")


def age_heatmap(facts: Facts) -> Drawn:
    """Draw retention by age of the edit (rows) and edits so far (columns), one map per editor."""
    rows = metrics.panel_rows(facts.probed, facts.gauged)
    found = {e: metrics.retention_by_age(metrics.retention_matrix(rows.filter(pl.col("editor") == e)))
             for e in facts.editors}  # fmt: skip
    found = {editor: table for editor, table in found.items() if not table.is_empty()}
    name, heading = "age_heatmap", "Retention by age"
    if not found:
        return not_asked(name, heading, "reliability probe of an edit that still holds", pl.DataFrame())
    figure, axes = style.grid(len(found), columns=5, height=3.0)
    for ax, (editor, table) in zip(axes, found.items(), strict=True):
        steps, ages = sorted(table["step"].unique()), sorted(table["age_low"].unique())
        image = np.full((len(ages), len(steps)), np.nan)
        for r in table.iter_rows(named=True):
            image[ages.index(r["age_low"]), steps.index(r["step"])] = r["mean"]
        drawn = ax.imshow(image, origin="lower", aspect="auto", vmin=0, vmax=1, cmap="viridis")
        ax.set_xticks(range(len(steps)), [str(s) for s in steps], rotation=90, fontsize=7)
        ax.set_yticks(range(len(ages)), [f"≥ {a}" for a in ages], fontsize=7)
        style.title(ax, editor)
        ax.set_xlabel("edits so far (step)")
        ax.set_ylabel("age of the edit (edits)")
        ax.grid(False)
        if ax is axes[-1]:
            figure.colorbar(drawn, ax=ax, label="exact match")
    caption = (
        "Mean reliability of past edits by age, at every panel. White: no edit of that age (or not sampled). A cell "
        "may be a single edit: the table has n of each."
    )
    table = stacked([t.with_columns(pl.lit(editor).alias("editor")) for editor, t in found.items()])
    return _drawn(name, heading, caption, figure, table, "answers to reliability probes")


def routing(facts: Facts) -> Drawn:
    """Draw routing recall and false fires against the number of entries in the bank."""
    rows = metrics.panel_rows(facts.probed, facts.gauged)
    sizes = facts.gauged.group_by("editor", "step").agg(pl.col("bank_len").mean())
    table = metrics.curve(metrics.routing_scores(rows), ("editor", "step", "measure")).join(
        sizes, on=["editor", "step"]
    )
    table = table.filter(pl.col("bank_len") > 0)
    routed = {e: look for e, look in style.palette(facts.editors).items() if e in _routed(facts)}
    name, heading = "routing", "Routing against bank size"
    if table.is_empty():
        return not_asked(name, heading, "editor with a bank, or no probe of one", table)
    figure, axes = style.grid(2, width=4.2, height=3.2)
    for ax, measure in zip(axes, ("recall", "false fires"), strict=True):
        _lines(ax, table.filter(pl.col("measure") == measure), routed, x="bank_len")
        ax.set_title(
            {"recall": "routing recall (in scope)", "false fires": "false fires (out of scope)"}[measure], fontsize=10
        )
        style.count_axis(ax, int(table["bank_len"].max() or 0), "bank size (entries)")  # pyright: ignore[reportArgumentType]
        style.score_axis(ax, "share of probes")
    style.legend(figure, axes)
    caption = (
        "Recall: the probe's own edit is among the experts that serve it (reliability and generality probes). False "
        "fire: a locality or must-not probe reached any expert. Editors without a bank are not shown."
    )
    return _drawn(name, heading, caption, figure, table, "routed probes")


def by_prompt_kind(facts: Facts) -> Drawn:
    """Draw reliability, generality and false fires split by how the edit's prompt names its subject."""
    rows = metrics.panel_rows(facts.probed, facts.gauged).filter(metrics.HOLDS & (pl.col("scorer") == "generated"))
    kinds = sorted(k for k in rows["prompt_kind"].unique() if k)
    looks = style.palette(facts.editors)
    measures = {
        "reliability": rows.filter(pl.col("axis") == "reliability"),
        "generality": rows.filter(pl.col("axis") == "generality"),
        "locality": rows.filter(pl.col("axis") == "locality"),
    }
    name, heading = "prompt_kinds", "Curves by prompt kind"
    if not kinds or all(part.is_empty() for part in measures.values()):
        return not_asked(
            name, heading, "probe of reliability, generality or locality with a prompt kind", pl.DataFrame()
        )
    figure, axes = style.grid(len(kinds) * 3, columns=3)
    tables = []
    for i, kind in enumerate(kinds):
        for j, (measure, part) in enumerate(measures.items()):
            ax = axes[3 * i + j]
            table = metrics.curve(part.filter(pl.col("prompt_kind") == kind), ("editor", "step"))
            _lines(ax, table, looks)
            style.title(ax, f"{measure}, {kind} prompts")
            style.edits_axis(ax, int(rows["step"].max() or 0))  # pyright: ignore[reportArgumentType]
            style.score_axis(ax, "exact match" if measure != "locality" else "agreement with base")
            tables.append(table.with_columns(pl.lit(kind).alias("prompt_kind"), pl.lit(measure).alias("measure")))
    style.legend(figure, axes)
    caption = (
        "Partial prompts name a true attribute of the subject, generic ones only point at the picture, text ones "
        "name the subject and show no picture. A router that reads text only cannot tell generic prompts apart."
    )
    return _drawn(name, heading, caption, figure, stacked(tables), "answers to probes")


def _drawn(name: str, title: str, caption: str, figure: Figure, table: pl.DataFrame, of: str) -> Drawn:
    """Return a figure whose table has a column n: what it is drawn of is their sum."""
    return Drawn(name, title, caption, figure, table, f"n = {int(table['n'].sum()):,} {of}")


def _routed(facts: Facts) -> set[str]:
    return set(facts.gauged.filter(pl.col("bank_len") > 0)["editor"])
