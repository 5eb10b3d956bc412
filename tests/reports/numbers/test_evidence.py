"""The evidence table: means over seeds, Student's interval from five on, and the list of editors that shows it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import scipy.stats
from runs_made_up import fake_run

from lifelong.cli.listed import evidence_lines
from lifelong.editing.find import editor_names
from lifelong.log import RunLog
from lifelong.running.catalog import shipped_evidence as kept
from reports.numbers.axes import heading
from reports.numbers.evidence import COST, QUALITY, evidence, flat, to_json
from reports.numbers.expected import AGREES, CLAIMS, DIFFERS, expected
from reports.numbers.joined import joined_evidence
from reports.statistics.seeds import ENOUGH, T95, half_width, over_seeds
from reports.table import finished_runs, load_runs


def runs_of(folder: Path, seeds: int) -> list[Path]:
    return [fake_run(folder / str(seed), "grace", 0.8, seed, steps=(1, 9)) for seed in range(seeds)]


def test_the_interval_is_students():
    values = np.random.default_rng(0).normal(size=7).tolist()
    low, high = scipy.stats.t.interval(0.95, 6, np.mean(values), scipy.stats.sem(values))
    assert 2 * half_width(values) == pytest.approx(high - low, rel=1e-3)
    assert scipy.stats.t.ppf(0.975, np.arange(1, 1 + len(T95))) == pytest.approx(T95, abs=1e-3)


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
    RunLog.open(folder).finish({"wall_s": {"fit": 1.0, "simulate": 2.0}, "fit_wall_s": 600.0})
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


def test_what_ships_names_editors_and_holds_the_five_metrics():
    shipped = kept()
    assert set(shipped) <= set(editor_names())
    for row in (row for rows in shipped.values() for row in rows):
        told = [row[name]["mean"] for name in ("Rel", "T-Gen", "M-Gen", "T-Loc", "M-Loc")]
        assert all(mean is None or 0 <= mean <= 1 for mean in told)


FEW = [("reliability", "edit", "image"), ("generality", "template", "text"), ("generality", "seen", "image"),
       ("locality", "far", "image")]  # fmt: skip


def claims(folder: Path, keeps: Mapping[str, float], steps=(1, 10, 1000), **said: Any) -> dict[str, Any]:
    told: dict[str, Any] = {"probes": FEW, "samples": 0, "on": ("atlas", "atlas")} | said
    folders = [fake_run(folder / editor, editor, keep, steps=steps, **told) for editor, keep in keeps.items()]
    return {x.editor: x for x in expected(*load_runs(folders))}


def test_published_behaviour_is_held_against_the_runs(tmp_path):
    found = claims(tmp_path, {"none": 1.0, "ft": 0.9, "oracle": 1.0})
    assert list(found) == ["none", "oracle", "ft"], "claims of editors that were not run are left out"
    assert all(x.verdict == AGREES for x in found.values()) and "right at once 1.000" in found["ft"].numbers


def test_runs_that_contradict_the_papers_are_said_to(tmp_path):
    found = claims(tmp_path, {"none": 0.9, "oracle": 0.98, "ft": 1.0, "liveedit": 0.9, "serac": 1.0, "grace": 1.0})
    assert len(found) == 6 and {x.verdict for x in found.values()} == {DIFFERS}
    assert "surpassed by" in next(x.numbers for x in found.values() if x.editor == "oracle")


def test_a_setting_is_held_against_the_like_setting_of_another_editor(tmp_path):
    """RECIPE falls behind LiveEdit as published, and not as tuned, where LiveEdit is as bad."""
    told: dict[str, Any] = {"probes": FEW, "samples": 0, "steps": (1, 10, 1000), "on": ("atlas", "atlas")}
    keeps = {"liveedit (published)": 1.0, "liveedit (tuned)": 0.9, "recipe (published)": 0.9, "recipe (tuned)": 0.9}
    folders = [
        fake_run(tmp_path / label, label.split()[0], keep, label=label, **told) for label, keep in keeps.items()
    ]
    said = {x.editor: x.numbers for x in expected(*load_runs(folders)) if x.editor.startswith("recipe")}
    theirs = {label: float(re.findall(r"liveedit's ([\d.]+)", words)[0]) for label, words in said.items()}
    assert theirs["recipe (published)"] == 1 and theirs["recipe (tuned)"] < 0.5


def test_too_few_edits_a_made_up_model_or_nothing_learnt_are_no_verdict(tmp_path):
    keeps = {"none": 1.0, "ft": 0.9, "liveedit": 1.0}
    short = claims(tmp_path / "short", keeps, steps=(1, 10, 200))
    assert [short[e].verdict for e in keeps] == [AGREES, *["not tested: 200 of 1,000 edits"] * 2]
    toys = claims(tmp_path / "toys", keeps, on=("tiny", "toy"))
    assert toys["ft"].verdict == "not tested: model tiny is made up" and toys["none"].verdict == AGREES
    never = claims(tmp_path / "never", {"ft": 1.0}, first=0.0)
    assert never["ft"].verdict == "cannot tell: no edit was ever right at once"
    assert claims(tmp_path / "one", {"none": 1.0}, steps=(9,))["none"].verdict == "not tested: 1 panel"


def test_a_file_of_a_shipped_name_is_held_to_no_claim(tmp_path):
    folder = fake_run(tmp_path, "mine/ft.py", 0.9, label="ft", steps=(1, 9))
    facts, runs = load_runs([folder])
    assert facts.editors == ["ft"] and expected(facts, runs) == []


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


def test_a_claim_is_bounded_half_way_between_the_papers_number_and_what_would_contradict_it():
    bounds = {(c.editor, c.expected): (c.published + c.otherwise) / 2 for c in CLAIMS if c.edits}
    assert bounds["ft", "forgets within 1,000 edits"] == pytest.approx((71.39 / 93.88 + 1) / 2)
    assert bounds["liveedit", "stays flat to 1,000 edits"] == pytest.approx((92.93 / 94.28 + 85.57 / 89.33) / 2)
    assert bounds["serac", "routes by text: loses modal locality"] == pytest.approx((0.1569 - 0.9643) / 2)
    forgets, flat = (c for c in CLAIMS if c.editor in ("ft", "liveedit"))
    assert forgets.holds(0.87) and not forgets.holds(0.89) and flat.holds(1.0) and not flat.holds(0.96)


QUESTIONS = [
    ("locality", "far", "image", 1.0), ("locality", "near", "image", 0.0), ("locality", "same-image", "image", 0.5),
    ("locality", "text", "text", 1.0), ("locality", "near", "text", 0.25), ("portability", "hop", "text", 0.0),
    ("portability", "image", "image", 1.0), ("general", "text", "text", 0.75),
]  # fmt: skip


def test_papers_locality_holds_no_hard_question_and_a_hop_no_picture(tmp_path):
    """Each kind has a score of its own here: a mean that pools two would show."""
    folder = fake_run(tmp_path, "grace", 1.0, steps=(1,), probes=[q[:3] for q in QUESTIONS])
    facts, infos = load_runs([folder])
    asked = pl.col("axis") + "/" + pl.col("variant") + "/" + pl.col("modality")
    score = asked.replace_strict({"/".join(q[:3]): q[3] for q in QUESTIONS})
    tokens = facts.probed.filter(pl.col("scorer") == "teacher_forced")
    told = facts.probed.with_columns(score=score)
    published = {"locality_top1_all": score / 4, "locality_top10_all": score / 2}
    named = {name: pl.lit(name).cast(pl.Categorical) for name in published}
    others = [tokens.with_columns(scorer=named[name], score=share) for name, share in published.items()]
    probed = pl.concat([told, *others])
    (record,) = evidence(replace(facts, probed=probed), infos)
    wanted = {"T-Loc": 1.0, "M-Loc": 1.0, "T-Loc all": 0.25, "M-Loc top-10": 0.5, "near": 0.0, "same image": 0.5}
    wanted |= {"near name": 0.25, "one hop": 0.0, "by picture": 1.0, "general": 0.75}
    assert {name: record[name]["mean"] for name in wanted} == wanted
    assert "top-1 on answer tokens" in heading("M-Loc") and "top-10" in heading("M-Loc top-10")


def fitted(folder: Path, seed: int, fit: int) -> Path:
    return fake_run(
        folder / f"{seed}-{fit}", "liveedit", 0.9, seed, "liveedit", steps=(1, 4), fit=fit,
        said={"digests": {"fit": f"f{fit}"}},
    )  # fmt: skip


def test_one_training_is_said_to_be_one_and_three_are_in_the_interval(tmp_path):
    (one,) = evidence(*load_runs([fitted(tmp_path / "one", seed, 0) for seed in range(5)]))
    assert (one["given"], one["fits"]) == ("given one fit", [0] * 5) and one["editor"] == "liveedit"
    (turns,) = evidence(*load_runs([fitted(tmp_path / "turns", seed, seed % 3) for seed in range(5)]))
    assert (turns["given"], turns["fits"], turns["seeds"]) == ("", [0, 1, 2, 0, 1], list(range(5)))
    crossed = [fitted(tmp_path / "all", seed, fit) for seed in range(5) for fit in range(3)]
    facts, infos = load_runs(crossed)
    assert facts.editors == [f"liveedit fit.seed={fit}" for fit in range(3)], "no two runs of one stream are averaged"
    (record,) = evidence(facts, infos)
    assert record["editor"] == "liveedit" and record["given"] == "" and len(record["Rel"]["seeds"]) == 15
    for found in (one, turns, record):
        assert found["Rel"]["low"] < found["Rel"]["mean"] < found["Rel"]["high"]
    (plain,) = evidence(*load_runs(runs_of(tmp_path / "none", 2)))
    assert plain["fits"] == [] and plain["given"] == ""
