"""The evidence of several reports in one table: read from their JSON, joined, and as lines of a terminal.

Knows tables of evidence (`reports.numbers.evidence`) and files; no facts.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from reports.numbers.evidence import COST, QUALITY, plain
from reports.statistics.fits import given, of_runs
from streams.text import printable

_NOT_ASKED = {"mean": None, "n": 0, "seeds": []}


def read_evidence(path: Path) -> dict[str, Any]:
    """Return the evidence of a report from its JSON, to be joined with that of others.

    A measure that it does not have counts as not asked.
    Raises `ValueError` naming the file for one that is not there or is no such table.
    """
    wrong = f"{path}: this is no table of evidence; expected the tables/evidence.json of a report"
    if not path.is_file():
        raise ValueError(f"{path}: there is no such file; expected the tables/evidence.json of a report.")
    try:
        table = json.loads(path.read_bytes().decode("utf-8-sig"))
        for record in table["editors"]:
            for name in (*QUALITY, *COST):  # what a table does not have was not asked
                record.setdefault(name, dict(_NOT_ASKED))
            record.setdefault("fits", [])
        said = [name for name in _ABOUT if not _texts(table[name])] + ([] if table["editors"] else ["editors"])
        said += [] if isinstance(table["scorer"], str) else ["scorer"]
        said += [f"{r['editor']}: {name}" for r in table["editors"] for name in (*QUALITY, *COST) if _wrong(r, name)]
    except OSError as error:
        raise ValueError(f"{path}: it cannot be read ({error.strerror or error}).") from error
    except KeyError as error:
        raise ValueError(f"{wrong} of this version (it lacks {error}). Write that report again.") from error
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{wrong} ({error}).") from error
    if said:
        raise ValueError(f"{wrong} ({printable(', '.join(said[:5]))} cannot be understood).")
    return table


_ABOUT = ("stream", "model", "hardware")


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(v, str) for v in value)


def _number(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value))


def _wrong(record: Mapping[str, Any], name: str) -> bool:
    """Whether a measure of an editor is not what a report writes of it."""
    found, seeds, fits = record[name], record["seeds"], record["fits"]
    whole = [record["edits"], record["collapsed edits"], found["n"], *seeds, *fits]
    told = isinstance(record["editor"], str) and all(type(v) is int for v in whole) and len(fits) in (0, len(seeds))
    return not (told and all(map(_number, [found["mean"], *found.get("seeds", ())])))


def joined_evidence(tables: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return one table of evidence from several, as read from their JSON.

    An editor's seeds are united; editors keep the order in which they are first met. Raises `ValueError` for no
    table, tables of other streams, models, scorers or numbers of edits, a seed that two tables have, and a measure
    that lacks a seed's own number.
    """
    if not tables:
        raise ValueError("no evidence to join: give one evidence.json or more.")
    first = tables[0]
    for table in tables[1:]:
        for name in ("stream", "model", "scorer"):
            if table[name] != first[name]:
                raise ValueError(f"evidence of {name} {table[name]} cannot be joined with evidence of {first[name]}.")
    known: dict[str, dict[str, Any]] = {}
    for table in tables:
        for record in table["editors"]:
            name = record["editor"]
            known[name] = _united(known[name], record) if name in known else dict(record)
    hardware = sorted({name for table in tables for name in table["hardware"]})
    return {**first, "hardware": hardware, "editors": list(known.values())}


def _united(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    if old["edits"] != new["edits"]:
        raise ValueError(f"{old['editor']}: runs of {old['edits']} and of {new['edits']} edits cannot be averaged.")
    if bool(old["fits"]) != bool(new["fits"]):
        raise ValueError(f"{old['editor']}: of one table it is not known which trainings its runs are of.")
    runs = sorted([*_runs(old), *_runs(new)])
    twice = sorted({seed for seed, *fit in runs if runs.count((seed, *fit)) > 1})
    if twice:
        raise ValueError(f"{old['editor']}: seeds {twice} are in two of the tables; leave one out.")
    seeds, fits = [run[0] for run in runs], [run[1] for run in runs if len(run) > 1]
    out = {**old, "seeds": seeds, "fits": fits, "given": given(fits)}
    out |= {"collapsed edits": old["collapsed edits"] + new["collapsed edits"]}
    out["cost seeds"] = old.get("cost seeds", old["seeds"])
    for name in QUALITY:
        if not old[name]["n"] and not new[name]["n"]:
            continue  # neither asked it
        values = _by_run(old, name) | _by_run(new, name)
        out[name] = plain(of_runs([values[run] for run in runs], old[name]["n"] + new[name]["n"], seeds, fits))
    return out | {name: old[name] for name in COST}


def _runs(record: Mapping[str, Any]) -> list[tuple[int, ...]]:
    """Return the seed of each run, and that of its training where there is one."""
    return list(zip(record["seeds"], *([record["fits"]] if record["fits"] else []), strict=True))


def _by_run(record: Mapping[str, Any], name: str) -> dict[tuple[int, ...], float]:
    runs, own = _runs(record), [math.nan if v is None else v for v in record[name].get("seeds", ())]
    if not own and not record[name]["n"]:
        own = [math.nan] * len(runs)
    if len(own) != len(runs):
        raise ValueError(
            f"{record['editor']}: {name} has {len(own)} numbers for seeds {record['seeds']}; write the report again."
        )
    return dict(zip(runs, own, strict=True))


def table_lines(table: Mapping[str, Any]) -> list[str]:
    """Return a table of evidence as lines of equal columns: the means, how many seeds, and what they are of.

    Measures that no editor has are left out.
    """
    names = [n for n in (*QUALITY, *COST) if any(r[n]["mean"] is not None for r in table["editors"])]
    rows = [["editor", "edits", "seeds", *names]]
    for r in table["editors"]:
        shown = ["-" if (v := r[n]["mean"]) is None else f"{v:.2f}" if n in QUALITY else f"{v:.4g}" for n in names]
        rows.append([printable(r["editor"]), str(r["edits"]), str(len(set(r["seeds"]))), *shown])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    ]
    about = f"{', '.join(table['model'])} on {', '.join(table['stream'])}; {'; '.join(table['hardware'])}"
    lines.append(f"Means over seeds after the last edit, {printable(str(table['scorer']))}: {printable(about)}.")
    alone = [printable(r["editor"]) for r in table["editors"] if given(r["fits"])]
    return lines + ([f"Given the trainings that were used, fewer than three: {', '.join(alone)}."] if alone else [])
