"""The page that compares two reports, or two sets of runs: what changed from the first to the second.

Editors of one label are compared over the questions that both were asked after as many edits of equal streams; where
streams differ, means are set beside each other and nobody is called better.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from reports.chosen import renamed, together
from reports.figures.cost import latency, memory
from reports.figures.inline import editors_legend
from reports.figures.scores import degradation
from reports.numbers.compared import COMPARED, compared
from reports.numbers.evidence import evidence
from reports.numbers.floors import last_rows
from reports.page_tables import configuration_part, runs_part
from reports.parts import Section, Sentences, Table, TableCell, cell, share
from reports.rendering import page_bytes
from reports.shown import shown_figure
from reports.table import Facts, RunInfo, check_lived_through, finished_runs
from reports.written import csv_bytes, put, report_folder

_UNPAIRED = "not paired: other streams"


def write_diff(
    one: tuple[Facts, list[RunInfo]], other: tuple[Facts, list[RunInfo]], out: Path, names: tuple[str, str]
) -> Path:
    """Write the page of two sets of facts and runs, called by `names`, and return it; all of it or nothing."""
    own = [{e: f"{e} [{name}]" for e in facts.editors} for facts, name in ((one[0], names[0]), (other[0], names[1]))]
    shared = [label for label in one[0].editors if label in own[1]]
    facts, runs = together(renamed(*one, own[0]), renamed(*other, own[1]))
    # The second of a pair has the colour of the first, and a line of its own.
    facts = replace(facts, origins={**facts.origins, **{own[1][x]: f"{x} of the second" for x in other[0].editors}})
    check_lived_through(facts, runs)
    whole, whole_runs = finished_runs(facts, runs)
    last = last_rows(whole)
    table = changes(whole, whole_runs, last, [(own[1][label], own[0][label]) for label in shared])
    plots = [
        (degradation, ""),
        (latency, "measured on " + "; ".join(sorted({r.hardware for r in runs}))),
        (memory, ""),
    ]
    with report_folder(out) as making:
        put(making, "tables/changes.csv", csv_bytes(table))
        legend = editors_legend(facts.editors, facts.origins)
        told = Sentences("changed", "", tuple(said_changes(table, own, shared, names)))
        sections = [
            Section("answer", "What changed", "", (told, changes_part(table, own, shared, names))),
            Section("curves", "Curves", "", tuple(
                shown_figure(draw(facts), making, "One editor has one colour; lines differ by the set.", on)
                for draw, on in plots)),
            Section("methods", "Methods", "", (runs_part(runs), configuration_part(runs))),
        ]  # fmt: skip
        title = f"{names[1]} beside {names[0]}"
        known = {entry.editor: entry.mark for entry in legend}
        about = f"Differences are {names[1]} less {names[0]}."
        page = page_bytes("report.html.j2", title=title, about=about, sections=sections, legend=legend, known=known)
        put(making, "index.html", page)
    return out / "index.html"


def changes(
    facts: Facts, runs: Sequence[RunInfo], last: pl.DataFrame, pairs: Sequence[tuple[str, str]]
) -> pl.DataFrame:
    """Return a row per pair (second, first) and measure, as `reports.numbers.compared` does for pairs of editors.

    A pair without an equal stream has the difference of the means, no interval, and a `rule` that says so.
    """
    table = compared(facts, runs, last, pairs)
    paired = set(table.select("editor", "beside").rows())
    means = {r["editor"]: r for r in evidence(facts, runs, last)}
    rows = []
    for second, first in pairs:
        if (second, first) in paired or not {second, first} <= set(means):
            continue
        for measure in COMPARED:
            difference = means[second][measure]["mean"] - means[first][measure]["mean"]
            if not math.isnan(difference):
                rows.append({"measure": measure, "editor": second, "beside": first, "difference": difference,
                             "better": "", "rule": _UNPAIRED})  # fmt: skip
    return pl.concat([table, pl.DataFrame(rows, schema_overrides=table.schema)], how="diagonal_relaxed")


def said_changes(
    table: pl.DataFrame, own: Sequence[Mapping[str, str]], shared: Sequence[str], names: tuple[str, str]
) -> list[str]:
    """Return in sentences what rose and what fell by more than chance, for each editor that both sets have."""
    out = []
    for label in shared:
        rows = table.filter((pl.col("editor") == own[1][label]) & (pl.col("beside") == own[0][label])).to_dicts()
        told = [r for r in rows if r["better"]]
        moved = [f"{r['measure']} {'rose' if r['difference'] > 0 else 'fell'} by {_two(r)}" for r in told]
        if not rows:
            continue
        if any(r["rule"] == _UNPAIRED for r in rows):
            out.append(f"{label}: other streams, so that nothing is tested; the means stand below.")
        else:
            out.append(f"{label}: {', '.join(moved) or 'no difference that is more than chance'}.")
    for place, mine in enumerate(own):
        alone = [label for label in mine if label not in shared]
        out += [f"Only in {names[place]}: {', '.join(alone)}."] if alone else []
    return out or ["Both sets have no editor in common."]


def _two(row: Mapping[str, Any]) -> str:
    ends = sorted((abs(row["low"]), abs(row["high"])))
    return f"{share(abs(row['difference']))} ({share(ends[0])} to {share(ends[1])})"


def changes_part(
    table: pl.DataFrame, own: Sequence[Mapping[str, str]], shared: Sequence[str], names: tuple[str, str]
) -> Table:
    """Return the table of changes: a row an editor, a column a measure."""
    by = {(r["editor"], r["measure"]): r for r in table.iter_rows(named=True)}
    measures = [m for m in COMPARED if m in set(table["measure"])]
    rows = []
    for label in shared:
        found = [by.get((own[1][label], measure)) for measure in measures]
        rule = next((r["rule"] for r in found if r), "not asked")
        rows.append((cell(label, [rule]), *map(_change, found)))
    about = (
        f"{names[1]} less {names[0]}, after the last edit, teacher forced: over the same questions of equal streams, "
        "with 95 % intervals and Holm's p over the editors of a column. A name says which set is better, where that "
        "is more than chance."
    )
    return Table("changes", "Differences", about, ("editor", *measures), tuple(rows), "changes.csv")


def _change(found: Mapping[str, Any] | None) -> TableCell:
    if found is None:
        return TableCell("–")
    known = found["low"] is not None and not math.isnan(found["low"])
    small = [f"{found['low']:+.3f} to {found['high']:+.3f}, p {found['holm']:.3f}"] if known else []
    small += [f"better: {found['better']}"] if found["better"] else []
    return TableCell(f"{found['difference']:+.3f}", tuple(small), found["difference"])
