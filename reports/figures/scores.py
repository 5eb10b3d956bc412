"""One function per figure of scores: frames in, a matplotlib figure and the numbers behind it out.

Knows metrics and style; reads and writes no files. Latency and memory are drawn in `cost.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports.figures import style
from reports.figures.looks import Look, palette
from reports.figures.style import Drawn, not_asked, stacked
from reports.numbers import metrics
from reports.numbers.axes import DRAWN, DRAWN_SCOPE, EXACT, HARD, TOKEN_BY_TOKEN, Measure
from reports.statistics.curves import CURVE_COLUMNS, over_all_seeds, within_seeds
from reports.statistics.seeds import ENOUGH
from reports.table import Facts

FEW_EDITS = 10  # of fewer a curve has no band, which would cover all of the picture, and a cell of a map has a dot
_CURVE = ("editor", "step")


def _drawn_lines(
    ax: Axes,
    rows: pl.DataFrame,
    looks: dict[str, Look],
    dash: str = "",
    label: bool = True,
    places: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """Draw one curve per editor over steps, or over the column `x` of `places` (by editor and step); return it."""
    within, keys = within_seeds(rows, _CURVE), _CURVE
    if places is not None:
        within, keys = within.join(places, on=_CURVE), (*_CURVE, "x")
    table = over_all_seeds(within, keys)
    for editor, look in style.each(looks, ax):
        part = table.filter(pl.col("editor") == editor).sort("step")
        if part.is_empty():
            continue
        at, y = part[keys[-1]].to_numpy(), part["mean"].to_numpy()
        line: dict[str, Any] = look.line(dash)
        ax.plot(at, y, **line, linewidth=1.4, label=style.named(editor) if label else None)
        some = part["sampled"].to_numpy()
        if some.any():
            hollow: dict[str, Any] = {**line, "linestyle": "", "markerfacecolor": "white"}
            ax.plot(at[some], y[some], zorder=3, **hollow)
        many = part["edits"].to_numpy() >= FEW_EDITS
        low, high = part["low"].to_numpy(), part["high"].to_numpy()
        ax.fill_between(at, low, high, where=many, color=look.colour, alpha=0.12, linewidth=0)
        own = within.filter(pl.col("editor") == editor).sort("step")
        for _, seed in sorted(own.group_by("seed")) if part["seeds"].max() != 1 else ():
            ax.plot(seed[keys[-1]], seed["mean"], color=look.colour, linewidth=0.5, alpha=0.5)
    return table


def bands_said(table: pl.DataFrame) -> str:
    """Return what a caption says of the lines, bands and points of a table of curves, as far as it has them."""
    if table.is_empty():
        return ""
    seeds = (int(table["seeds"].min()), int(table["seeds"].max()))  # pyright: ignore[reportArgumentType]
    words = f"Bands, from {FEW_EDITS} edits on: 95 %, all questions of an edit taken together"
    if seeds[1] >= ENOUGH:
        words += ", Student's over seeds" + (" where there are five" if seeds[0] < ENOUGH else "")
    elif seeds[1] > 1:
        words += "; they are about these streams alone, as fewer than five do not tell how others differ"
    words += ". Thin: single seeds." if seeds[1] > 1 else "."
    hollow = " Hollow: a sample of the edits by age was asked about, each counting for as many as it stands for."
    return words + (hollow if table["sampled"].any() else "")


def degradation(facts: Facts) -> Drawn:
    """Draw every axis of editing quality against the number of edits (generated answers)."""
    said = (
        "Past edits are asked about again at every panel. Greedy free generation; locality: agreement with the "
        "frozen model."
    )
    return _drawn_axes(facts, DRAWN, "degradation", "Degradation curves", said)


def scope_studies(facts: Facts) -> Drawn:
    """Draw what edits do when they are asked another way than they were told (generated answers)."""
    said = (
        "An edit told by picture and question, by name, or by both, asked by the other; its words with another "
        "picture and other words with its picture, of which the frozen answer is right, as of a question with "
        "a not; and edits by name and by picture that contradict each other. Greedy free generation."
    )
    return _drawn_axes(facts, DRAWN_SCOPE, "scope_studies", "Where the scope of an edit ends", said)


def _drawn_axes(facts: Facts, wanted: Mapping[str, Measure], name: str, heading: str, said: str) -> Drawn:
    rows = metrics.panels_of(facts)
    looks = palette(facts.editors, facts.origins)
    shown = {title: one for title, one in wanted.items() if _some(rows, one.rows(EXACT))}
    if not shown:
        return not_asked(name, heading, "probe that was answered at a panel", pl.DataFrame())
    figure, axes = style.grid(len(shown), columns=4)
    tables = []
    for ax, (title, measure) in zip(axes, shown.items(), strict=True):
        table = _drawn_lines(ax, _cells(rows, measure.rows(EXACT)), looks)
        style.title(ax, title)
        style.edits_axis(ax, int(rows["step"].max() or 0))  # pyright: ignore[reportArgumentType]
        style.score_axis(ax, "agreement with base" if measure.scope == "out" else "exact match")
        tables.append(table.with_columns(pl.lit(title).alias("measure")))
    style.legend(figure, axes)
    return _drawn(name, heading, f"{said} {bands_said(stacked(tables))}", figure, stacked(tables))


def _cells(rows: pl.DataFrame, which: pl.Expr, *further: str) -> pl.DataFrame:
    """Return what a curve needs of some rows, and `further` columns: a copy of few columns instead of all."""
    return rows.lazy().filter(which).select(*CURVE_COLUMNS, *further).collect()


def _some(rows: pl.DataFrame, which: pl.Expr) -> bool:
    return bool(rows.select(which.any()).item())


def scorer_gap(facts: Facts) -> Drawn:
    """Draw teacher-forced token accuracy against exact match of generated answers."""
    rows = metrics.panels_of(facts)
    looks = palette(facts.editors, facts.origins)
    told = {title: one for title, one in DRAWN.items() if one.axis in ("reliability", "generality", "portability")}
    shown = {title: one for title, one in told.items() if _some(rows, one.rows(EXACT))}
    name, heading = "scorers", "Teacher-forced against generated"
    if not shown:
        return not_asked(name, heading, "probe of reliability, generality or portability", pl.DataFrame())
    figure, axes = style.grid(len(shown))
    tables = []
    for ax, (title, one) in zip(axes, shown.items(), strict=True):
        for scorer, dash in ((EXACT, "-"), (TOKEN_BY_TOKEN, ":")):
            table = _drawn_lines(ax, _cells(rows, one.rows(scorer)), looks, dash, label=scorer == EXACT)
            tables.append(table.with_columns(pl.lit(title).alias("measure"), pl.lit(scorer).alias("scorer")))
        ax.set_title(title, fontsize=10)
        style.edits_axis(ax, int(rows["step"].max() or 0))  # pyright: ignore[reportArgumentType]
        style.score_axis(ax, "score")
    style.legend(figure, axes)
    caption = (
        "Solid: exact match of freely generated answers. Dotted: teacher-forced token accuracy, the papers' scorer, "
        "which shows the model the answer's beginning and its length (arXiv 2502.11177). "
        f"{bands_said(stacked(tables))}"
    )
    return _drawn(name, heading, caption, figure, stacked(tables))


def locality_conventions(facts: Facts) -> Drawn:
    """Draw locality in both published conventions beside agreement of generated answers."""
    rows = _cells(metrics.panels_of(facts), metrics.HOLDS & (pl.col("axis") == "locality"), "variant", "scorer")
    looks = palette(facts.editors, facts.origins)
    scorers = [
        s
        for s in ("generated", "locality_top1_answer", "locality_top1_all", "locality_top10_all")
        if s in set(rows["scorer"])
    ]
    name, heading = "locality_conventions", "Locality, by convention"
    if not scorers:
        return not_asked(name, heading, "locality probe", pl.DataFrame())
    kinds = {kind: part for kind, part in _locality_kinds(rows).items() if not part.is_empty()}
    figure, axes = style.grid(len(kinds) * len(scorers), columns=len(scorers))
    tables = []
    titles = {
        "generated": "generated answer unchanged",
        "locality_top1_answer": "top-1 on answer tokens",
        "locality_top1_all": "top-1 at all positions",
        "locality_top10_all": "ordered top-10 at all positions",
    }
    for i, (kind, part) in enumerate(kinds.items()):
        for j, scorer in enumerate(scorers):
            ax = axes[i * len(scorers) + j]
            table = _drawn_lines(ax, part.filter(pl.col("scorer") == scorer), looks)
            style.title(ax, f"{kind}: {titles[scorer]}")
            style.edits_axis(ax, int(rows["step"].max() or 0))  # pyright: ignore[reportArgumentType]
            style.score_axis(ax, "agreement with base")
            tables.append(table.with_columns(pl.lit(kind).alias("kind"), pl.lit(scorer).alias("scorer")))
    style.legend(figure, axes)
    caption = (
        "The same locality probes in the conventions that papers use. Far: another subject's question, text and "
        f"image together, as in papers. Hard: a near subject, or the same picture. {bands_said(stacked(tables))}"
    )
    return _drawn(name, heading, caption, figure, stacked(tables))


def _locality_kinds(rows: pl.DataFrame) -> dict[str, pl.DataFrame]:
    hard = pl.col("variant").is_in(HARD)
    return {"far": rows.filter(~hard), "hard": rows.filter(hard)}


def age_heatmap(facts: Facts) -> Drawn:
    """Draw retention by age of the edit (rows) and edits so far (columns), one map per editor."""
    rows = metrics.asked_of(facts)
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
        few = table.filter(pl.col("edits") < FEW_EDITS)
        places = [steps.index(x) for x in few["step"]], [ages.index(y) for y in few["age_low"]]
        ax.plot(*places, ".", color="white", markeredgecolor="#444444", markeredgewidth=0.4, markersize=4)
        ax.set_xticks(range(len(steps)), [str(s) for s in steps], rotation=90, fontsize=7)
        ax.set_yticks(range(len(ages)), ["at once" if a == 0 else f"≥ {a}" for a in ages], fontsize=7)
        style.of_editor(ax, editor)
        ax.set_xlabel("edits so far (step)")
        ax.set_ylabel("age of the edit (edits)")
        ax.grid(False)
        if ax is axes[-1]:
            figure.colorbar(drawn, ax=ax, label="exact match")
    caption = (
        "Mean reliability of past edits by age, at every panel; at once: of the edits made since the panel before, "
        "as soon as each was visible. White: no edit of that age (or not sampled). "
        f"A dot: fewer than {FEW_EDITS} edits."
    )
    table = stacked([t.with_columns(pl.lit(editor).alias("editor")) for editor, t in found.items()])
    return _drawn(name, heading, caption, figure, table, "cell")


def routing(facts: Facts) -> Drawn:
    """Draw routing recall and false fires against the number of entries in the bank."""
    rows = metrics.panels_of(facts)
    sizes = facts.gauged.group_by(_CURVE).agg(pl.col("bank_len").mean().alias("x")).filter(pl.col("x") > 0)
    scores = metrics.routing_scores(rows).join(sizes, on=_CURVE, how="semi")
    routed = {e: look for e, look in palette(facts.editors, facts.origins).items() if e in _routed(facts)}
    name, heading = "routing", "Routing against bank size"
    if scores.is_empty():
        return not_asked(name, heading, "editor with a bank, or no probe of one", scores)
    figure, axes = style.grid(2, width=4.2, height=3.2)
    tables = []
    for ax, measure in zip(axes, ("recall", "false fires"), strict=True):
        table = _drawn_lines(ax, scores.filter(pl.col("measure") == measure), routed, places=sizes)
        ax.set_title(
            {"recall": "routing recall (in scope)", "false fires": "false fires (out of scope)"}[measure], fontsize=10
        )
        style.count_axis(ax, int(sizes["x"].max() or 0), "bank size (entries)")  # pyright: ignore[reportArgumentType]
        style.score_axis(ax, "share of probes")
        tables.append(table.rename({"x": "bank_len"}).with_columns(pl.lit(measure).alias("measure")))
    style.legend(figure, axes)
    caption = (
        "Recall: the probe's own edit is among the experts that serve it (reliability and generality probes). False "
        "fire: a locality or must-not probe reached any expert. Editors without a bank are not shown. "
        f"{bands_said(stacked(tables))}"
    )
    return _drawn(name, heading, caption, figure, stacked(tables))


def by_prompt_kind(facts: Facts) -> Drawn:
    """Draw reliability, generality and false fires split by how the edit's prompt names its subject."""
    generated = metrics.HOLDS & (pl.col("scorer") == "generated")
    rows = _cells(metrics.panels_of(facts), generated, "axis", "prompt_kind")
    kinds = sorted(k for k in rows["prompt_kind"].unique() if k)
    looks = palette(facts.editors, facts.origins)
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
            table = _drawn_lines(ax, part.filter(pl.col("prompt_kind") == kind), looks)
            style.title(ax, f"{measure}, {kind} prompts")
            style.edits_axis(ax, int(rows["step"].max() or 0))  # pyright: ignore[reportArgumentType]
            style.score_axis(ax, "exact match" if measure != "locality" else "agreement with base")
            tables.append(table.with_columns(pl.lit(kind).alias("prompt_kind"), pl.lit(measure).alias("measure")))
    style.legend(figure, axes)
    caption = (
        "Partial prompts name a true attribute of the subject, generic ones only point at the picture, text ones "
        "name the subject and show no picture. A router that reads text only cannot tell generic prompts apart. "
        f"Locality is of all its kinds together. {bands_said(stacked(tables))}"
    )
    return _drawn(name, heading, caption, figure, stacked(tables))


def _drawn(name: str, title: str, caption: str, figure: Figure, table: pl.DataFrame, of: str = "point") -> Drawn:
    """Return a figure with what each of its points is of: edits, which its table counts for each seed together."""
    least, most = (f"{int(end):,}" for end in (table["edits"].min(), table["edits"].max()))  # pyright: ignore[reportArgumentType]
    edits = (most if least == most else f"{least} to {most}") + (" edit" if most == "1" else " edits")
    return Drawn(name, title, caption, figure, table, f"each {of} is of {edits}, those of all seeds together")


def _routed(facts: Facts) -> set[str]:
    return set(facts.gauged.filter(pl.col("bank_len") > 0)["editor"])
