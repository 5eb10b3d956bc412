"""The sentences that a report begins with: who lasts longest, what broke first, what it costs, what nobody can tell.

Each is computed from the numbers of a report, and is left out where these do not tell it. Knows tables of numbers.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import polars as pl

from reports.analyses.capacity import BROKE, NEVER_HAD, UNCLEAR, borne
from reports.numbers.evidence import SCORE
from reports.parts import number, share
from reports.statistics.seeds import ENOUGH

_FEWEST = 10
"""Edits below which nobody is said to be ahead."""
_RETENTION = "Rel"
_LEAD = {
    _RETENTION: "keeps the largest share of its edits ({value} of their tokens, teacher forced)",
    SCORE: "has the highest score of what was gained and of what stayed as it was ({value})",
}
_LISTED = 4  # names in a sentence


def leader(
    records: Sequence[Mapping[str, Any]], compared: pl.DataFrame, references: Collection[str], measure: str
) -> str:
    """Return who is ahead in a measure (`Rel` or the score) after the last edit, and whose difference is no chance.

    `records` are of `reports.numbers.evidence`, `compared` of `reports.numbers.compared`, `references` labels that
    are no methods. '' of fewer than two methods, after too few edits, or where not all were run for as many edits.
    """
    mine = [r for r in records if r["editor"] not in references and not math.isnan(r[measure]["mean"])]
    edits = {r["edits"] for r in mine}
    if len(mine) < 2 or len(edits) != 1 or min(edits) < _FEWEST:
        return ""
    ordered = sorted(mine, key=lambda r: -r[measure]["mean"])
    first = ordered[0]["editor"]
    if ordered[0][measure]["mean"] <= 0:
        return ""
    rows = compared.filter((pl.col("measure") == measure) & (pl.col("edits") >= _FEWEST))
    better = {frozenset((r["editor"], r["beside"])): r["better"] for r in rows.iter_rows(named=True)}
    known = [r for r in ordered[1:] if frozenset((first, r["editor"])) in better]
    near = [r for r in known if better[frozenset((first, r["editor"]))] != first]
    value = share(ordered[0][measure]["mean"])
    said = f"After {min(edits):,} edits {first} {_LEAD[measure].format(value=value)}"
    if not known:
        return f"{said}; nobody was asked the same questions, so this may be chance."
    if near:
        names = _listed([f"{r['editor']} ({share(r[measure]['mean'])})" for r in near])
        return f"{said}; it is not told apart from {names}."
    others = len(ordered) - 1
    whom = "every other editor" if len(known) == others else f"{len(known)} of the {others} others"
    return f"{said}, more than {whom} by more than chance (paired by question, p below .05 after Holm)."


def broke_first(table: pl.DataFrame, editors: Sequence[str]) -> list[str]:
    """Return what broke first in each editor (`reports.analyses.capacity`), those of one outcome in one sentence."""
    outcomes: dict[tuple[Any, ...], list[str]] = {}
    for editor in editors:
        own = table.filter(pl.col("editor") == editor)
        if own.is_empty():
            continue
        step, before, binding = borne(table, editor)
        states = set(own["state"])
        key = (step, before, binding, UNCLEAR in states and step is None)
        outcomes.setdefault(key, []).append(editor)
    out = []
    for (step, before, binding, unclear), names in outcomes.items():
        who = _listed(names)
        if step is None:
            end = "but some of it cannot be told from chance" if unclear else "all limits hold"
            out.append(f"{who}: no limit is broken up to {before:,} edits, {end}.")
        elif before == 0:
            out.append(f"{who}: below its limit from the first {step:,} edits on: {_listed(binding)}.")
        else:
            out.append(f"{who}: first broken between {before:,} and {step:,} edits: {_listed(binding)}.")
    return out


def costs(records: Sequence[Mapping[str, Any]], references: Collection[str]) -> list[str]:
    """Return what an edit and a routed query cost, from the cheapest to the dearest editor."""
    mine = [r for r in records if r["editor"] not in references]
    banks = [r for r in mine if r["bytes an edit"]["mean"] >= 1]  # the others search nothing
    out = []
    for name, scale, words in (
        ("edit (s)", _time, "One edit takes {} on the measured machine."),
        ("bytes an edit", _bytes, "One more edit adds {}."),
        ("route p50 (ms)", lambda ms: _time(ms / 1e3), "Finding which edits serve a question takes {} (p50)."),
    ):
        asked = banks if name.startswith("route") else mine
        known = sorted((r[name]["mean"], r["editor"]) for r in asked if not math.isnan(r[name]["mean"]))
        if not known:
            continue
        (least, one), (most, other) = known[0], known[-1]
        same = scale(least) == scale(most)
        said = f"{scale(least)}" if same else f"from {scale(least)} ({one}) to {scale(most)} ({other})"
        out.append(words.format(f"{said} with {one}" if len(known) == 1 else said))
    return out


def not_known(
    records: Sequence[Mapping[str, Any]], compared: pl.DataFrame, table: pl.DataFrame, references: Collection[str]
) -> list[str]:
    """Return what these runs cannot tell: other streams, pairs, limits, and percentiles of too few samples."""
    mine = [r for r in records if r["editor"] not in references]
    out = []
    seeds = [len(set(r["seeds"])) for r in mine]
    if seeds and min(seeds) < ENOUGH:
        few = "one seed" if min(seeds) == 1 else f"{min(seeds)} seeds"
        out.append(f"How other streams would differ: of {few} intervals are about these streams alone.")
    rows = compared.filter(pl.col("measure") == _RETENTION)
    open_pairs = rows.filter((pl.col("better") == "") & ~pl.col("editor").is_in(list(references)))
    open_pairs = open_pairs.filter(~pl.col("beside").is_in(list(references)))
    if open_pairs.height:
        pairs = [f"{r['editor']} and {r['beside']}" for r in open_pairs.iter_rows(named=True)]
        out.append(f"Who keeps more of its edits, of {_listed(pairs)}: the difference may be chance.")
    unclear = table.filter((pl.col("state") == UNCLEAR) & ~pl.col("editor").is_in(list(references)))
    if unclear.height:
        which = [f"{r['editor']}: {r['measure']}" for r in unclear.iter_rows(named=True)]
        out.append(f"Whether these stay above their limits at the end: {_listed(which)}.")
    timed = [r for r in mine if r["route p99 (ms)"]["n"] and r["bytes an edit"]["mean"] >= 1]
    dark = [r["editor"] for r in timed if math.isnan(r["route p99 (ms)"]["mean"])]
    if dark:
        out.append(f"The p99 of routing, of {_listed(dark)}: it needs 563 samples.")
    return out


def states_said(row: Mapping[str, Any]) -> str:
    """Return one row of the capacity table in words.

    >>> states_said({"state": "broke", "before": 50, "step": 100, "last": 200})
    'broke at 51–100'
    """
    if row["state"] == BROKE:
        return f"broke at {row['before'] + 1:,}–{row['step']:,}"
    return {NEVER_HAD: "never had it", UNCLEAR: "cannot tell"}.get(row["state"], f"kept to {row['last']:,}")


def _listed(names: Sequence[str]) -> str:
    """Return names as a list in a sentence; of many the first ones and how many more.

    >>> _listed(["a", "b", "c"]), _listed([])
    ('a, b and c', '')
    """
    names = list(names)
    if len(names) > _LISTED + 1:
        names = [*names[:_LISTED], f"{len(names) - _LISTED} more"]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else ""


def _time(seconds: float) -> str:
    """Return a time with its unit.

    >>> _time(0.00012), _time(0.05), _time(3.2)
    ('0.12 ms', '50 ms', '3.2 s')
    """
    return f"{number(seconds)} s" if seconds >= 1 else f"{number(seconds * 1e3)} ms"


def _bytes(size: float) -> str:
    """Return a size with its unit.

    >>> _bytes(0.2), _bytes(900.0), _bytes(2_500_000.0)
    ('nothing', '900 bytes', '2.5 MB')
    """
    if size < 1:
        return "nothing"
    return f"{size:,.0f} bytes" if size < 1e4 else f"{size / 1e3:,.0f} kB" if size < 1e6 else f"{size / 1e6:,.1f} MB"
