"""The tables of a report's page as pieces of HTML: evidence, gains, comparisons, claims, rankings, all numbers.

Knows what is computed in `reports.numbers`, and computes nothing. A number that says little about an editor is grey,
with the reason below its table. Every text goes through `html_text`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from reports.numbers.axes import DRAWN, DRAWN_SCOPE, EXACT, IN_SCOPE, TOKEN_BY_TOKEN, heading
from reports.numbers.compared import COMPARED
from reports.numbers.evidence import COST, QUALITY
from reports.numbers.expected import CheckedClaim
from reports.numbers.floors import FOLLOWED, NONE, ORACLE, TOLD
from reports.numbers.published import AVERAGE, METRICS, Ranked
from reports.numbers.summary import LAST, TAKEN_OVER
from reports.written import html_text

_GREY = (
    f"Grey: told the very fact in its prompt, the model answers less than {FOLLOWED:g} of these questions exactly: "
    "the number is about the model and not about the editor."
)


def row(cells: Sequence[object], tag: str = "td") -> str:
    """Return a row of a table whose cells are texts or numbers."""
    return "<tr>" + "".join(f"<{tag}>{html_text(cell)}</{tag}>" for cell in cells) + "</tr>"


def _part(title: str, about: str, head: str, body: str, kind: str = "", after: str = "") -> str:
    table = f"<table class='{kind}'>" if kind else "<table>"
    below = f"<p class='meta'>{after}</p>" if after else ""
    return f"<h2>{title}</h2><p class='meta'>{about}</p><div class='wide'>{table}{head}{body}</table></div>{below}"


def _cell(text: str, grey: bool = False) -> str:
    return f"<td class='grey'>{text}</td>" if grey else f"<td>{text}</td>"


def evidence_part(records: Sequence[dict[str, Any]], unfollowed: Mapping[tuple[str, str], float]) -> str:
    """Return the table of evidence; measures that nobody was asked are left out.

    `unfollowed` are the editors and measures whose told ceiling is low (`reports.numbers.floors.unfollowed`).
    """
    names = [n for n in (*QUALITY, *COST) if n in COST or any(not math.isnan(r[n]["mean"]) for r in records)]
    body, grey = [], False
    for r in records:
        low = {n for n in names if (r["editor"], n) in unfollowed}
        grey |= bool(low)
        given = f"<br><small>{html_text(r['given'])}</small>" if r["given"] else ""
        cells = [f"{html_text(r['editor'])}{given}", f"{r['edits']:,}", str(r["collapsed edits"])]
        body.append("<tr>" + "".join(map(_cell, cells)))
        body += [_cell(_with_spread(r[n], quality=n in QUALITY), n in low) for n in names] + ["</tr>"]
    seeds = sorted({len(set(r["seeds"])) for r in records})
    about = (
        "The papers' five metrics after the last edit, teacher forced (token accuracy); locality by both published "
        "conventions, of questions that have nothing to do with an edit; harder locality, hops and both halves of "
        "specificity; and questions that no edit is about. Score: the harmonic mean of what was gained above the "
        "unedited model (of Rel, T-Gen, M-Gen) and of locality, 0 for doing nothing. Means over seeds, below them 95 "
        "% of Student's t from five seeds on, else the seeds' own numbers; <i>given one fit</i>: all runs share one "
        "training, and the interval says nothing of others. Bytes: the line through all panels, where it begins and "
        "what an edit adds. Route latencies are those of the last panel; a fit's seconds are those of the fit that "
        f"was used, whenever it was made. Seeds: {', '.join(map(str, seeds))}. A dash: not asked, or too few "
        "samples. <a href='tables/evidence.csv'>numbers</a>"
    )
    head = row(("editor", "edits", "collapsed", *map(heading, names)), "th")
    return _part("Evidence", about, head, "".join(body), after=_GREY if grey else "")


def gains_part(found: pl.DataFrame) -> str:
    """Return the table of gains above the unedited model, with the floor and the ceilings in its first rows."""
    title = "Gains above the unedited model"
    tokens = found.filter(pl.col("scorer") == TOKEN_BY_TOKEN)
    if tokens[NONE].drop_nans().is_empty():
        why = "No floor: none of these runs is <code>none</code> on the same stream and seeds, after as many edits."
        return f"<h2>{title}</h2><p class='meta'>{why}</p>"
    names = [n for n in IN_SCOPE if n in set(tokens["measure"])]
    by = {(r["editor"], r["measure"], r["scorer"]): r for r in found.iter_rows(named=True)}
    body, grey = [], False
    for editor in dict.fromkeys(tokens["editor"]):
        cells = [_cell(html_text(editor))]
        for name in names:
            own, exact = (by.get((editor, name, scorer), {}) for scorer in (TOKEN_BY_TOKEN, EXACT))
            low = exact.get(TOLD, math.nan) < FOLLOWED
            grey |= low
            cells.append(_cell(_gain_words(own), low))
        body.append(f"<tr>{''.join(cells)}</tr>")
    ends = []
    for words, name, scorer in _ENDS:
        values = [_mean_of(found, name, measure, scorer) for measure in names]
        if not all(map(math.isnan, values)):
            ends.append(row((words, *map(_two, values))))
    about = (
        "(x - floor) / (1 - floor), teacher forced, with 95 % of Student's t from five seeds on; below it, where the "
        "ceilings are known, (x - floor) / (ceiling - floor): of <i>told</i>, the model with the very fact in its "
        "prompt, and of <i>oracle</i>, perfect routing. 0 is the unedited model on the same questions. The last rows "
        "are the floor and the ceilings themselves. <a href='tables/gains.csv'>numbers</a>"
    )
    head = row(("", *map(heading, names)), "th")
    return _part(title, about, head, "".join(body + ends), after=_GREY if grey else "")


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


def _gain_words(own: Mapping[str, Any]) -> str:
    if not own or math.isnan(own["gain"]):
        return "–"
    low, high = own["low"], own["high"]
    lines = [] if math.isnan(low) else [f"{_two(low)}–{_two(high)}"]
    shares = [f"{_two(own[f'of_{n}'])} of {n}" for n in (TOLD, ORACLE) if not math.isnan(own[f"of_{n}"])]
    return _two(own["gain"]) + "".join(f"<br><small>{line}</small>" for line in (*lines, *shares))


def _two(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.2f}"


def compared_part(table: pl.DataFrame, records: Sequence[dict[str, Any]]) -> str:
    """Return the table of paired differences: a row a pair, a column a measure; a winner's cell names it."""
    title = "Which is better"
    if table.is_empty():
        return f"<h2>{title}</h2><p class='meta'>Not asked: no two editors were run on one stream and seed.</p>"
    names = [n for n in COMPARED if n in set(table["measure"])]
    by = {(r["editor"], r["beside"], r["measure"]): r for r in table.iter_rows(named=True)}
    body = []
    for pair in dict.fromkeys((a, b) for a, b, _ in by):
        found = [by.get((*pair, name)) for name in names]
        one = next(r for r in found if r)
        first = f"{html_text(pair[0])} − {html_text(pair[1])}<br><small>{html_text(one['rule'])}</small>"
        body.append(f"<tr>{_cell(first)}{''.join(_cell(_difference_words(r)) for r in found)}</tr>")
    alone = [r["editor"] for r in records if r["given"]]
    given = f" Given the fits that were used, fewer than three: {html_text(', '.join(alone))}." if alone else ""
    about = (
        "Differences over the same questions of the same streams after as many edits, teacher forced: 95 % "
        "intervals, and p adjusted for the number of pairs of a column (Holm). From five seeds on a seed is the "
        "unit (Student's t); of fewer an edit is, and the interval is about these streams alone. A name says which "
        "is better: where the interval holds 0, or p is .05 and more, there is none. Of more than eight editors each "
        "is compared with the best of them and with the unedited model."
        f"{given} <a href='tables/compared.csv'>numbers</a>"
    )
    return _part(title, about, row(("", *names), "th"), "".join(body))


def _difference_words(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return "–"
    ends = f"{found['low']:+.3f} to {found['high']:+.3f}, p {found['holm']:.3f}"
    better = f"<br>{html_text(found['better'])}" if found["better"] else ""
    return f"{found['difference']:+.3f}<br><small>{ends}</small>{better}"


def claims_part(found: Sequence[CheckedClaim]) -> str:
    """Return the table of published behaviour and verdicts; '' where no claim is about these editors."""
    if not found:
        return ""
    body = "".join(row((f.editor, f.expected, f.source, f.numbers, f.verdict)) for f in found)
    head = row(("editor", "published behaviour", "source", "here", "verdict"), "th")
    about = (
        "Teacher forced, as in the tables that claims are from. Runs agree that are nearer to the paper's number "
        "than to what it would be if the claim were wrong; a claim about more edits than were made is not tested."
    )
    return _part("What the papers lead to expect", about, head, body, "words")


def rankings_part(found: Sequence[Ranked]) -> str:
    """Return the table of rank correlations with published tables: a row a table, a column a metric."""
    body = []
    for table in dict.fromkeys((r.table.source, r.table.on, r.table.edits) for r in found):
        own = {r.metric: r for r in found if (r.table.source, r.table.on, r.table.edits) == table}
        cells = [
            html_text(f"{table[0]}: {table[1]}, {table[2]:,} edits"),
            str(max(len(r.here) for r in own.values())),
        ]
        why = {r.untested for r in own.values()}
        # One reason for all metrics of a table is said once.
        cells += [_rank_words(own[name]) for name in (*METRICS, AVERAGE)] if len(why) > 1 or "" in why else [*why]
        body.append(f"<tr>{''.join(map(_cell, cells))}</tr>")
    about = (
        "Spearman's correlation of editors' numbers here with those of a paper, p by exchanging editors at random, "
        "and Holm's p over the metrics of a table. M-Loc is of far questions, as there. Of several settings of an "
        "editor the tuned one is ranked. <a href='tables/published.csv'>numbers</a>"
    )
    return _part("Do editors rank as published", about, row(("", "editors", *METRICS, AVERAGE), "th"), "".join(body))


def _rank_words(one: Ranked) -> str:
    if one.untested or math.isnan(one.rho):
        return f"<small>{html_text(one.untested or 'all are equal')}</small>"
    return f"{one.rho:+.2f}<br><small>p {one.p:.3f}, Holm {one.holm:.3f}</small>"


def numbers_part(numbers: pl.DataFrame, told: Sequence[str]) -> str:
    """Return the table of all numbers: a row a measure, a column an editor; `told` are the labels of that ceiling."""
    shown = [c for c in numbers.columns if not c.startswith("n ")]
    head = row(("", "taken over", *numbers["editor"]), "th")
    ceilings = numbers.filter(pl.col("editor").is_in(list(told)))
    should_change = {title for title, measure in (DRAWN | DRAWN_SCOPE).items() if measure.scope == "in"}
    body, grey = [], False
    for column in shown[1:]:
        low = column in should_change and len(ceilings) > 0 and bool((ceilings[column] < FOLLOWED).all())
        grey |= low
        cells = [html_text(column), TAKEN_OVER.get(column, LAST)]
        for r in numbers.iter_rows(named=True):
            n = r.get(f"n {_COUNTED.sub('', column)}")
            cells.append(f"{_number(r[column])}{f' <small>n={n:,}</small>' if n is not None else ''}")
        body.append("<tr>" + "".join(_cell(cell, low) for cell in cells) + "</tr>")
    about = (
        "Scores of freely generated answers. The unedited model (none) is the floor of what should change, told and "
        "oracle are its ceilings. n counts probes, and latency samples of encode and route. A dash: not asked, or "
        "too few samples. <a href='tables/summary.csv'>numbers</a>"
    )
    return _part("All numbers", about, head, "".join(body), after=_GREY if grey else "")


_COUNTED = re.compile(r" p\d+.*\(ms\)$")  # percentiles of one operation share their samples


def _with_spread(found: dict[str, Any], *, quality: bool) -> str:
    def shown(value: float) -> str:
        return f"{value:.2f}" if quality and not math.isnan(value) else _number(value)

    spread = ""
    if "low" in found:
        spread = f"{shown(found['low'])}–{shown(found['high'])}"
    elif len(found.get("seeds", ())) > 1:
        spread = ", ".join(shown(v) for v in found["seeds"])
    return shown(found["mean"]) + (f"<br><small>{spread}</small>" if spread else "")


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
