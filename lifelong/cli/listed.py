"""What can be listed as lines of a terminal: names with a sentence, keys with defaults, the table of editors.

Knows the plain objects of `lifelong.running.catalog`; nothing of where they come from. Lines fit into 100 columns.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from lifelong.running.words import words_of
from streams.problems import shown_value

_WIDTH = 100
_LABEL = 35  # columns of an editor with its options
SCORES = {
    "score": ".2f", "Rel": ".2f", "T-Gen": ".2f", "M-Gen": ".2f", "T-Loc": ".2f", "M-Loc": ".2f", "one hop": ".2f",
    "must change": ".2f", "must not change": ".2f",
}  # fmt: skip
COSTS = {
    "edit (s)": ".3f", "fixed (MB)": ".2f", "bytes an edit": ",.0f", "route p50 (ms)": ".3f", "route p99 (ms)": ".3f",
    "fit (s)": ",.0f",
}  # fmt: skip
"""Columns of the tables of editors, each with its format; one that no editor has a number in is left out."""
_SHORT = {
    "must not change": "must not",
    "bytes an edit": "bytes/edit",
    "route p50 (ms)": "p50 (ms)",
    "route p99 (ms)": "p99 (ms)",
}
_ROUTES = (("p50 (ms)", "the median"), ("p99 (ms)", "the slowest hundredth"))


def listed_lines(things: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a listing as lines: of editors the tables of their evidence first, of keys what they take."""
    if any("takes" in thing for thing in things):
        return [line for thing in things for line in _key_lines(thing, "")]
    lines = evidence_lines(things)
    width = max((len(thing["name"]) for thing in things), default=0)
    for thing in things:
        lines += _wrapped(f"{thing['name']:<{width}}  {thing['about']}", width + 2)
        for setting, options in thing.get("settings", {}).items():
            lines += _wrapped(f"    setting={setting}: {' '.join(words_of(options)) or 'the defaults'}", 8)
        for option in thing.get("options", ()):
            lines += _key_lines({**option, "name": f".{option['name']}"}, " " * 4)
    return lines


def evidence_lines(things: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the evidence of editors in two tables, scores and costs, and what they were measured on."""
    known = [found for thing in things for found in thing.get("evidence", ())]
    if not known:
        return []
    first = known[0]
    seeds = sorted({seed for found in known for seed in found.get("cost seeds", found["seeds"])})
    on = f"{', '.join(first['model'])} on {', '.join(first['stream'])}"
    scores = _table(known, SCORES, ())
    costs = _table(known, COSTS, ("edits", "seeds"))
    told = [
        f"Means over seeds after the last edit, teacher forced, by `make editors`: {on}.",
        "Rel, T-Gen and M-Gen ask an edit's own question, in other words, with another picture; T-Loc and M-Loc "
        "whether questions without and with a picture are answered as before. score: the harmonic mean of the gain "
        "in the first three (none is 0, oracle 1) and of the last two.",
        f"Times and bytes are those of seed {', '.join(map(str, seeds))} on {'; '.join(first['hardware'])}.",
    ]
    told += [f"{short}: finding which edits serve a query, {what}." for short, what in _ROUTES if short in costs[0]]
    trained = [found["editor"] for found in known if found.get("fits")]
    alone = [found["editor"] for found in known if found.get("given")]
    if alone:
        whose = "each trained editor" if alone == trained else ", ".join(alone)
        told.append(f"Fewer than three trainings were used of {whose}.")
    return [*scores, "", *costs, "", *(line for sentence in told for line in _wrapped(sentence, 0)), ""]


def _table(known: Sequence[Mapping[str, Any]], measures: Mapping[str, str], counts: Sequence[str]) -> list[str]:
    means = [{name: found.get(name, {}).get("mean") for name in measures} for found in known]
    names = [name for name in measures if any(own[name] is not None for own in means)]
    rows = [["editor", *counts, *(_SHORT.get(name, name) for name in names)]]
    for found, own in zip(known, means, strict=True):
        texts = ["-" if (v := own[name]) is None else format(v, measures[name]) for name in names]
        counted = [str(found[name] if name == "edits" else len(set(found[name]))) for name in counts]
        rows.append([_cut(found["editor"]), *counted, *texts])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(c.ljust(w) if not i else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True)))
        for row in rows
    ]


def _cut(label: str) -> str:
    """An editor's label with as many of its options as fit, and how many more it has."""
    shown_words, *rest = label.split(" ")
    while rest and len(f"{shown_words} {rest[0]}") + (5 if len(rest) > 1 else 0) <= _LABEL:
        shown_words += f" {rest.pop(0)}"
    return f"{shown_words} +{len(rest)}" if rest else shown_words


def _key_lines(key: Mapping[str, Any], before: str) -> list[str]:
    default = key["default"]
    equals = "" if default is None else " = ''" if default == "" else f" = {shown_value(default)}"
    about = f"{key['takes']}{': ' if key['about'] else ''}{key['about']}"
    head = f"{before}{key['name']}{equals}"
    gap = " " * max(2, 36 - len(head))
    return _wrapped(f"{head}{gap}{about}", 36)


def _wrapped(line: str, indent: int) -> list[str]:
    return textwrap.wrap(
        line, _WIDTH, subsequent_indent=" " * indent, drop_whitespace=True, break_long_words=False,
        break_on_hyphens=False, replace_whitespace=False,
    )  # fmt: skip
