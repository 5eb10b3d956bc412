"""A report: run folders in; one self-contained page, its figures and a table behind every figure out.

Knows the order of the page: the answer first, then what it comes from. Reads facts through `reports.table` and writes
only below the folder it is given, whole or not at all (`reports.written`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from reports.analyses.answers import broke_first, costs, leader, not_known
from reports.analyses.capacity import capacity
from reports.analyses.lives import MOST_EDITORS, ChosenEdit, answers_before, typical_edits
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
from reports.figures.borne import capacity_card
from reports.figures.general import general
from reports.figures.inline import editors_legend
from reports.figures.published import published
from reports.figures.style import Drawn
from reports.numbers.compared import compared
from reports.numbers.evidence import SCORE, evidence, flat, to_json
from reports.numbers.expected import MADE_UP, expected
from reports.numbers.floors import REFERENCES, TOLD, gains, last_rows, unfollowed
from reports.numbers.published import ranked
from reports.numbers.summary import summary
from reports.page_tables import (
    capacity_part,
    claims_part,
    compared_part,
    configuration_part,
    evidence_part,
    gains_part,
    numbers_part,
    rankings_part,
    runs_part,
    settings_part,
)
from reports.paper import Paper, latex, write_axes
from reports.parts import Life, Section, Sentences, Stories
from reports.rendering import page_bytes
from reports.shown import ShownFigure, shown_figure
from reports.table import Facts, RunInfo, check_lived_through, finished_runs, load_runs
from reports.written import csv_bytes, put, report_folder

_TITLE = "Degradation report"
_ABOUT = (
    "What happens to a multimodal model that is edited one fact after another while it is in use. x-axes count edits "
    "visible so far. Runs of one name are seeds of each other: equal in all but their seed and, of a trained editor, "
    "that of its fit. Means are taken within a seed, then over seeds."
)
Teller = Callable[[Path, Sequence[str]], Sequence[Life]]
"""A run's folder and edits of it -> their lives, without titles and what was said before: the studies know runs."""


@dataclass(frozen=True)
class Plot:
    """A figure of the page: how it is drawn, one sentence on how to read it, and whether its numbers are measured.

    What is measured depends on the machine, which its caption then names.
    """

    draw: Callable[[Facts], Drawn]
    reading: str
    measured: bool = False


_CURVES = (
    Plot(figures.degradation, "Each line is an editor; a line that falls to the right forgets, or changes what it "
         "should leave alone."),
    Plot(figures.age_heatmap, "Read a column downwards: the older the edit, the higher up; dark is forgotten."),
    Plot(figures.scope_studies, "High is what should follow from an edit, or stay as it was, when it is asked "
         "another way."),
    Plot(figures.scorer_gap, "The gap between a dotted and a solid line is what the papers' scorer adds."),
    Plot(figures.by_prompt_kind, "Compare one editor over a column: the questions differ only in how they name the "
         "thing."),
    Plot(figures.locality_conventions, "Compare one editor over a row: the answers are the same, the conventions "
         "differ."),
    Plot(general, "Falling agreement, rising surprise or rising drift is damage to what no edit is about."),
    Plot(figures_laws.laws, "Points on the line: the curve goes on as its beginning foretold."),
)  # fmt: skip
_SURVIVAL = (
    Plot(figures_survival.survival, "The height at an age is the share of edits that were never answered wrongly up "
         "to it."),
    Plot(figures_interference.interference, "A line that rises to the right: an edit breaks others whose words are "
         "like its own."),
    Plot(figures_unlearning.unlearning, "Left high and the others high: what was taken back is gone, and the rest "
         "stays."),
)  # fmt: skip
_COSTS = (
    Plot(figures_pareto.cost_quality, "Up and to the left is better; what lies below the step line is beaten.", True),
    Plot(figures_cost.latency, "A flat line costs the same however many edits there are.", True),
    Plot(figures_cost.latency_split, "The length of a bar is a query's time; its colours say where it goes.", True),
    Plot(figures_cost.memory, "The slope is what each edit adds.", True),
    Plot(figures_cost.edit_time, "A rising line: later edits take longer than early ones.", True),
)
_ROUTING = (
    Plot(figures.routing, "High on the left and low on the right is a router that finds its edits and nothing else."),
    Plot(figures_router.router, "1 is a score that tells questions in scope from all others, .5 is chance."),
    Plot(figures_router.router_frontier, "The nearer a curve is to the upper left corner, the better a threshold can "
         "be."),
    Plot(figures_dose.locality_dose, "A line below the others: questions like an edit's are hurt more."),
)  # fmt: skip
_TRAFFIC = (
    Plot(figures_traffic.waiting, "The further right a curve reaches, the longer some people wait."),
    Plot(figures_traffic.staleness, "Rising stale lines: people are told what was true before an edit."),
    Plot(figures_traffic.lag, "A rising line: edits come faster than they are made visible."),
)
_ROLLBACK = Plot(figures_rollback.rollback, "1 on the left: what was taken back is gone.", True)
DRAW = tuple(plot.draw for plot in (*_CURVES, *_SURVIVAL, *_COSTS, *_ROUTING))
"""Every figure that is drawn of facts alone, in the order of the page."""


def write_report(folders: Sequence[Path], out: Path) -> Path:
    """Write the report of run folders, of all editors and without stories; see `report_of_facts`.

    Raises `ValueError` naming the folder when a run has no committed panel.
    """
    return report_of_facts(*load_runs(folders), out)


def report_of_facts(
    facts: Facts,
    runs: Sequence[RunInfo],
    out: Path,
    *,
    tell: Teller | None = None,
    edits: Sequence[str] = (),
    paper: Paper | None = None,
) -> Path:
    """Write `index.html`, `figures/*.png|svg|pdf` and `tables/*.csv` below `out` and return the page's path.

    `tell` tells the lives of typical edits, and of `edits` (ids or numbers) in every run; with `paper` each axis is
    written below `paper/`, and the evidence for LaTeX. All of it or nothing: where it fails, `out` keeps what it had.
    Raises `LogError` naming the file when it cannot be written.
    """
    check_lived_through(facts, runs)
    whole, whole_runs = finished_runs(facts, runs)
    with report_folder(out) as making:
        # A figure after another: each is let go when it is written.
        sections = _sections(facts, runs, whole, whole_runs, making, _stories(facts, runs, tell, edits), paper)
        put(making, "tables/runs.csv", csv_bytes(_runs_table(runs, out)))
        legend = editors_legend(facts.editors, facts.origins)
        page = page_bytes(
            "report.html.j2", title=_TITLE, about=_ABOUT, sections=sections, legend=legend,
            known={one.editor: one.mark for one in legend},
        )  # fmt: skip
        put(making, "index.html", page)
    return out / "index.html"


def _sections(
    facts: Facts,
    runs: Sequence[RunInfo],
    whole: Facts,
    whole_runs: Sequence[RunInfo],
    making: Path,
    stories: Sequence[Stories],
    paper: Paper | None,
) -> list[Section]:
    """Write figures and tables of a report's folder, and return its sections in the order of the page.

    `facts` are of all runs, `whole` those of finished ones alone: these are compared.
    """
    # Every number first: what the page begins with comes from what is at its end.
    last = last_rows(whole)
    proof, gained, numbers = evidence(whole, whole_runs, last), gains(whole, whole_runs, last), summary(facts)
    apart, rankings = compared(whole, whole_runs, last), ranked(proof, whole.names, _no_paper(whole_runs))
    bounds, references = capacity(whole), [e for e, name in facts.names.items() if name in REFERENCES]
    tables = {"summary": numbers, "evidence": flat(proof, gained), "gains": gained, "compared": apart}
    for name, table in tables.items():
        put(making, f"tables/{name}.csv", csv_bytes(table))
    if paper is not None:
        put(making, "tables/evidence.tex", (latex(evidence_part(proof, {})) + "\n").encode())
    put(making, "tables/evidence.json", to_json(proof, whole_runs).encode())

    def one(drawn: Drawn, reading: str, on: Callable[[Sequence[str]], str] | str = "") -> ShownFigure:
        part = shown_figure(drawn, making, reading, on)
        if paper is not None:
            write_axes(drawn, making, paper)
        return part

    def shown(plots: Sequence[Plot]) -> tuple[Any, ...]:
        return tuple(one(p.draw(facts), p.reading, _measured_on(runs) if p.measured else "") for p in plots)

    methods = [e for e in whole.editors if e not in references]
    answer = (
        Sentences("lead", "Who lasts longest", _lines(leader(proof, apart, references, m) for m in ("Rel", SCORE))),
        Sentences("broke", "What broke first", tuple(broke_first(bounds, methods))),
        Sentences("price", "What it costs", tuple(costs(proof, references))),
        Sentences("unknown", "What is not known", tuple(not_known(proof, apart, bounds, references))),
    )
    card = capacity_card(bounds, whole.editors)
    ends = (_ROLLBACK,) if figures_rollback.happened(facts) else ()
    traffic = () if facts.served.is_empty() else (Section("traffic", "Traffic", "", shown(_TRAFFIC)),)
    told = [label for label, name in facts.names.items() if name == TOLD]
    return [
        Section("answer", "The answer", "Computed from the facts; what too few answers tell is left out.",
                tuple(part for part in answer if part.lines)),
        Section("capacities", "Capacity",
                "How many edits each editor bears until one of the limits of stress tests breaks.",
                (one(card, "The longer a bar, the more edits before anything breaks."),
                 capacity_part(bounds, whole.editors))),
        Section("curves", "Curves", "", shown(_CURVES)),
        Section("survivors", "Survival", "", shown((*_SURVIVAL, *ends))),
        Section("costs", "Who pays", "", shown(_COSTS)),
        Section("routers", "Routing", "", shown(_ROUTING)),
        *traffic,
        Section("fairness", "Fairness", "Whether the comparison is a fair one: settings, floors, ceilings, papers.",
                (settings_part(runs, facts.editors), evidence_part(proof, unfollowed(gained)), gains_part(gained),
                 compared_part(apart, proof), claims_part(expected(whole, whole_runs)), rankings_part(rankings),
                 one(published(rankings, facts.editors, facts.origins), "On the dotted line a "
                              "paper's number is this report's."))),
        *([Section("stories", "Life stories", "", tuple(stories))] if stories else []),
        Section("methods", "Methods", "", (numbers_part(numbers, told), runs_part(runs), configuration_part(runs))),
    ]  # fmt: skip


def _lines(said: Any) -> tuple[str, ...]:
    return tuple(line for line in said if line)


def _no_paper(runs: Sequence[RunInfo]) -> str:
    """Return why no paper's numbers can be held against these runs; '' where they can."""
    made_up = [f"{what} {name}" for what, name in MADE_UP.items() if any(getattr(r, what) == name for r in runs)]
    return f"not tested: {made_up[0]} is made up" if made_up else ""


def _measured_on(runs: Sequence[RunInfo]) -> Callable[[Sequence[str]], str]:
    """Return what says on which hardware the runs of some editors were measured."""

    def said(editors: Sequence[str]) -> str:
        return "measured on " + "; ".join(sorted({r.hardware for r in runs if r.editor in editors}))

    return said


def _runs_table(runs: Sequence[RunInfo], out: Path) -> pl.DataFrame:
    """Return which runs a report is of, with their folders as seen from it: `--diff` finds them by this."""
    here = out.resolve()
    folders = [os.path.relpath(r.folder.resolve(), here) for r in runs]
    return pl.DataFrame({"editor": [r.editor for r in runs], "seed": [r.seed for r in runs], "folder": folders})


def _stories(facts: Facts, runs: Sequence[RunInfo], tell: Teller | None, wanted: Sequence[str]) -> list[Stories]:
    """Return the lives of typical edits of each editor, and of those that were asked for."""
    if tell is None:
        return []
    before, out = answers_before(facts), []
    methods = [e for e in facts.editors if facts.names.get(e, e) not in REFERENCES]
    for editor in methods[: None if wanted else MOST_EDITORS]:
        chosen = typical_edits(facts, editor) if methods.index(editor) < MOST_EDITORS else []
        seed = chosen[0].seed if chosen else min(r.seed for r in runs if r.editor == editor)
        chosen = [*(ChosenEdit(editor, seed, edit, "asked for") for edit in wanted), *chosen]
        run = next(r for r in runs if (r.editor, r.seed) == (editor, seed))
        lives = tell(run.folder, [one.edit_id for one in chosen]) if chosen else []
        named = [_named(life, one, before) for life, one in zip(lives, chosen, strict=bool(lives))]
        if named:
            about = "" if len(methods) <= MOST_EDITORS else f"Of {len(methods)} editors, the first {MOST_EDITORS}."
            out.append(Stories(f"lives-{len(out)}", editor, about, tuple(named)))
    return out


def _named(life: Life, one: ChosenEdit, before: Mapping[tuple[int, str], str]) -> Life:
    said = before.get((one.seed, life.before))
    unknown = "not known: no run of `none` on this stream is in the report"
    return replace(life, title=f"{one.why}: {life.title}", before=unknown if said is None else said)
