"""A report: run folders in; one self-contained page, its figures and a table behind every figure out.

Knows the order of the page. Reads facts through `reports.table` and writes only below the folder it is given, whole
or not at all (`reports.written`). Every text on the page goes through `html_text`.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

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
from reports.figures.general import general
from reports.figures.published import published
from reports.figures.style import Drawn, image_bytes
from reports.numbers.compared import compared
from reports.numbers.evidence import evidence, flat, to_json
from reports.numbers.expected import MADE_UP, expected
from reports.numbers.floors import TOLD, gains, last_rows, unfollowed
from reports.numbers.published import ranked
from reports.numbers.summary import summary
from reports.page_tables import (
    claims_part,
    compared_part,
    evidence_part,
    gains_part,
    numbers_part,
    rankings_part,
    row,
)
from reports.table import Facts, RunInfo, check_lived_through, finished_runs, load_runs
from reports.written import csv_bytes, html_text, put, report_folder

DRAW = (
    figures.degradation,
    figures.scope_studies,
    figures.scorer_gap,
    figures.age_heatmap,
    figures.routing,
    figures_cost.latency,
    figures_cost.latency_split,
    figures_cost.memory,
    figures_cost.edit_time,
    figures.by_prompt_kind,
    figures.locality_conventions,
    general,
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
th:first-child,td:first-child,.words th,.words td{text-align:left} .grey,.grey small{color:#999;background:#f2f2f2}
.words td{white-space:normal} .wide{overflow-x:auto} td small{color:#777}
"""


def write_report(folders: Sequence[Path], out: Path) -> Path:
    """Write `index.html`, `figures/*.png|svg` and `tables/*.csv` below `out` and return the page's path.

    All of it or nothing: where it fails, `out` keeps what it had. Raises `ValueError` naming the folder when a run
    has no committed panel, `LogError` naming the file when it cannot be written.
    """
    facts, runs = load_runs(folders)
    check_lived_through(facts, runs)
    whole, whole_runs = finished_runs(facts, runs)
    with report_folder(out) as making:
        # Tables first, then a figure after another: each is let go when it is written.
        parts = [_head(runs), *_tables(facts, whole, whole_runs, making)]
        parts += [
            figure(draw(facts), making, _sizes(facts, runs))
            for draw in (*DRAW, *(() if facts.served.is_empty() else TRAFFIC), *_taken_back(facts))
        ]
        put(making, "index.html", document("Degradation report", "".join(parts)).encode())
    return out / "index.html"


def _tables(facts: Facts, whole: Facts, runs: Sequence[RunInfo], making: Path) -> list[str]:
    """Write the tables of a report's folder and return them as pieces of the page, in its order.

    `facts` are of all runs, `whole` and `runs` without those that are not finished: these are compared.
    """
    last = last_rows(whole)
    proof, gained, numbers = evidence(whole, runs, last), gains(whole, runs, last), summary(facts)
    apart, rankings = compared(whole, runs, last), ranked(proof, whole.names, _no_paper(runs))
    put(making, "tables/summary.csv", csv_bytes(numbers))
    put(making, "tables/evidence.csv", csv_bytes(flat(proof, gained)))
    put(making, "tables/evidence.json", to_json(proof, runs).encode())
    put(making, "tables/gains.csv", csv_bytes(gained))
    put(making, "tables/compared.csv", csv_bytes(apart))
    return [
        evidence_part(proof, unfollowed(gained)),
        gains_part(gained),
        compared_part(apart, proof),
        claims_part(expected(whole, runs)),
        rankings_part(rankings),
        figure(published(rankings, facts.editors), making),
        numbers_part(numbers, [label for label, name in facts.names.items() if name == TOLD]),
    ]


def _no_paper(runs: Sequence[RunInfo]) -> str:
    """Return why no paper's numbers can be held against these runs; '' where they can."""
    made_up = [f"{what} {name}" for what, name in MADE_UP.items() if any(getattr(r, what) == name for r in runs)]
    return f"not tested: {made_up[0]} is made up" if made_up else ""


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
    names = ("editor", "stream", "seed", "fit", "model", "clock", "finished", "run", "hardware")
    lines = "".join(
        row(
            (
                r.editor,
                r.stream,
                r.seed,
                "–" if r.fit is None else r.fit,
                r.model,
                r.clock,
                "yes" if r.done else "no",
                r.folder.name,
                r.hardware,
            )
        )
        for r in runs
    )
    return (
        "<h1>Degradation report</h1><p class='meta'>What happens to a multimodal model that is edited one fact after "
        "another while it is in use. x-axes count edits visible so far. Runs of one name are seeds of each other: "
        "equal in all but their seed and, of a trained editor, that of its fit. Means are taken within a seed, then "
        "over seeds.</p><div class='wide'><table>"
        f"{row(names, 'th')}{lines}</table></div>"
    )


def _sizes(facts: Facts, runs: Sequence[RunInfo]) -> str:
    seeds = facts.gauged["seed"].n_unique()
    hardware = ", ".join(sorted({r.hardware for r in runs}))
    return f"{seeds} seed{'s' if seeds > 1 else ''}; {hardware}."
