"""The evidence table: means over seeds, Student's interval from five on, and the list of editors that shows it."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import scipy.stats
from runs_made_up import fake_run

from lifelong.cli.listed import MEASURES, evidence_lines
from lifelong.editing.find import editor_names
from lifelong.running.catalog import shipped_evidence as kept
from reports.numbers.evidence import (
    COST,
    ENOUGH,
    QUALITY,
    T95,
    evidence,
    flat,
    half_width,
    joined_evidence,
    over_seeds,
    to_json,
)
from reports.numbers.expected import expected
from reports.table import finished_runs, load_runs


def runs_of(folder: Path, seeds: int) -> list[Path]:
    return [fake_run(folder / str(seed), "grace", 0.8, seed, steps=(1, 9)) for seed in range(seeds)]


def test_the_interval_is_students():
    values = np.random.default_rng(0).normal(size=7).tolist()
    low, high = scipy.stats.t.interval(0.95, 6, np.mean(values), scipy.stats.sem(values))
    assert 2 * half_width(values) == pytest.approx(high - low, rel=1e-3)
    assert scipy.stats.t.ppf(0.975, np.arange(4, 4 + len(T95))) == pytest.approx(T95, abs=1e-3)


@pytest.mark.parametrize("seeds", [3, ENOUGH])
def test_fewer_than_five_seeds_are_shown_themselves_without_an_interval(tmp_path, seeds):
    facts, infos = load_runs(runs_of(tmp_path, seeds))
    (record,) = evidence(facts, infos)
    found = record["Rel"]
    last = facts.probed.filter((pl.col("step") == 9) & (pl.col("axis") == "reliability"))
    last = last.filter(pl.col("scorer") == "teacher_forced")
    per = [float(np.mean(last.filter(pl.col("seed") == s)["score"].to_list())) for s in range(seeds)]
    assert found["mean"] == pytest.approx(np.mean(per)) and found["n"] == 9 * seeds
    assert ("low" in found) == (seeds == ENOUGH) and found["seeds"] == per
    assert record["seeds"] == list(range(seeds)) and record["edits"] == 9


def test_an_unfinished_seed_is_left_out_beside_finished_ones(tmp_path):
    """A sweep that goes on has one: its last panel is at another step."""
    begun = fake_run(tmp_path / "begun", "grace", 0.8, 3, steps=(1,))
    (begun / "DONE").unlink()
    whole, infos = finished_runs(*load_runs([*runs_of(tmp_path, 2), begun]))
    (record,) = evidence(whole, infos)
    assert record["seeds"] == [0, 1] and len(record["Rel"]["seeds"]) == 2
    alone, infos = finished_runs(*load_runs([begun]))
    assert evidence(alone, infos)[0]["edits"] == 1


def test_a_mean_over_seeds_counts_each_seed_once():
    frame = pl.DataFrame({"seed": [0, 0, 0, 1], "x": [0.0, 0.0, 0.0, 1.0]})
    assert over_seeds(frame, lambda part: float(part["x"].mean()))["mean"] == 0.5  # pyright: ignore[reportArgumentType]


def test_seconds_of_a_fit_come_from_the_run(tmp_path):
    folder = runs_of(tmp_path, 1)[0]
    (folder / "DONE").write_text(json.dumps({"wall_s": {"fit": 1.0, "simulate": 2.0}, "fit_wall_s": 600.0}))
    (record,) = evidence(*load_runs([folder]))
    assert record["fit (s)"]["mean"] == 600 and record["run (s)"]["mean"] == 3


def test_json_has_every_measure_and_the_list_prints_it(tmp_path):
    facts, infos = load_runs(runs_of(tmp_path, 2))
    records = evidence(facts, infos)
    path = tmp_path / "evidence.json"
    path.write_text(to_json(records, infos))
    (found,) = kept(path)["grace"]
    assert set(found) >= {*QUALITY, *COST} and found["fit (s)"]["mean"] is None and found["stream"] == ["toy"]
    lines = evidence_lines([{"name": "grace", "evidence": [found]}, {"name": "ft", "evidence": []}])
    assert f"{records[0]['Rel']['mean']:.2f}" in lines[1] and len(lines[0]) == len(lines[1])
    assert max(map(len, lines)) <= 100
    assert flat(records).height == len(QUALITY) + len(COST)


def test_what_ships_names_editors_and_holds_every_column():
    shipped = kept()
    assert set(shipped) <= set(editor_names())
    for row in (row for rows in shipped.values() for row in rows):
        assert set(MEASURES) <= set(row)
        assert all(0 <= row[name]["mean"] <= 1 for name in QUALITY if not math.isnan(row[name]["mean"] or math.nan))


def test_published_behaviour_is_held_against_the_runs(tmp_path):
    steps = (1, 10, 60)
    flat, falling = (
        fake_run(tmp_path / "a", "none", 1.0, steps=steps),
        fake_run(tmp_path / "b", "ft", 0.3, steps=steps),
    )
    best = fake_run(tmp_path / "c", "oracle", 1.0, steps=steps)
    found = {x.editor: x for x in expected(load_runs([flat, falling, best])[0])}
    assert list(found) == ["none", "oracle", "ft"], "claims of editors that were not run are left out"
    assert all(x.agrees for x in found.values()) and "right at once 1.00" in found["ft"].numbers


def test_runs_that_contradict_the_papers_are_said_to(tmp_path):
    steps = (1, 10, 60)
    names = {"none": 0.5, "oracle": 0.5, "ft": 1.0, "liveedit": 0.3, "serac": 1.0, "grace": 0.3}
    folders = [fake_run(tmp_path / name, name, keep, steps=steps) for name, keep in names.items()]
    found = expected(load_runs(folders)[0])
    assert len(found) == len(names) and not any(x.agrees for x in found)
    assert "surpassed by" in next(x.numbers for x in found if x.editor == "oracle")


def test_seeds_run_apart_join_into_the_table_of_all(tmp_path):
    """Quality as if all had been one report, costs as in the table named first."""
    folders = runs_of(tmp_path, ENOUGH)

    def table(folders):
        facts, infos = load_runs(folders)
        return json.loads(to_json(evidence(facts, infos), infos))

    first, second, whole = table(folders[:2]), table(folders[2:]), table(folders)
    (found,), (wanted,) = joined_evidence([first, second])["editors"], whole["editors"]
    for name in QUALITY:
        assert found[name]["n"] == wanted[name]["n"]
        for part, value in wanted[name].items():
            assert found[name][part] == pytest.approx(value, abs=1e-4, nan_ok=True), (name, part)
    assert found["seeds"] == wanted["seeds"] and {n: found[n] for n in COST} == {
        n: first["editors"][0][n] for n in COST
    }
    with pytest.raises(ValueError, match=r"seeds \[0, 1\] are in two"):
        joined_evidence([first, whole])
    with pytest.raises(ValueError, match="cannot be joined"):
        joined_evidence([first, second | {"stream": ["atlas"]}])
