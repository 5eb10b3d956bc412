"""A report: run folders in; one self-contained page, its figures and a table behind every figure out.

Knows the order of the page. Reads facts through `reports.table` and writes only below the folder it is given.
"""

from __future__ import annotations

import base64
import html
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG

from reports.figures import cost as figures_cost
from reports.figures import rollback as figures_rollback
from reports.figures import scores as figures
from reports.figures import traffic as figures_traffic
from reports.figures.style import Drawn
from reports.numbers.evidence import COST, QUALITY, evidence, flat, to_json
from reports.numbers.expected import CheckedClaim, expected
from reports.numbers.summary import summary
from reports.table import Facts, RunInfo, finished_runs, load_runs

DRAW = (
    figures.degradation,
    figures.scorer_gap,
    figures.age_heatmap,
    figures.routing,
    figures_cost.latency,
    figures_cost.latency_split,
    figures_cost.memory,
    figures_cost.edit_time,
    figures.by_prompt_kind,
    figures.locality_conventions,
)
TRAFFIC = (figures_traffic.waiting, figures_traffic.staleness, figures_traffic.lag)

PNG_DPI = 130
STYLE = """
body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:76rem;padding:0 1rem;color:#1a1a1a}
h1{margin-bottom:.2rem} .meta{color:#555} figure{margin:2.2rem 0} figure img{max-width:100%;height:auto}
figcaption{color:#444;font-size:.92rem;max-width:60rem} table{border-collapse:collapse;font-size:.85rem}
th,td{padding:.25rem .6rem;text-align:right;border-bottom:1px solid #ddd;white-space:nowrap} th{white-space:normal}
th:first-child,td:first-child,.words th,.words td{text-align:left}
.words td{white-space:normal} .wide{overflow-x:auto} td small{color:#777}
"""


def write_report(folders: Sequence[Path], out: Path) -> Path:
    """Write `index.html`, `figures/*.png|svg` and `tables/*.csv` below `out` and return the page's path.

    Raises `ValueError` naming the folder when a run has no committed panel.
    """
    facts, runs = load_runs(folders)
    for name in ("figures", "tables"):
        (out / name).mkdir(parents=True, exist_ok=True)
    numbers = summary(facts)
    numbers.write_csv(out / "tables" / "summary.csv")
    whole, whole_runs = finished_runs(facts, runs)
    proof = evidence(whole, whole_runs)
    flat(proof).write_csv(out / "tables" / "evidence.csv")
    (out / "tables" / "evidence.json").write_text(to_json(proof, whole_runs), encoding="utf-8")
    parts = [
        _head(runs),
        _evidence(proof),
        _expected(expected(whole)),
        "<h2>All numbers at the last panel</h2>",
        _table(numbers),
    ]
    traffic = () if facts.served.is_empty() else TRAFFIC
    taken_back = (figures_rollback.rollback,) if figures_rollback.happened(facts) else ()
    for draw in (*DRAW, *traffic, *taken_back):
        if draw in (figures_cost.latency, figures_cost.latency_split) and facts.timed.is_empty():
            continue  # a run without latency samples still has curves
        drawn = draw(facts)
        drawn.table.write_csv(out / "tables" / f"{drawn.name}.csv")
        parts.append(figure(drawn, out / "figures", _sizes(facts, runs)))
    page = out / "index.html"
    page.write_text(
        f"<!doctype html><html lang='en'><meta charset='utf-8'><title>Degradation report</title>"
        f"<meta name='viewport' content='width=device-width'><style>{STYLE}</style>"
        f"<body>{''.join(parts)}</body></html>",
        encoding="utf-8",
    )
    return page


def figure(drawn: Drawn, folder: Path, sizes: str) -> str:
    """Save a figure as PNG and SVG into a folder and return it as a piece of a page; `sizes` ends its caption."""
    # The canvases' own printing draws once per format; `savefig` draws everything twice.
    buffer = io.BytesIO()
    drawn.figure.set_dpi(PNG_DPI)
    FigureCanvasAgg(drawn.figure).print_png(buffer)
    drawn.figure.set_layout_engine("none")  # the SVG keeps the places that the PNG was given
    FigureCanvasSVG(drawn.figure).print_svg(folder / f"{drawn.name}.svg", metadata={"Date": None})
    (folder / f"{drawn.name}.png").write_bytes(buffer.getvalue())
    data = base64.b64encode(buffer.getvalue()).decode()
    caption = html.escape(f"{drawn.caption} {sizes}")
    return (
        f"<figure id='{drawn.name}'><h2>{html.escape(drawn.title)}</h2>"
        f"<img alt='{html.escape(drawn.title)}' src='data:image/png;base64,{data}'>"
        f"<figcaption>{caption} <a href='tables/{drawn.name}.csv'>numbers</a> · "
        f"<a href='figures/{drawn.name}.svg'>SVG</a></figcaption></figure>"
    )


def _head(runs: Sequence[RunInfo]) -> str:
    lines = "".join(
        f"<tr><td>{html.escape(r.editor)}</td><td>{html.escape(r.stream)}</td><td>{r.seed}</td>"
        f"<td>{html.escape(r.model)}</td><td>{html.escape(r.clock)}</td><td>{html.escape(r.hardware)}</td>"
        f"<td>{'yes' if r.done else 'no'}</td><td>{html.escape(r.folder.name)}</td></tr>"
        for r in runs
    )
    return (
        "<h1>Degradation report</h1><p class='meta'>What happens to a multimodal model that is edited one fact after "
        "another while it is in use. x-axes count edits visible so far.</p><div class='wide'><table>"
        "<tr><th>editor</th><th>stream</th><th>seed</th><th>model</th><th>clock</th><th>hardware</th><th>finished</th><th>run</th></tr>"
        f"{lines}</table></div>"
    )


def _sizes(facts: Facts, runs: Sequence[RunInfo]) -> str:
    seeds = facts.gauged["seed"].n_unique()
    hardware = ", ".join(sorted({r.hardware for r in runs}))
    return f"n = {len(facts.probed):,} scored probes, {seeds} seed{'s' if seeds > 1 else ''}; {hardware}."


def _evidence(records: Sequence[dict[str, Any]]) -> str:
    names = (*QUALITY, *COST)
    head = "".join(f"<th>{html.escape(n)}</th>" for n in ("editor", "edits", "collapsed", *names))
    body = "".join(
        f"<tr><td>{html.escape(r['editor'])}</td><td>{r['edits']:,}</td><td>{r['collapsed edits']}</td>"
        + "".join(f"<td>{_with_spread(r[n], quality=n in QUALITY)}</td>" for n in names)
        + "</tr>"
        for r in records
    )
    seeds = sorted({len(r["seeds"]) for r in records})
    return (
        "<h2>Evidence</h2><p class='meta'>The papers' five metrics, portability and specificity after the last edit, "
        "teacher forced (token accuracy, as published): the mean over seeds, below it 95 % of Student's t from five "
        "seeds on, else the seeds' own numbers. Route latencies are those of the last panel; a fit's seconds are "
        f"those of the fit that was used, whenever it was made. Seeds: {', '.join(map(str, seeds))}. "
        "<a href='tables/evidence.csv'>numbers</a></p>"
        f"<div class='wide'><table><tr>{head}</tr>{body}</table></div>"
    )


def _expected(found: Sequence[CheckedClaim]) -> str:
    if not found:
        return ""
    rows = "".join(
        "<tr>"
        + "".join(f"<td>{html.escape(x)}</td>" for x in (f.editor, f.expected, f.source, f.numbers))
        + f"<td>{'agrees' if f.agrees else 'does not agree'}</td></tr>"
        for f in found
    )
    head = "".join(f"<th>{x}</th>" for x in ("editor", "published behaviour", "source", "here", ""))
    return (
        "<h2>What the papers lead to expect</h2><p class='meta'>Kept and right at once are shares of edits answered "
        "exactly by free generation; everything else is teacher forced.</p>"
        f"<div class='wide'><table class='words'><tr>{head}</tr>{rows}</table></div>"
    )


def _with_spread(found: dict[str, Any], *, quality: bool) -> str:
    def shown(value: float) -> str:
        return f"{value:.2f}" if quality and not math.isnan(value) else _number(value)

    spread = ""
    if "low" in found:
        spread = f"{shown(found['low'])}–{shown(found['high'])}"
    elif len(found.get("seeds", ())) > 1:
        spread = ", ".join(shown(v) for v in found["seeds"])
    return shown(found["mean"]) + (f"<br><small>{spread}</small>" if spread else "")


def _table(numbers: pl.DataFrame) -> str:
    shown = [c for c in numbers.columns if not c.startswith("n ")]
    head = "".join(f"<th>{html.escape(r['editor'])}</th>" for r in numbers.iter_rows(named=True))
    body = []
    for column in shown[1:]:
        cells = []
        for r in numbers.iter_rows(named=True):
            n = r.get(f"n {column.split(' p')[0] if '(ms)' in column else column}")
            cells.append(f"<td>{_number(r[column])}{f' <small>n={n:,}</small>' if n is not None else ''}</td>")
        body.append(f"<tr><td>{html.escape(column)}</td>{''.join(cells)}</tr>")
    return f"<div class='wide'><table><tr><th></th>{head}</tr>{''.join(body)}</table></div>"


def _number(value: float | int | None) -> str:
    """Write a number with three significant digits; infinity and nan in words.

    >>> _number(0.98765), _number(12345), _number(float("inf")), _number(float("nan"))
    ('0.988', '12,345', 'not reached', '–')
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, float) and math.isinf(value):
        return "not reached"
    if isinstance(value, int) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"
