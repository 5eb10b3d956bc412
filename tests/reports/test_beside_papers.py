"""Claims about what stands beside published numbers: the right cells, as shares, with what they are and are not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from facts_by_hand import log_of

from reports.beside_papers import NO_CELL, NO_TARGET, stand_beside
from reports.numbers.protocols.view import NotHeldError
from reports.numbers.protocols.views import PROTOCOLS, view_of
from reports.table import Facts, RunInfo, check_lived_through

SINGLE = [(n, n, kind, 1.0) for n in (1, 2, 3) for kind in ("rel", "t-loc")]


def run(stream: str, editor: str = "ft") -> RunInfo:
    return RunInfo(Path("runs/x"), editor, "ft", stream, "atlas", "modelled", 0, "", True)


def together(*parts: Facts) -> Facts:
    """Several runs in one set of tables."""
    tables = ("probed", "edited", "gauged", "timed", "served", "withdrawals", "told", "restored")
    whole = {name: pl.concat([getattr(part, name) for part in parts]) for name in tables}
    return replace(parts[0], **whole, names={k: v for part in parts for k, v in part.names.items()})


def named(facts: Facts, editor: str) -> Facts:
    tables = ("probed", "edited", "gauged", "timed", "served", "told", "restored")
    changed = {n: getattr(facts, n).with_columns(pl.lit(editor).alias("editor")) for n in tables}
    return replace(facts, **changed, names={editor: "ft"})


def test_a_published_number_stands_beneath_its_own_cell_with_its_source_and_no_other() -> None:
    lines = stand_beside("end-of-chunk", log_of(SINGLE, 3, back=(1, 2)), [run("evqa")]).lines()
    (liveedit,) = [line for line in lines if "FT-L, LLaVA, E-VQA (LiveEdit)" in line]
    assert liveedit.split("(LiveEdit)")[1].split() == [".939", ".996"], "its Rel and its T-Loc"
    assert not any("VLKEB (" in line or "E-IC" in line for line in lines), "other benchmarks than the stream's"
    assert NO_TARGET in lines and "- LiveEdit (arXiv 2411.15432), table 1" in lines
    changed = next(line for line in lines if line.startswith("zjunlp/EasyEdit"))
    assert "June 2026" in changed and "942d2e6579284446fd875e5d5498cea2343c5f4e" in changed
    assert any(line.startswith("n ") and line.split() == ["n", "3", "3"] for line in lines)


def test_where_no_table_has_a_cell_it_says_so_and_fills_nothing_in() -> None:
    chunks = [(n, e, "rel", 1.0) for n, e in ((2, 1), (2, 2), (4, 3), (4, 4))]
    found = stand_beside("end-of-chunk", log_of(chunks, 4, back=(2,)), [run("evqa")])
    assert found.lines()[-1] == NO_CELL and all(not row["published"] for row in found.plain())


def test_as_data_a_published_number_is_beside_the_same_measure_and_scoring() -> None:
    found = stand_beside("end-of-chunk", log_of(SINGLE, 3, back=(1, 2)), [run("evqa")]).plain()
    beside = {(r["measure"], r["scoring"]): {p["source"].split()[0] for p in r["published"]} for r in found}
    assert beside["Rel", "LiveEdit"] == {"LiveEdit", "UniKE"} and beside["Rel", "MMEdit"] == {"MMEdit"}
    assert beside["Rel", "free"] == beside["Rel", "VLKEB"] == set()


def test_each_run_counts_under_the_size_of_its_own_chunks() -> None:
    pairs = log_of([(2, 1, "rel", 0.0), (2, 2, "rel", 0.0), (4, 3, "rel", 1.0), (4, 4, "rel", 1.0),
                           (1, 1, "rel", 1.0), (3, 3, "rel", 1.0)], 4, back=(2,))  # fmt: skip
    both = together(log_of(SINGLE, 3, back=(1, 2)), named(pairs, "ft restore_every=2"))
    view = view_of("end-of-chunk", both)
    rel = view.table.filter((pl.col("measure") == "Rel") & (pl.col("scoring") == "LiveEdit"))
    assert sorted(rel.select("editor", "cell", "mean").rows()) == [("ft", 1, 1.0), ("ft restore_every=2", 2, 0.5)]
    lines = stand_beside("end-of-chunk", both, [run("evqa"), run("evqa", "ft restore_every=2")]).lines()
    assert any(line.startswith("ft, N 2  ") for line in lines), "what the number says already is not said twice"


def test_numbers_that_were_asked_for_must_be_held_and_usual_ones_may_be_missing() -> None:
    facts = log_of([*((n, n, "rel", 1.0) for n in range(1, 13)), *((n + 10, n, "rel", 0.0) for n in (1, 2))], 12)
    view = view_of("gap", facts)
    assert set(view.table["cell"]) == {0, 10} and any(
        note.startswith("not held: gap 20, 50, 100") for note in view.notes
    )
    with pytest.raises(NotHeldError, match="no edit is followed by 20"):
        view_of("gap", facts, [20])
    assert set(view_of("end-of-chunk", facts, [1]).table["cell"]) == {1}, (
        "the stream's beginning, where it is asked for"
    )


@pytest.mark.parametrize("name", PROTOCOLS)
def test_every_protocol_refuses_a_run_that_holds_nothing_of_it_in_one_line(name: str) -> None:
    with pytest.raises(NotHeldError) as error:
        view_of(name, log_of([(1, 1, "near", 1.0)], 2))
    assert "\n" not in str(error.value) and "Run with" in str(error.value)


def test_a_report_refuses_runs_that_put_their_model_back() -> None:
    check_lived_through(log_of(SINGLE, 3), [run("evqa")])
    with pytest.raises(ValueError, match=r"runs/x: this run put its .*lifelong protocol end-of-chunk runs/x"):
        check_lived_through(log_of(SINGLE, 3, back=(1, 2)), [run("evqa")])
