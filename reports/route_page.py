"""The report of routing alone: rows of questions and where they went in; lines of text, or a page with figures out.

Knows rows as a study returns them; routes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from reports.analyses.roc import router_scores, separation
from reports.analyses.routes import asked_kinds
from reports.figures.inline import editors_legend
from reports.figures.routes import routes_by_kind, routes_kept
from reports.parts import Section, Text
from reports.rendering import page_bytes
from reports.shown import shown_figure
from reports.written import put, report_folder

_ROWS: dict[str, Any] = {
    "editor": pl.String, "seed": pl.Int64, "step": pl.Int64, "probe_id": pl.String, "edit_id": pl.String,
    "age": pl.Int64, "axis": pl.String, "variant": pl.String, "scorer": pl.String, "routed_n": pl.Int64,
    "routed_home": pl.Boolean, "best_score": pl.Float64,
}  # fmt: skip


def route_rows(probed: Iterable[Mapping[str, Any]]) -> pl.DataFrame:
    """Return rows of routed questions as a table."""
    return pl.DataFrame(list(probed), schema=_ROWS)


def route_lines(rows: pl.DataFrame, panels: pl.DataFrame) -> list[str]:
    """Return the table as text: by setting and step recall, false fires, AUC and recall at 5 % of false fires."""
    counted = pl.col("axis").is_in(["reliability", "generality"]) | pl.col("outside")
    said = asked_kinds(rows).filter(counted).group_by("editor", "step", "outside").agg(pl.col("score").mean())
    scores = {(e, s, o): v for e, s, o, v in said.iter_rows()}
    told = separation(router_scores(rows, panels))
    auc = {(r["editor"], r["step"]): r for r in told.to_dicts()}
    out: list[tuple[str, ...]] = [
        ("setting", "edits", "finds its edit", "fires out of scope", "AUC", "recall at 5 % fires")
    ]
    for editor, step in rows.select("editor", "step").unique(maintain_order=True).rows():
        found = auc.get((editor, step), {})
        cells = (scores.get((editor, step, False)), scores.get((editor, step, True)), found.get("auc"),
                 found.get("recall at 0.05"))  # fmt: skip
        out.append((editor, f"{step:,}", *("-" if c is None else f"{c:.3f}" for c in cells)))
    widths = [max(len(row[i]) for row in out) for i in range(len(out[0]))]
    return ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in out]


def write_routes(rows: pl.DataFrame, panels: pl.DataFrame, out: Path) -> Path:
    """Write a page with its figures and the tables behind them below `out`, whole or not at all; return the page."""
    table = Text("table", "Table", "\n".join(route_lines(rows, panels)))
    legend = editors_legend(list(dict.fromkeys(rows["editor"])))
    with report_folder(out) as making:
        plots = tuple(shown_figure(draw(rows), making) for draw in (routes_by_kind, routes_kept))
        sections = [Section("found", "What was found", "", (table,)), Section("figures", "Figures", "", plots)]
        about = "Where questions go, by their kind; nothing is answered."
        known = {one.editor: one.mark for one in legend}
        page = page_bytes(
            "report.html.j2", title="Routing alone", about=about, sections=sections, legend=legend, known=known
        )
        put(making, "index.html", page)
    return out / "index.html"
