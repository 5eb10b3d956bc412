"""The evidence table: per editor the five published metrics, portability, specificity and cost at a stream's end.

Knows fact tables and what runs say of themselves; draws nothing. Every number is a mean over seeds, each of them a
stream of its own; an interval is given from five seeds on, below that the seeds' own numbers are.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from reports.numbers import metrics
from reports.numbers.percentiles import percentiles
from reports.numbers.seeds import mean_of, of_seeds, over_seeds
from reports.table import Facts, RunInfo
from streams.text import printable

_SCORER = "teacher_forced"


def _of(axis: str, modality: str | None = None, variant: str | None = None, scorer: str = _SCORER) -> pl.Expr:
    chosen = metrics.HOLDS & (pl.col("axis") == axis) & (pl.col("scorer") == scorer)
    chosen = chosen if modality is None else chosen & (pl.col("modality") == modality)
    return chosen if variant is None else chosen & (pl.col("variant") == variant)


QUALITY = {
    "Rel": _of("reliability"),
    "T-Gen": _of("generality", "text"),
    "M-Gen": _of("generality", "image"),
    "T-Loc": _of("locality", "text"),
    "M-Loc": _of("locality", "image"),
    "portability": _of("portability"),
    "specificity": _of("specificity"),
    "must change": _of("specificity", variant="must"),
    "must not change": _of("specificity", variant="must-not"),
    "general": _of("general", scorer="generated"),
}
"""`specificity` is both of its halves together; `general` is the accuracy of free answers to untouched questions."""
COST = ("edit (s)", "bytes per edit", "route p50 (ms)", "route p99 (ms)", "fit (s)", "run (s)")


def evidence(facts: Facts, runs: Sequence[RunInfo]) -> list[dict[str, Any]]:
    """Return one object per editor and measure: mean, n, the `seeds`' own numbers and, from five on, `low`, `high`.

    Quality is teacher forced (token accuracy, as published) at the last panel of each seed; route latencies are
    percentiles of the last panels' samples together (`reports.numbers.percentiles`). Unknown numbers are nan.
    """
    rows = metrics.panel_rows(facts.probed, facts.gauged)
    out = []
    for editor in facts.editors:
        mine = [r for r in runs if r.editor == editor]
        frame = rows.filter(pl.col("editor") == editor)
        last = frame.filter(pl.col("step") == pl.col("step").max().over("seed"))
        record: dict[str, Any] = {
            "editor": editor,
            "edits": int(facts.gauged.filter(pl.col("editor") == editor)["step"].max()),  # pyright: ignore[reportArgumentType]
            "seeds": sorted(r.seed for r in mine),
            "collapsed edits": int(
                (facts.edited.filter(pl.col("editor") == editor)["outcome"] == "not finite").sum()
            ),
        }
        for name, chosen in QUALITY.items():
            record[name] = over_seeds(last.filter(chosen), lambda part: float(part["score"].mean()))  # pyright: ignore[reportArgumentType]
        out.append(record | _cost(facts, editor, mine))
    return out


def _cost(facts: Facts, editor: str, runs: Sequence[RunInfo]) -> dict[str, Any]:
    def own(frame: pl.DataFrame) -> pl.DataFrame:
        return frame.filter(pl.col("editor") == editor)

    gauged = own(facts.gauged)
    ends = gauged.filter(pl.col("step") == pl.col("step").max().over("seed"))
    routes = own(facts.timed).filter(pl.col("operation") == "route")
    routes = routes.filter(pl.col("step") == pl.col("step").max().over("seed"))["wall_s"]
    p50, p99 = percentiles(routes, (0.5, 0.99))
    return {
        "edit (s)": over_seeds(own(facts.edited), lambda p: float((p["edit_wall_s"] / p["batch_len"]).mean())),  # pyright: ignore[reportArgumentType]
        "bytes per edit": over_seeds(ends, lambda p: float((p["bank_bytes"] / p["step"]).mean())),  # pyright: ignore[reportArgumentType]
        "route p50 (ms)": {"mean": p50.value * 1e3, "n": p50.n},
        "route p99 (ms)": {"mean": p99.value * 1e3, "n": p99.n},
        "fit (s)": mean_of([r.fit_wall_s for r in runs if not math.isnan(r.fit_wall_s)]),
        "run (s)": mean_of([r.wall_s for r in runs if not math.isnan(r.wall_s)]),
    }


def to_json(records: Sequence[dict[str, Any]], runs: Sequence[RunInfo]) -> str:
    """Return the evidence as JSON (nan as null), with what it was measured on."""
    about = {name: sorted({getattr(r, name) for r in runs}) for name in ("stream", "model", "hardware")}
    return json.dumps({**about, "scorer": _SCORER, "editors": _plain(list(records))}, indent=1) + "\n"


def _plain(value: Any) -> Any:
    """Return a value as JSON holds it: floats of five digits, nan as None."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_plain(v) for v in value]
    if isinstance(value, float):
        return float(f"{value:.5g}") if math.isfinite(value) else None
    return value


def flat(records: Sequence[dict[str, Any]]) -> pl.DataFrame:
    """Return one row per editor and measure: mean, low, high, n, and the seeds' own numbers in words."""
    rows = []
    for record in records:
        for name in (*QUALITY, *COST):
            found = record[name]
            ends = {end: found.get(end, math.nan) for end in ("low", "high")}
            own = {"mean": found["mean"], "n": found["n"], **ends}
            seeds = " ".join(f"{v:.4g}" for v in found.get("seeds", ()))
            rows.append({"editor": record["editor"], "measure": name, **own, "seeds": seeds})
    return pl.DataFrame(rows)


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
            for name in QUALITY:  # what a table does not have was not asked
                record.setdefault(name, {"mean": None, "n": 0, "seeds": []})
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
    found, seeds = record[name], record["seeds"]
    whole = [record["edits"], record["collapsed edits"], found["n"], *seeds]
    told = isinstance(record["editor"], str) and all(type(v) is int for v in whole)
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
    twice = sorted({*old["seeds"]} & {*new["seeds"]})
    if twice:
        raise ValueError(f"{old['editor']}: seeds {twice} are in two of the tables; leave one out.")
    seeds = sorted([*old["seeds"], *new["seeds"]])
    out = {**old, "seeds": seeds, "collapsed edits": old["collapsed edits"] + new["collapsed edits"]}
    out["cost seeds"] = old.get("cost seeds", old["seeds"])
    for name in QUALITY:
        if not old[name]["n"] and not new[name]["n"]:
            continue  # neither asked it
        values = _by_seed(old, name) | _by_seed(new, name)
        out[name] = _plain(of_seeds([values[seed] for seed in seeds], old[name]["n"] + new[name]["n"]))
    return out | {name: old[name] for name in COST}


def _by_seed(record: Mapping[str, Any], name: str) -> dict[int, float]:
    own = [math.nan if value is None else value for value in record[name].get("seeds", ())]
    if len(own) != len(record["seeds"]):
        raise ValueError(
            f"{record['editor']}: {name} has {len(own)} numbers for seeds {record['seeds']}; write the report again."
        )
    return dict(zip(record["seeds"], own, strict=True))


def table_lines(table: Mapping[str, Any]) -> list[str]:
    """Return a table of evidence as lines of equal columns: the means, how many seeds, and what they are of."""
    rows = [["editor", "edits", "seeds", *QUALITY, *COST]]
    for r in table["editors"]:
        means = [r[name]["mean"] for name in (*QUALITY, *COST)]
        shown = ["-" if v is None else f"{v:.2f}" if n in QUALITY else f"{v:.4g}"
                 for n, v in zip((*QUALITY, *COST), means, strict=True)]  # fmt: skip
        rows.append([printable(r["editor"]), str(r["edits"]), str(len(r["seeds"])), *shown])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    ]
    about = f"{', '.join(table['model'])} on {', '.join(table['stream'])}; {'; '.join(table['hardware'])}"
    return [*lines, f"Means over seeds after the last edit, {printable(str(table['scorer']))}: {printable(about)}."]
