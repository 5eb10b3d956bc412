"""The report of a stress search, of edits or of a bank: plain data in; lines of text, or a page with figures out.

Knows what a search found as plain data; measures nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from reports.figures import bank as figures_bank
from reports.figures import stress as figures_stress
from reports.figures.inline import editors_legend
from reports.figures.stress import MEASURE_WORDS, at_capacity, edits_said, interval_said, limits_said, said
from reports.parts import Section, Text
from reports.rendering import page_bytes
from reports.shown import shown_figure
from reports.written import json_bytes, put, report_folder

RULE = (
    "A limit is broken from the first of two panels in a row at which it is; the number lies between the last panel "
    "before and that one, and over seeds it is the median of a log-normal fitted to those bounds."
)


def record(
    editors: Sequence[Mapping[str, Any]],
    *,
    limits: Mapping[str, float],
    scorer: str,
    tolerance: float,
    relative: bool = False,
) -> dict[str, Any]:
    """Return everything that a search found, as JSON can hold it (nan and infinity as null).

    `relative` limits are shares of what was right at once.
    """
    about = {"limits": dict(limits), "relative": relative, "scorer": scorer, "tolerance": tolerance, "rule": RULE}
    return plain_data(about | {"editors": list(editors)})


def edits_lines(found: Mapping[str, Any]) -> list[str]:
    """Return the table: capacity, its interval or the seeds, what binds, how retention decays, and what it costs."""
    out = [f"{limits_said(found)} ({found['scorer']}). {RULE}"]
    rows = [("editor", "edits borne", "over seeds", "binding", "retention decays", "bytes/edit", "route p99")]
    for one in found["editors"]:
        p99, size = at_capacity(one, "route_p99_s"), at_capacity(one, "bytes_per_edit")
        rows.append(
            (
                one["editor"],
                edits_said(one),
                spread_said(one),
                said(one).split(": ")[1],
                "; ".join(dict.fromkeys(decay_said(climb["decay"]) for climb in one["seeds"])),
                "-" if math.isnan(size) else f"{size:,.0f}",
                "-" if math.isnan(p99) else f"{p99 * 1e3:.3g} ms",
            )
        )
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return out + ["  ".join(f"{cell:<{w}}" for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]


def spread_said(one: Mapping[str, Any]) -> str:
    """Return the interval over seeds, or each seed's largest fine and smallest broken number of edits."""
    if one["interval"]:
        never = f", {one['never_broke']} never broke" if one["never_broke"] else ""
        return f"95 % {interval_said(one)}, {len(one['seeds'])} seeds{never}"
    each = (climb["verdict"] for climb in one["seeds"])
    return "seeds: " + ", ".join(f"{v['fine']} of {v['broken'] or '>' + str(one['most'])}" for v in each)


def decay_said(shape: Mapping[str, Any]) -> str:
    """Return how retention decays, with its change point."""
    if not shape["between"]:
        return shape["kind"]
    low, high = shape["between"]
    return f"{shape['kind']} (by {shape['drop']:.2f} between {low} and {high})"


def write_edits(found: Mapping[str, Any], out: Path) -> Path:
    """Write index.html, record.json, figures/*.png|svg|pdf and tables/*.csv into a folder and return the page's path.

    All of it or nothing; raises `LogError` naming what could not be written.
    """
    drawn = [figures_stress.card(found), figures_stress.curves(found)]
    drawn += [figures_stress.pareto(found)] if any(_costs(one) for one in found["editors"]) else []
    about = f"How many edits each editor bears. {RULE}"
    return _page(out, "Stress report: edits", about, edits_lines(found), found, drawn, sizes(found))


def write_bank(found: Mapping[str, Any], out: Path) -> Path:
    """Write the same for a bank's record and return the page's path."""
    n = sum(size["n"] for size in found["sizes"])
    words = f"n = {n:,} searches, generated keys (1 seed), {found['clock']} clock, one thread."
    about = "How large a bank may grow before the p99 of a search or its bytes break a budget."
    lines, drawn = figures_bank.bank_lines(plain_data(found)), [figures_bank.bank(found)]
    return _page(out, "Stress report: bank", about, lines, found, drawn, words)


def _page(
    out: Path,
    title: str,
    about: str,
    table: Sequence[str],
    found: Mapping[str, Any],
    drawn: Sequence[figures_stress.Drawn],
    words: str,
) -> Path:
    """Write a page of a title, a sentence, a table of text and figures, and the record; return its path."""
    with report_folder(out) as making:
        put(making, "record.json", json_bytes(plain_data(found)))
        editors = list(dict.fromkeys(str(one["editor"]) for one in found.get("editors", ())))
        legend = editors_legend(editors)
        sections = [
            Section("found", "What was found", "", (Text("table", "Table", "\n".join(table)),)),
            Section("figures", "Figures", "", tuple(shown_figure(one, making, "", words) for one in drawn)),
        ]
        known = {one.editor: one.mark for one in legend}
        page = page_bytes("report.html.j2", title=title, about=about, sections=sections, legend=legend, known=known)
        put(making, "index.html", page)
    return out / "index.html"


def sizes(found: Mapping[str, Any]) -> str:
    """Return what every caption must say: n, seeds, scorer and clock mode."""
    editors = found["editors"]
    n = sum(p["n"].get(name, 0) for e in editors for c in e["seeds"] for p in c["panels"] for name in MEASURE_WORDS)
    seeds = sorted({len(e["seeds"]) for e in editors})
    clocks, streams = (", ".join(sorted({e[key] for e in editors})) for key in ("clock", "stream"))
    return (
        f"n = {n:,} scores and latency samples, {'-'.join(map(str, seeds))} seed{'s' if seeds != [1] else ''} an "
        f"editor, {found['scorer']} answers, stream {streams}, clock {clocks}; latencies are measured."
    )


def _costs(one: Mapping[str, Any]) -> bool:
    return not all(math.isnan(at_capacity(one, name)) for name in ("route_p99_s", "bytes_per_edit"))


def plain_data(value: Any) -> Any:
    """Return a value as JSON can hold it: nan and infinity as None, tuples as lists."""
    if isinstance(value, Mapping):
        return {k: plain_data(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain_data(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
