"""The tables of a report's page as plain data: evidence, gains, comparisons, claims, rankings, all numbers.

Knows what is computed in `reports.numbers`, and computes nothing. A number that says little about an editor is grey,
with the reason below its table.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from reports.analyses.answers import states_said
from reports.analyses.capacity import BOUNDS, borne
from reports.numbers.axes import DRAWN, DRAWN_SCOPE, EXACT, IN_SCOPE, TOKEN_BY_TOKEN, heading
from reports.numbers.compared import COMPARED
from reports.numbers.evidence import COST, QUALITY
from reports.numbers.expected import CheckedClaim
from reports.numbers.floors import FOLLOWED, NONE, ORACLE, TOLD
from reports.numbers.published import AVERAGE, METRICS, Ranked
from reports.numbers.summary import LAST, TAKEN_OVER
from reports.parts import Table, TableCell, cell, number, share
from reports.table import RunInfo

_GREY = (
    f"Grey: told the very fact in its prompt, the model answers less than {FOLLOWED:g} of these questions exactly: "
    "the number is about the model and not about the editor."
)


def evidence_part(records: Sequence[dict[str, Any]], unfollowed: Mapping[tuple[str, str], float]) -> Table:
    """Return the table of evidence; measures that nobody was asked are left out.

    `unfollowed` are the editors and measures whose told ceiling is low (`reports.numbers.floors.unfollowed`).
    """
    names = [n for n in (*QUALITY, *COST) if n in COST or any(not math.isnan(r[n]["mean"]) for r in records)]
    rows, grey = [], False
    for r in records:
        low = {n for n in names if (r["editor"], n) in unfollowed}
        grey |= bool(low)
        first = [cell(r["editor"], [r["given"]] if r["given"] else []), cell(r["edits"]), cell(r["collapsed edits"])]
        rows.append((*first, *(_with_spread(r[n], quality=n in QUALITY, grey=n in low) for n in names)))
    seeds = sorted({len(set(r["seeds"])) for r in records})
    about = (
        "The papers' five metrics after the last edit, teacher forced (token accuracy); locality by both published "
        "conventions, of questions that have nothing to do with an edit; harder locality, hops and both halves of "
        "specificity; and questions that no edit is about. Score: the harmonic mean of what was gained above the "
        "unedited model (of Rel, T-Gen, M-Gen) and of locality, 0 for doing nothing. Means over seeds, below them 95 "
        "% of Student's t from five seeds on, else the seeds' own numbers; \"given one fit\": all runs share one "
        "training, and the interval says nothing of others. Bytes: the line through all panels, where it begins and "
        "what an edit adds. Route latencies are those of the last panel; a fit's seconds are those of the fit that "
        f"was used, whenever it was made. Seeds: {', '.join(map(str, seeds))}. A dash: not asked, or too few samples."
    )
    heads = ("editor", "edits", "collapsed", *map(heading, names))
    return Table("evidence", "Evidence", about, heads, tuple(rows), "evidence.csv", _GREY if grey else "")


def gains_part(found: pl.DataFrame) -> Table:
    """Return the table of gains above the unedited model, with the floor and the ceilings in its last rows."""
    name, title = "gains", "Floors and ceilings"
    tokens = found.filter(pl.col("scorer") == TOKEN_BY_TOKEN)
    if tokens[NONE].drop_nans().is_empty():
        why = "No floor: none of these runs is `none` on the same stream and seeds, after as many edits."
        return Table(name, title, why, csv="gains.csv")
    names = [n for n in IN_SCOPE if n in set(tokens["measure"])]
    by = {(r["editor"], r["measure"], r["scorer"]): r for r in found.iter_rows(named=True)}
    rows, grey = [], False
    for editor in dict.fromkeys(tokens["editor"]):
        cells = [cell(editor)]
        for measure in names:
            own, exact = (by.get((editor, measure, scorer), {}) for scorer in (TOKEN_BY_TOKEN, EXACT))
            low = exact.get(TOLD, math.nan) < FOLLOWED
            grey |= low
            cells.append(_gain_cell(own, low))
        rows.append(tuple(cells))
    for words, end, scorer in _ENDS:
        values = [_mean_of(found, end, measure, scorer) for measure in names]
        if not all(map(math.isnan, values)):
            rows.append((cell(words), *(TableCell(share(v), value=_known(v)) for v in values)))
    about = (
        "Gains above the unedited model: (x - floor) / (1 - floor), teacher forced, with 95 % of Student's t from "
        "five seeds on; below it, where the ceilings are known, (x - floor) / (ceiling - floor): of told, the model "
        "with the very fact in its prompt, and of oracle, perfect routing. 0 is the unedited model on the same "
        "questions. The last rows are the floor and the ceilings themselves."
    )
    heads = ("editor", *map(heading, names))
    return Table(name, title, about, heads, tuple(rows), "gains.csv", _GREY if grey else "")


_ENDS = (
    ("floor: unedited model", NONE, TOKEN_BY_TOKEN),
    ("ceiling: told", TOLD, TOKEN_BY_TOKEN),
    ("ceiling: oracle", ORACLE, TOKEN_BY_TOKEN),
    ("floor, exact answers", NONE, EXACT),
    ("ceiling: told, exact answers", TOLD, EXACT),
)


def _mean_of(found: pl.DataFrame, end: str, measure: str, scorer: str) -> float:
    own = found.filter((pl.col("measure") == measure) & (pl.col("scorer") == scorer))[end].drop_nans()
    return float(own.mean()) if len(own) else math.nan  # pyright: ignore[reportArgumentType]


def _gain_cell(own: Mapping[str, Any], grey: bool) -> TableCell:
    if not own or math.isnan(own["gain"]):
        return TableCell("–", grey=grey)
    low, high = own["low"], own["high"]
    lines = [] if math.isnan(low) else [f"{share(low)} to {share(high)}"]
    lines += [f"{share(own[f'of_{n}'])} of {n}" for n in (TOLD, ORACLE) if not math.isnan(own[f"of_{n}"])]
    return TableCell(share(own["gain"]), tuple(lines), own["gain"], grey)


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def compared_part(table: pl.DataFrame, records: Sequence[dict[str, Any]]) -> Table:
    """Return the table of paired differences: a row a pair, a column a measure; a winner's cell names it."""
    name, title = "compared", "Which is better"
    if table.is_empty():
        return Table(name, title, "Not asked: no two editors were run on one stream and seed.", csv="compared.csv")
    names = [n for n in COMPARED if n in set(table["measure"])]
    by = {(r["editor"], r["beside"], r["measure"]): r for r in table.iter_rows(named=True)}
    rows = []
    for pair in dict.fromkeys((a, b) for a, b, _ in by):
        found = [by.get((*pair, measure)) for measure in names]
        one = next(r for r in found if r)
        rows.append((cell(f"{pair[0]} − {pair[1]}", [one["rule"]]), *map(_difference_cell, found)))
    alone = [r["editor"] for r in records if r["given"]]
    given = f" Given the fits that were used, fewer than three: {', '.join(alone)}." if alone else ""
    about = (
        "Differences over the same questions of the same streams after as many edits, teacher forced: 95 % "
        "intervals, and p adjusted for the number of pairs of a column (Holm). From five seeds on a seed is the "
        "unit (Student's t); of fewer an edit is, and the interval is about these streams alone. A name says which "
        "is better: where the interval holds 0, or p is .05 and more, there is none. Of more than eight editors each "
        f"is compared with the best of them, the one that keeps most edits and the unedited model.{given}"
    )
    return Table(name, title, about, ("pair", *names), tuple(rows), "compared.csv")


def _difference_cell(found: Mapping[str, Any] | None) -> TableCell:
    if found is None:
        return TableCell("–")
    ends = f"{found['low']:+.3f} to {found['high']:+.3f}, p {found['holm']:.3f}"
    better = [f"better: {found['better']}"] if found["better"] else []
    return TableCell(f"{found['difference']:+.3f}", (ends, *better), found["difference"])


def claims_part(found: Sequence[CheckedClaim]) -> Table:
    """Return the table of published behaviour and verdicts; without rows where no claim is about these editors."""
    rows = tuple(tuple(map(cell, (f.editor, f.expected, f.source, f.numbers, f.verdict))) for f in found)
    heads = ("editor", "published behaviour", "source", "here", "verdict")
    about = (
        "Teacher forced, as in the tables that claims are from. Runs agree that are nearer to the paper's number "
        "than to what it would be if the claim were wrong; a claim about more edits than were made is not tested."
    )
    about = about if rows else "No claim of a paper is about these editors."
    return Table("claims", "What the papers lead to expect", about, heads, rows, words=True)


def rankings_part(found: Sequence[Ranked]) -> Table:
    """Return the table of rank correlations with published tables: a row a table, a column a metric."""
    rows = []
    for table in dict.fromkeys((r.table.source, r.table.on, r.table.edits) for r in found):
        own = {r.metric: r for r in found if (r.table.source, r.table.on, r.table.edits) == table}
        first = f"{table[0]}: {table[1]}, {table[2]:,} edits"
        cells = [cell(first), cell(max(len(r.here) for r in own.values()))]
        rows.append((*cells, *(_rank_cell(own[name]) for name in (*METRICS, AVERAGE))))
    about = (
        "Spearman's correlation of editors' numbers here with those of a paper, p by exchanging editors at random, "
        "and Holm's p over the metrics of a table. M-Loc is of far questions, as there. Of several settings of an "
        "editor the tuned one is ranked."
    )
    heads = ("table", "editors", *METRICS, AVERAGE)
    return Table("rankings", "Do editors rank as published", about, heads, tuple(rows), "published.csv", words=True)


def _rank_cell(one: Ranked) -> TableCell:
    if one.untested or math.isnan(one.rho):
        return TableCell("–", (one.untested or "all are equal",))
    return TableCell(f"{one.rho:+.2f}", (f"p {one.p:.3f}, Holm {one.holm:.3f}",), one.rho)


def numbers_part(numbers: pl.DataFrame, told: Sequence[str]) -> Table:
    """Return the table of all numbers: a row a measure, a column an editor; `told` are the labels of that ceiling."""
    shown = [c for c in numbers.columns if not c.startswith("n ")]
    ceilings = numbers.filter(pl.col("editor").is_in(list(told)))
    should_change = {title for title, measure in (DRAWN | DRAWN_SCOPE).items() if measure.scope == "in"}
    rows, grey = [], False
    for column in shown[1:]:
        low = column in should_change and len(ceilings) > 0 and bool((ceilings[column] < FOLLOWED).all())
        grey |= low
        cells = [cell(column, grey=low), cell(TAKEN_OVER.get(column, LAST), grey=low)]
        for r in numbers.iter_rows(named=True):
            n = r.get(f"n {_COUNTED.sub('', column)}")
            cells.append(cell(r[column], [f"n = {n:,}"] if n is not None else [], low))
        rows.append(tuple(cells))
    about = (
        "Scores of freely generated answers. The unedited model (none) is the floor of what should change, told and "
        "oracle are its ceilings. n counts probes, and latency samples of encode and route. A dash: not asked, or "
        "too few samples."
    )
    heads = ("number", "taken over", *numbers["editor"])
    return Table("summary", "All numbers", about, heads, tuple(rows), "summary.csv", _GREY if grey else "")


_COUNTED = re.compile(r" p\d+.*\(ms\)$")  # percentiles of one operation share their samples


def _with_spread(found: dict[str, Any], *, quality: bool, grey: bool) -> TableCell:
    shown = share if quality else number
    spread = ""
    if "low" in found:
        spread = f"{shown(found['low'])} to {shown(found['high'])}"
    elif len(found.get("seeds", ())) > 1:
        spread = ", ".join(shown(v) for v in found["seeds"])
    value = found["mean"] if math.isfinite(found["mean"]) else None
    return TableCell(shown(found["mean"]), (spread,) if spread else (), value, grey)


def capacity_part(table: pl.DataFrame, editors: Sequence[str]) -> Table:
    """Return the table of limits: a row an editor, a column a limit, in which it broke, or how far it was kept."""
    name, title = "limits", "Where each limit breaks"
    measures = [m for m in BOUNDS if m in set(table["measure"])]
    by = {(r["editor"], r["measure"]): r for r in table.iter_rows(named=True)}
    rows = []
    for editor in [e for e in editors if e in set(table["editor"])]:
        step, before, _ = borne(table, editor)
        bears = f"≥ {before:,}" if step is None else f"{before:,}"
        rows.append(
            (cell(editor), TableCell(bears, value=before), *(_limit_cell(by.get((editor, m))) for m in measures))
        )
    about = (
        "A limit is broken from the first of two panels in a row, or at the last one, at which the whole 95 % "
        "interval lies below it; freely generated answers. Below each verdict: the mean there, or at the end, its "
        "interval and its edits."
    )
    heads = ("editor", "edits borne", *(f"{m} (least {share(BOUNDS[m].least)})" for m in measures))
    return Table(
        name,
        title,
        about if rows else "Not asked: no panel of ten edits or more.",
        heads,
        tuple(rows),
        "capacity.csv",
    )


def _limit_cell(row: Mapping[str, Any] | None) -> TableCell:
    if row is None:
        return TableCell("–")
    ends = f"{share(row['mean'])} ({share(row['low'])} to {share(row['high'])}), n = {row['edits']:,}"
    return TableCell(states_said(row), (ends,), row["step"] or row["last"])


def settings_part(runs: Sequence[RunInfo], editors: Sequence[str]) -> Table:
    """Return the table of settings: which were tuned, published or chosen by hand, and every option."""
    rows = []
    for editor in editors:
        own = [r for r in runs if r.editor == editor]
        options = [f"{k.removeprefix('editor.')} = {v}" for k, v in own[0].made.items() if k.startswith("editor.")]
        kind = next((word for word in ("tuned", "published") if f"({word})" in own[0].origin), "as given")
        fits = sorted({r.fit for r in own if r.fit is not None})
        fitted = f"trained, seed {', '.join(map(str, fits))}" if fits else "not trained"
        rows.append((cell(editor), cell(kind), cell(fitted), cell("; ".join(options) or "no options")))
    about = "Tuned: chosen by trials on other streams than these. Published: the numbers of the method's paper."
    heads = ("editor", "settings", "training", "options")
    return Table("settings", "Settings", about, heads, tuple(rows), words=True)


def runs_part(runs: Sequence[RunInfo]) -> Table:
    """Return the table of runs: what each was of, where it lies, and on what it ran."""
    heads = ("editor", "stream", "seed", "fit", "model", "clock", "finished", "threads", "run", "hardware")
    rows = []
    for r in runs:
        said = (r.editor, r.stream, r.seed, "–" if r.fit is None else r.fit, r.model, r.clock)
        rest = ("yes" if r.done else "no", r.made.get("threads", "–"), r.folder.name, r.hardware)
        rows.append(tuple(map(cell, (*said, *rest))))
    return Table("runs", "Runs", "", heads, tuple(rows), "runs.csv", words=True)


def configuration_part(runs: Sequence[RunInfo]) -> Table:
    """Return the table of everything that runs are made of: one value where all share it, else each label's."""
    rows = []
    for key in dict.fromkeys(k for r in runs for k in r.made if not k.startswith("editor.")):
        values: dict[str, list[str]] = {}
        for r in runs:
            values.setdefault(r.made.get(key, "–"), []).append(r.editor)
        if len(values) == 1:
            rows.append((cell(key), TableCell(next(iter(values)) or "–")))
        else:
            lines = [f"{value or '–'}: {', '.join(dict.fromkeys(labels))}" for value, labels in values.items()]
            rows.append((cell(key), TableCell(f"{len(values)} values", tuple(lines))))
    about = "Configuration, digests, versions and ways of computing; an editor's own options are under Settings."
    return Table("configuration", "Configuration", about, ("key", "value"), tuple(rows), words=True)
