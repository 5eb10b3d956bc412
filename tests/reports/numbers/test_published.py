"""Published tables are transcribed rightly, and rankings are compared as scipy and a count of all orders would."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import replace
from itertools import permutations
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from matplotlib.figure import Figure
from runs_made_up import fake_run
from scipy import stats

from lifelong.editing.find import editor_names
from lifelong.running.catalog import EVIDENCE
from reports.figures.general import general
from reports.figures.published import published
from reports.numbers.papers import cells_of, changed_sources, published_tables
from reports.numbers.protocols.scorings import SCORED_ORDER, SCORINGS
from reports.numbers.published import (
    AVERAGE,
    permuted,
    published_number,
    ranked,
    ranked_table,
    ranked_tables,
    spearman,
)
from reports.table import load_runs

STATED = {  # the averages that the paper's table states, in the order of its rows
    ("LLaVA, E-VQA", 1): (91.30, 82.72, 90.76, 72.77, 58.44, 92.33, 89.75, 94.52, 95.36),
    ("LLaVA, VLKEB", 1): (91.21, 78.73, 90.59, 69.54, 67.30, 89.55, 89.71, 90.90, 97.08),
    ("LLaVA, E-VQA", 10): (85.00, 72.88, 2.80, 67.10, 51.76, 89.39, 88.17, 78.66, 94.68),
    ("LLaVA, VLKEB", 10): (83.77, 73.15, 0.14, 60.83, 51.25, 84.91, 82.60, 79.43, 96.26),
    ("LLaVA, E-VQA", 1000): (58.63, 62.29, 0.06, 64.26, 14.38, 80.98, 84.18, 39.71, 92.76),
    ("LLaVA, VLKEB", 1000): (68.49, 60.48, 0.06, 49.09, 5.15, 68.59, 69.56, 55.95, 91.79),
    ("BLIP2, E-VQA", 1): (65.42, 79.49, 89.35, 73.79, 74.49, 92.48, 90.45, 92.18, 96.94),
    ("BLIP2, VLKEB", 1): (71.09, 84.05, 92.82, 68.73, 64.93, 92.89, 92.58, 87.23, 98.35),
    ("BLIP2, E-VQA", 1000): (40.96, 45.43, 41.97, 63.05, 14.21, 83.67, 85.16, 31.67, 93.69),
    ("BLIP2, VLKEB", 1000): (53.68, 57.02, 57.61, 45.10, 21.83, 72.01, 41.16, 95.29),
}


def test_every_row_has_the_average_that_its_paper_states() -> None:
    found = {}
    for table in published_tables():
        if table.source.startswith("LiveEdit"):
            found[table.on, table.edits] = tuple(sum(numbers) / 5 for numbers in table.percent.values())
    assert found.keys() == STATED.keys()
    for key, means in found.items():
        assert means == pytest.approx(STATED[key], abs=0.0062), key


def test_every_table_names_its_source_and_has_a_share_for_each_measure() -> None:
    editors = set(editor_names())
    for table in published_tables():
        assert "arXiv" in table.source and table.scoring in SCORINGS and set(table.measures) <= set(SCORED_ORDER)
        assert table.percent and set(table.percent) <= editors, table.source
        assert all(
            len(row) == len(table.measures) and 0 <= min(row) <= max(row) <= 100 for row in table.percent.values()
        )
    assert len({(t.source, t.protocol, t.on, t.edits) for t in published_tables()}) == len(published_tables())


def test_a_cell_is_found_by_protocol_stream_editor_and_number_and_what_was_not_found_is_not_there() -> None:
    sources = [(t.source.split()[0], t.backbone) for t in cells_of("end-of-chunk", "evqa", "serac", 1)]
    assert sources == [("LiveEdit", "LLaVA"), ("LiveEdit", "BLIP2"), ("UniKE", "BLIP2"), ("UniKE", "MiniGPT-4"),
                       ("MMEdit", "BLIP2"), ("MMEdit", "MiniGPT-4")]  # fmt: skip
    assert len(cells_of("end-of-chunk", "atlas", "serac", 1)) == 14, "another stream stands beside all benchmarks"
    assert not cells_of("end-of-chunk", "evqa", "liveedit", 100) and not cells_of("gap", "vlkeb", "ft", 10)
    (mixed,) = cells_of("cross-task", "mixed", "unike", 10)
    assert mixed.percent["unike"] == (90.7, 88.2, 86.8, 90.4, 83.8)
    assert changed_sources()[0].code == "zjunlp/EasyEdit" and "687" in changed_sources()[0].said


def test_rank_correlation_is_scipys_with_and_without_ties() -> None:
    rng = np.random.default_rng(0)
    for n in (3, 5, 9, 20):
        one, other = rng.integers(0, 4, n), rng.random(n)
        assert spearman(list(one), list(other)) == pytest.approx(stats.spearmanr(one, other).statistic)  # pyright: ignore[reportAttributeAccessIssue]
    assert math.isnan(spearman([1, 1, 1], [1, 2, 3]))


def test_p_is_the_share_of_orders_that_rank_as_much_alike() -> None:
    one, other = [1, 2, 3, 4, 5], [2, 1, 3, 5, 4]
    rhos = [stats.spearmanr(order, other).statistic for order in permutations(one)]  # pyright: ignore[reportAttributeAccessIssue]
    wanted = np.mean(np.abs(rhos) >= spearman(one, other) - 1e-9)
    assert permuted(one, other) == pytest.approx(wanted)
    assert permuted([1, 2, 3, 4, 5], [1, 2, 3, 4, 5]) == pytest.approx(2 / math.factorial(5))


def test_of_editors_that_rank_by_chance_one_in_twenty_has_a_p_below_five_percent() -> None:
    rng = np.random.default_rng(3)
    low = [permuted(list(range(9)), list(rng.random(9))) < 0.05 for _ in range(300)]
    assert 0.02 <= np.mean(low) <= 0.085


def records(edits: int, label: str = "{}", names: Iterable[str] = ranked_tables()[0].percent) -> list[dict]:
    """Evidence in which every editor has the numbers of the first published table."""
    five = ("Rel", "T-Gen", "M-Gen", "T-Loc", "M-Loc")
    return [
        {"editor": label.format(name), "edits": edits}
        | {m: {"mean": v / 100} for m, v in zip(five, ranked_tables()[0].percent[name], strict=True)}
        for name in names
    ]


def test_the_same_numbers_rank_the_same_and_others_length_or_too_few_are_not_tested() -> None:
    same = {r.metric: r for r in ranked(records(1000), {}) if r.table is ranked_tables()[0]}
    assert all(r.rho == pytest.approx(1) and r.holm < 0.05 for r in same.values()) and AVERAGE in same
    for edits in (999, 2001):
        assert all(r.untested.startswith("not tested: the table is about 1,000") for r in ranked(records(edits), {}))
    few = ranked(records(1000, names=("ft", "mend", "serac", "lte")), {})
    assert {r.untested for r in few} == {"not tested: 4 editors of the table were run, of 5 at least"}
    toys = ranked(records(1000), {}, "not tested: model tiny is made up")
    assert {r.untested for r in toys} == {"not tested: model tiny is made up"}


def test_of_several_settings_of_an_editor_the_tuned_one_is_ranked() -> None:
    both = records(1000, "{} (published)") + records(1000, "{} (tuned)")
    found = ranked(both, {r["editor"]: r["editor"].split()[0] for r in both})[0]
    assert len(found.here) == 9 and all(label.endswith("(tuned)") for label in found.here)


def test_the_scatter_has_a_point_for_each_editor_table_and_metric() -> None:
    rows = json.loads(EVIDENCE.read_text())["editors"]
    found = ranked(rows, {r["editor"]: r["editor"].split()[0] for r in rows})
    drawn = published(found, [r["editor"] for r in rows])
    assert isinstance(drawn.figure, Figure) and len(drawn.figure.axes) == 6
    assert drawn.table.height == (9 + 9 + 9 + 8) * 6 == ranked_table(found).height
    nothing = published(ranked(records(40), {}), [])
    assert nothing.figure is None and "Not tested: the table is about 1,000 edits" in nothing.caption


def test_a_published_number_is_found_by_editor_metric_and_length() -> None:
    assert published_number("serac", "M-Loc", 1000) == pytest.approx(0.1569)
    with pytest.raises(KeyError):
        published_number("grace", "Rel", 1000)


def test_general_ability_is_drawn_where_it_was_asked_and_drift_where_weights_change(tmp_path: Path) -> None:
    asked = [("reliability", "edit", "image"), ("general", "text", "text")]
    facts, _ = load_runs([fake_run(tmp_path, "ft", 0.9, steps=(1, 4), probes=asked, samples=0)])
    nll = facts.probed.filter((pl.col("axis") == "general") & (pl.col("scorer") == "generated"))
    whole = pl.concat([facts.probed, nll.with_columns(scorer=pl.lit("nll").cast(pl.Categorical), score=pl.lit(0.25))])
    moved = facts.gauged.with_columns(weight_drift=pl.col("step") / 100.0)
    drawn = general(replace(facts, probed=whole, gauged=moved))
    assert isinstance(drawn.figure, Figure) and len(drawn.figure.axes) == 3
    by = {(r["measure"], r["step"]): r["mean"] for r in drawn.table.iter_rows(named=True)}
    assert by["general NLL", 4] == 0.25 and by["weight drift", 4] == 0.04 and by["general", 1] == 1.0
    never, _ = load_runs([fake_run(tmp_path / "b", "rag", 0.9, steps=(1,), probes=asked[:1], samples=0)])
    assert general(never).figure is None
