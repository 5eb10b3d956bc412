"""The evidence table: per editor the five published metrics, portability, specificity and cost at a stream's end.

Knows fact tables and what runs say of themselves; draws nothing. Every number is a mean over seeds, each of them a
stream of its own; an interval is given from five seeds on, below that the seeds' own numbers are.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import polars as pl

from reports.numbers import metrics
from reports.table import Facts, RunInfo

_SCORER = "teacher_forced"
ENOUGH = 5
# Two-sided 95 % quantiles of Student's t by degrees of freedom, from four on.
T95 = (2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093)


def _of(axis: str, modality: str | None = None) -> pl.Expr:
    chosen = metrics.HOLDS & (pl.col("axis") == axis) & (pl.col("scorer") == _SCORER)
    return chosen if modality is None else chosen & (pl.col("modality") == modality)


QUALITY = {
    "Rel": _of("reliability"),
    "T-Gen": _of("generality", "text"),
    "M-Gen": _of("generality", "image"),
    "T-Loc": _of("locality", "text"),
    "M-Loc": _of("locality", "image"),
    "portability": _of("portability"),
    "specificity": _of("specificity"),
}
COST = ("edit (s)", "bytes per edit", "route p50 (ms)", "route p99 (ms)", "fit (s)", "run (s)")


def evidence(facts: Facts, runs: Sequence[RunInfo]) -> list[dict[str, Any]]:
    """Return one object per editor and measure: mean, n, the `seeds`' own numbers and, from five on, `low`, `high`.

    Quality is teacher forced (token accuracy, as published) at the last panel of each seed; route latencies are
    pooled over the last panels' samples and p99 needs 100 of them. Unknown numbers are nan.
    """
    rows = metrics.panel_rows(facts.probed, facts.gauged)
    out = []
    for editor in facts.editors:
        mine = [r for r in runs if r.editor == editor]
        frame = rows.filter(pl.col("editor") == editor)
        last = frame.filter(pl.col("step") == pl.col("step").max().over("seed"))
        record: dict[str, Any] = {
            "editor": editor,
            "edits": int(last["step"].max() or 0),  # pyright: ignore[reportArgumentType]
            "seeds": sorted(r.seed for r in mine),
            "collapsed edits": int(facts.edited.filter(pl.col("editor") == editor)["collapsed"].sum()),
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
    p99 = routes.quantile(0.99, "linear") if len(routes) >= 100 else None
    return {
        "edit (s)": over_seeds(own(facts.edited), lambda p: float((p["edit_wall_s"] / p["batch_len"]).mean())),  # pyright: ignore[reportArgumentType]
        "bytes per edit": over_seeds(ends, lambda p: float((p["bank_bytes"] / p["step"]).mean())),  # pyright: ignore[reportArgumentType]
        "route p50 (ms)": {"mean": float(routes.median()) * 1e3 if len(routes) else math.nan, "n": len(routes)},  # pyright: ignore[reportArgumentType]
        "route p99 (ms)": {"mean": p99 * 1e3 if p99 is not None else math.nan, "n": len(routes)},
        "fit (s)": _mean_of([r.fit_wall_s for r in runs if not math.isnan(r.fit_wall_s)]),
        "run (s)": _mean_of([r.wall_s for r in runs if not math.isnan(r.wall_s)]),
    }


def over_seeds(frame: pl.DataFrame, value: Callable[[pl.DataFrame], float]) -> dict[str, Any]:
    """Return the mean over seeds of a value of a seed's rows, the number of rows, and the spread."""
    per = [value(part) for _, part in sorted(frame.group_by("seed"))]
    return of_seeds(per, len(frame))


def of_seeds(per: Sequence[float], n: int) -> dict[str, Any]:
    """Return mean, n and the seeds' own numbers, with Student's interval from five seeds on."""
    out = _mean_of(per) | {"n": n, "seeds": list(per)}
    if len(per) < ENOUGH:
        return out
    half = half_width(per)
    return out | {"low": out["mean"] - half, "high": out["mean"] + half}


def half_width(values: Sequence[float]) -> float:
    """Return half of Student's 95 % interval of a mean of five or more values.

    >>> round(half_width([1.0, 2.0, 3.0, 4.0, 5.0]), 3)
    1.963
    """
    n, mean = len(values), sum(values) / len(values)
    deviation = math.sqrt(sum((v - mean) ** 2 for v in values) / (n - 1))
    return T95[min(n - ENOUGH, len(T95) - 1)] * deviation / math.sqrt(n)


def _mean_of(values: Sequence[float]) -> dict[str, Any]:
    return {"mean": sum(values) / len(values) if values else math.nan, "n": len(values)}


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
        return None if math.isnan(value) else float(f"{value:.5g}")
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
