"""A report: run folders in; one self-contained page, its figures and a table behind every figure out.

Knows the order of the page. Reads facts through `reports.table` and writes only below the folder it is given, whole
or not at all (`reports.written`). Every text on the page goes through `html_text`.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from reports.figures import cost as figures_cost
from reports.figures import dose as figures_dose
from reports.figures import interference as figures_interference
from reports.figures import laws as figures_laws
from reports.figures import pareto as figures_pareto
from reports.figures import rollback as figures_rollback
from reports.figures import router as figures_router
from reports.figures import scores as figures
from reports.figures import survival as figures_survival
from reports.figures import traffic as figures_traffic
from reports.figures import unlearning as figures_unlearning
from reports.figures.style import Drawn, image_bytes
from reports.numbers.evidence import COST, QUALITY, evidence, flat, to_json
from reports.numbers.expected import CheckedClaim, expected
from reports.numbers.summary import LAST, TAKEN_OVER, summary
from reports.table import Facts, RunInfo, finished_runs, load_runs
from reports.written import csv_bytes, html_text, put, report_folder

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
    figures_survival.survival,
    figures_laws.laws,
    figures_interference.interference,
    figures_dose.locality_dose,
    figures_router.router,
    figures_router.router_frontier,
    figures_pareto.cost_quality,
    figures_unlearning.unlearning,
)
TRAFFIC = (figures_traffic.waiting, figures_traffic.staleness, figures_traffic.lag)

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

    All of it or nothing: where it fails, `out` keeps what it had. Raises `ValueError` naming the folder when a run
    has no committed panel, `LogError` naming the file when it cannot be written.
    """
    facts, runs = load_runs(folders)
    whole, whole_runs = finished_runs(facts, runs)
    with report_folder(out) as making:
        # Tables first, then a figure after another: each is let go when it is written.
        numbers, proof = summary(facts), evidence(whole, whole_runs)
        put(making, "tables/summary.csv", csv_bytes(numbers))
        put(making, "tables/evidence.csv", csv_bytes(flat(proof)))
        put(making, "tables/evidence.json", to_json(proof, whole_runs).encode())
        parts = [_head(runs), _evidence(proof), _expected(expected(whole, whole_runs)), _table(numbers)]
        parts += [
            figure(draw(facts), making, _sizes(facts, runs))
            for draw in (*DRAW, *(() if facts.served.is_empty() else TRAFFIC), *_taken_back(facts))
        ]
        put(making, "index.html", document("Degradation report", "".join(parts)).encode())
    return out / "index.html"


def _taken_back(facts: Facts) -> tuple[Any, ...]:
    return (figures_rollback.rollback,) if figures_rollback.happened(facts) else ()


def document(title: str, body: str) -> str:
    """Return a whole page of a title (text) and a body (HTML) that needs no other file."""
    return (
        f"<!doctype html><html lang='en'><meta charset='utf-8'><title>{html_text(title)}</title>"
        f"<meta name='viewport' content='width=device-width'><style>{STYLE}</style><body>{body}</body></html>"
    )


def figure(drawn: Drawn, making: Path, sizes: str = "") -> str:
    """Write a figure as PNG and SVG and its table into a report's folder, and return it as a piece of the page.

    Its caption ends with what its n is of, and with `sizes`.
    """
    put(making, f"tables/{drawn.name}.csv", csv_bytes(drawn.table))
    words = f"{drawn.caption} {'; '.join(x for x in (drawn.counted, sizes) if x)}".strip()
    links = f"<a href='tables/{drawn.name}.csv'>numbers</a>"
    image = ""
    if drawn.figure is not None:
        png = image_bytes(drawn.figure)
        put(making, f"figures/{drawn.name}.png", png)
        put(making, f"figures/{drawn.name}.svg", image_bytes(drawn.figure, "svg"))
        data = base64.b64encode(png).decode()
        image = f"<img alt='{html_text(drawn.title)}' src='data:image/png;base64,{data}'>"
        links += f" · <a href='figures/{drawn.name}.svg'>SVG</a>"
    return (
        f"<figure id='{drawn.name}'><h2>{html_text(drawn.title)}</h2>{image}"
        f"<figcaption>{html_text(words)} {links}</figcaption></figure>"
    )


def _head(runs: Sequence[RunInfo]) -> str:
    names = ("editor", "stream", "seed", "model", "clock", "finished", "run", "hardware")
    lines = "".join(
        _row((r.editor, r.stream, r.seed, r.model, r.clock, "yes" if r.done else "no", r.folder.name, r.hardware))
        for r in runs
    )
    return (
        "<h1>Degradation report</h1><p class='meta'>What happens to a multimodal model that is edited one fact after "
        "another while it is in use. x-axes count edits visible so far. Runs of one name are seeds of each other: "
        "equal in all but their seed. Means are taken within a seed, then over seeds.</p><div class='wide'><table>"
        f"{_row(names, 'th')}{lines}</table></div>"
    )


def _row(cells: Sequence[object], tag: str = "td") -> str:
    """Return a row of a table whose cells are texts or numbers."""
    return "<tr>" + "".join(f"<{tag}>{html_text(cell)}</{tag}>" for cell in cells) + "</tr>"


def _sizes(facts: Facts, runs: Sequence[RunInfo]) -> str:
    seeds = facts.gauged["seed"].n_unique()
    hardware = ", ".join(sorted({r.hardware for r in runs}))
    return f"{seeds} seed{'s' if seeds > 1 else ''}; {hardware}."


def _evidence(records: Sequence[dict[str, Any]]) -> str:
    names = [name for name in (*QUALITY, *COST) if name != "specificity"]  # its halves ask for the opposite
    head = _row(("editor", "edits", "collapsed", *names), "th")
    body = "".join(
        f"<tr><td>{html_text(r['editor'])}</td><td>{r['edits']:,}</td><td>{r['collapsed edits']}</td>"
        + "".join(f"<td>{_with_spread(r[n], quality=n in QUALITY)}</td>" for n in names)
        + "</tr>"
        for r in records
    )
    seeds = sorted({len(r["seeds"]) for r in records})
    return (
        "<h2>Evidence</h2><p class='meta'>The papers' five metrics, portability and both halves of specificity after "
        "the last edit, teacher forced (token accuracy, as published), and general, the accuracy of free answers to "
        "untouched questions: the mean over seeds, below it 95 % of Student's t from five seeds on, else the seeds' "
        "own numbers. Route latencies are those of the last panel; a fit's seconds are those of the fit that was "
        f"used, whenever it was made. Seeds: {', '.join(map(str, seeds))}. A dash: not asked, or too few samples. "
        "<a href='tables/evidence.csv'>numbers</a></p>"
        f"<div class='wide'><table>{head}{body}</table></div>"
    )


def _expected(found: Sequence[CheckedClaim]) -> str:
    if not found:
        return ""
    rows = "".join(_row((f.editor, f.expected, f.source, f.numbers, f.verdict)) for f in found)
    head = _row(("editor", "published behaviour", "source", "here", "verdict"), "th")
    return (
        "<h2>What the papers lead to expect</h2><p class='meta'>Kept and right at once are shares of edits answered "
        "exactly by free generation; everything else is teacher forced.</p>"
        f"<div class='wide'><table class='words'>{head}{rows}</table></div>"
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
    head = _row(("", "taken over", *numbers["editor"]), "th")
    body = []
    for column in shown[1:]:
        cells = [html_text(column), TAKEN_OVER.get(column, LAST)]
        for r in numbers.iter_rows(named=True):
            n = r.get(f"n {column.split(' p')[0] if '(ms)' in column else column}")
            cells.append(f"{_number(r[column])}{f' <small>n={n:,}</small>' if n is not None else ''}")
        body.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    return (
        "<h2>All numbers</h2><p class='meta'>n counts probes, and latency samples of encode and route. A dash: not "
        "asked, or too few samples. <a href='tables/summary.csv'>numbers</a></p>"
        f"<div class='wide'><table>{head}{''.join(body)}</table></div>"
    )


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
