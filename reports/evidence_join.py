"""Evidence tables of different seeds joined into one: seeds that were run on several days or machines.

Knows the objects that `reports.numbers.evidence` writes, no facts and no runs. Quality does not depend on the
machine, so its seeds are put side by side; seconds do, so costs stay those of the table that is named first.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from reports.numbers.evidence import COST, QUALITY, of_seeds, plain


def joined(tables: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
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
        out[name] = plain(of_seeds([values[seed] for seed in seeds], old[name]["n"] + new[name]["n"]))
    return out | {name: old[name] for name in COST}


def _by_seed(record: Mapping[str, Any], name: str) -> dict[int, float]:
    own = [math.nan if value is None else value for value in record[name].get("seeds", ())]
    if len(own) != len(record["seeds"]):
        raise ValueError(
            f"{record['editor']}: {name} has {len(own)} numbers for seeds {record['seeds']}; write the report again."
        )
    return dict(zip(record["seeds"], own, strict=True))
