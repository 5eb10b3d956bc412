"""What a page says first is what its numbers tell: made-up numbers with known answers, and silence of too few."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import polars as pl
import pytest

from reports.analyses.answers import broke_first, costs, leader, not_known, states_said
from reports.analyses.capacity import BROKE, KEPT, NEVER_HAD, UNCLEAR, borne, state_of


def record(
    editor: str, rel: float, edits: int = 200, seeds: int = 5, other: Mapping[str, float] | None = None
) -> dict[str, Any]:
    """One editor's evidence: retention, and costs by name."""
    named = {"edit (s)": 0.05, "bytes an edit": 2000.0, "route p50 (ms)": 0.3, "route p99 (ms)": 0.9}
    told = {name: {"mean": (other or {}).get(name, value), "n": 9} for name, value in named.items()}
    return {"editor": editor, "edits": edits, "seeds": list(range(seeds)), "Rel": {"mean": rel}, **told}


def pairs(*rows: tuple[str, str, str], edits: int = 200) -> pl.DataFrame:
    """Compared pairs by retention: both editors, and which is better."""
    names = ("editor", "beside", "better")
    return pl.DataFrame(
        [{**dict(zip(names, row, strict=True)), "measure": "Rel", "edits": edits} for row in rows],
        schema={**dict.fromkeys(names, pl.String), "measure": pl.String, "edits": pl.Int64},
    )


def test_the_leader_leads_only_where_the_paired_rule_says_so() -> None:
    three = [record("a", 0.9), record("b", 0.8), record("c", 0.2), record("none", 1.0)]
    ahead = leader(three, pairs(("a", "b", "a"), ("c", "a", "a"), ("b", "c", "b")), {"none"}, "Rel")
    assert ahead.startswith("After 200 edits a keeps") and "every other editor by more than chance" in ahead
    near = leader(three, pairs(("a", "b", ""), ("c", "a", "a")), {"none"}, "Rel")
    assert "not told apart from b (.80)" in near and "more than" not in near
    assert "1 of the 2 others" in leader(three, pairs(("a", "b", "a")), {"none"}, "Rel")
    assert "may be chance" in leader(three, pairs(), {"none"}, "Rel")


@pytest.mark.parametrize(
    "records",
    [
        [record("a", 0.9, edits=9), record("b", 0.1, edits=9)],  # too few edits
        [record("a", 0.9), record("b", 0.1, edits=100)],  # other lengths
        [record("a", 0.9)],  # nobody beside it
        [record("a", 0.0), record("b", 0.0)],  # nothing kept
        [record("a", math.nan), record("b", math.nan)],
    ],
)
def test_nobody_leads_where_that_cannot_be_known(records: list[dict[str, Any]]) -> None:
    assert leader(records, pairs(("a", "b", "a"), edits=records[0]["edits"]), set(), "Rel") == ""


def curve(*ends: tuple[float, float]) -> pl.DataFrame:
    """A curve of intervals at 20, 50, 100 ... edits."""
    steps = [20, 50, 100, 200, 500][: len(ends)]
    return pl.DataFrame({"step": steps, "mean": [(a + b) / 2 for a, b in ends], "low": [a for a, _ in ends],
                         "high": [b for _, b in ends], "edits": steps})  # fmt: skip


@pytest.mark.parametrize(
    "ends, state, step, before",
    [
        ([(0.8, 0.9), (0.8, 0.9)], KEPT, None, 0),
        ([(0.8, 0.9), (0.6, 0.8)], UNCLEAR, None, 0),  # the interval holds the limit
        ([(0.8, 0.9), (0.5, 0.6), (0.4, 0.5)], BROKE, 50, 20),
        ([(0.8, 0.9), (0.5, 0.6), (0.8, 0.9)], KEPT, None, 0),  # one panel alone may be chance
        ([(0.8, 0.9), (0.8, 0.9), (0.1, 0.2)], BROKE, 100, 50),  # the last one is not followed by any
        ([(0.0, 0.2), (0.0, 0.1)], NEVER_HAD, 20, 0),
    ],
)
def test_a_limit_breaks_where_the_whole_interval_lies_below_it(
    ends, state: str, step: int | None, before: int
) -> None:
    found = state_of(curve(*ends), 0.7)
    assert (found["state"], found["step"], found["before"]) == (state, step, before)


def limits(*rows: tuple[str, str, str, int | None, int]) -> pl.DataFrame:
    names = ("editor", "measure", "state", "step", "before")
    table = pl.DataFrame([dict(zip(names, row, strict=True)) for row in rows], schema_overrides={"step": pl.Int64})
    return table.with_columns(last=pl.lit(200))


def test_editors_of_one_outcome_share_a_sentence_and_the_first_limit_is_named() -> None:
    table = limits(
        ("a", "own", BROKE, 100, 50), ("a", "far", BROKE, 200, 100), ("b", "own", KEPT, None, 0),
        ("c", "own", KEPT, None, 0), ("d", "own", NEVER_HAD, 10, 0), ("e", "own", UNCLEAR, None, 0),
    )  # fmt: skip
    assert broke_first(table, ["a", "b", "c", "d", "e", "nobody"]) == [
        "a: first broken between 50 and 100 edits: own.",
        "b and c: no limit is broken up to 200 edits, all limits hold.",
        "d: below its limit from the first 10 edits on: own.",
        "e: no limit is broken up to 200 edits, but some of it cannot be told from chance.",
    ]
    assert borne(table, "a") == (100, 50, ("own",)) and borne(table, "b") == (None, 200, ())
    assert [states_said(row) for row in table.to_dicts()][::3] == ["broke at 51–100", "kept to 200"]


def test_costs_are_from_the_cheapest_to_the_dearest_and_routing_is_of_those_with_a_bank() -> None:
    found = [
        record("a", 0.9),
        record("b", 0.9, other={"edit (s)": 2.0, "bytes an edit": 0.0, "route p50 (ms)": 0.01}),
    ]
    assert costs(found, set()) == [
        "One edit takes from 50 ms (a) to 2 s (b) on the measured machine.",
        "One more edit adds from nothing (b) to 2,000 bytes (a).",
        "Finding which edits serve a question takes 0.3 ms with a (p50).",
    ]


def test_what_is_not_known_is_said_and_nothing_else() -> None:
    known = not_known(
        [record("a", 0.9), record("b", 0.1)], pairs(("a", "b", "a")), limits(("a", "own", KEPT, None, 0)), []
    )
    assert known == []
    dark = [record("a", 0.9, seeds=1, other={"route p99 (ms)": math.nan}), record("b", 0.8, seeds=1)]
    said = not_known(dark, pairs(("a", "b", ""), ("a", "none", "")), limits(("b", "own", UNCLEAR, None, 0)), ["none"])
    assert [line.split(":")[0].split(",")[0] for line in said] == [
        "How other streams would differ",
        "Who keeps more of its edits",
        "Whether these stay above their limits at the end",
        "The p99 of routing",
    ]
    assert "of a and b:" in said[1] and "none" not in said[1] and "of a:" in said[3]
