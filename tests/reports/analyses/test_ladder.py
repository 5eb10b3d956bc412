"""Which curves fall together, on made-up models whose forgetting depends on edits, on density, or on neither."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from runs_made_up import fake_run

from lifelong.log import LogError
from reports.analyses.ladder.backbone import LLAVA_7B, Backbone, budgets, widened
from reports.analyses.ladder.orders import CARRIES, TURNED, carried, heights, orders, ranked_alike
from reports.analyses.ladder.points import BY_BYTES, BY_EDITS, BY_WEIGHTS, Rung, ladder_points
from reports.analyses.ladder.together import NOT_TOLD_APART, distances, distances_of, fall_together
from reports.figures.ladder import ladder_curves
from reports.ladder_page import in_short, ladder_document, load_rungs, write_ladder
from reports.numbers.evidence import SCORE

SIZES = (1_200_000, 4_900_000, 19_400_000)
STEPS = (1, 10, 20, 50, 100, 200, 500, 1000)


def made(
    law: Callable[[float, float, np.random.Generator], float], seeds: int = 5, entry: float = 100.0
) -> pl.DataFrame:
    """Points of one editor whose gain is a law of edits and of millions of weights, with a bank of entries."""
    rows = []
    for size in SIZES:
        for seed in range(seeds):
            rng = np.random.default_rng(seed)  # noise of a stream, which all models share
            for step in STEPS:
                gain = law(step, size / 1e6, rng)
                about = ("x", "reliability", f"{size}", size, seed, gain, 0.0, gain, False)
                rows.append((*about, float(step), step / (size / 1e6), 100.0 * step * size**0.5 / (4.0 * size)))
    names = ("editor", "measure", "model", "editable_weights", "seed", "value", "floor", "gain", "sampled")
    return pl.DataFrame(rows, schema=[*names, BY_EDITS, BY_WEIGHTS, BY_BYTES], orient="row")


def verdict(points: pl.DataFrame) -> dict:
    return fall_together(distances(points)).row(0, named=True)


def falling(x: float) -> float:
    return float(np.clip(1 - 0.3 * np.log10(max(x, 0.1) / 0.1), 0, 1))


def test_curves_of_edits_alone_fall_together_by_edits() -> None:
    found = verdict(made(lambda n, w, rng: falling(n) + rng.normal(0, 0.01)))
    assert found["nearer"] == BY_EDITS and found["high"] < 0 and found[BY_EDITS] < 0.02 < found[BY_WEIGHTS]


def test_curves_of_edits_per_weight_alone_fall_together_by_density() -> None:
    found = verdict(made(lambda n, w, rng: falling(n / w) + rng.normal(0, 0.01)))
    assert found["nearer"] == BY_WEIGHTS and found["low"] > 0 and found[BY_WEIGHTS] < 0.03 < found[BY_EDITS]


def test_curves_of_neither_are_not_told_apart() -> None:
    flat = verdict(made(lambda n, w, rng: 0.9))
    assert flat["nearer"] == NOT_TOLD_APART and flat["difference"] == 0
    chance = np.random.default_rng(3)
    assert verdict(made(lambda n, w, _: chance.uniform()))["nearer"] == NOT_TOLD_APART


def test_fewer_than_five_seeds_name_no_axis_and_show_each() -> None:
    found = verdict(made(lambda n, w, rng: falling(n), seeds=2))
    assert found["nearer"] == "not told apart (2 seeds)" and found["low"] is None
    assert len(found["each"].split()) == 2


def test_a_bank_that_does_not_grow_is_no_axis() -> None:
    points = made(lambda n, w, rng: falling(n)).with_columns(pl.lit(0.5).alias(BY_BYTES))
    found = verdict(points)
    assert np.isnan(found[BY_BYTES]) and found["nearer"] == BY_EDITS


def test_a_seed_that_one_model_lacks_does_not_count() -> None:
    points = made(lambda n, w, rng: falling(n))
    gone = (pl.col("seed") == 4) & (pl.col("editable_weights") == SIZES[0])
    assert verdict(points.filter(~gone))["seeds"] == 4


def test_curves_shifted_by_a_factor_are_as_far_off_as_computed_by_hand() -> None:
    """Values fall by .5 a decade; one model is ten times as large, so that its density is a tenth."""
    x, y = np.array([10.0, 100.0, 1000.0]), np.array([1.0, 0.5, 0.0])
    both = [{"gain": y, "a": x, "b": x}, {"gain": y, "a": x, "b": x / 10}]
    found = distances_of(both, both, ["a", "b"])
    assert found == {"a": pytest.approx(0, abs=1e-12), "b": pytest.approx(0.25)}


def test_chance_alone_names_an_axis_in_one_case_of_twenty_at_most() -> None:
    """Retention of .8 on every model, of edits that are as hard on one model as on the next, and of others."""
    rng = np.random.default_rng(0)
    steps, laps = (10, 20, 50, 100, 200, 500, 1000), 150
    for alike in (0.0, 0.8):
        named = 0
        for _ in range(laps):
            hard = rng.normal(size=(5, 1, 1000))
            luck = np.sqrt(alike) * hard + np.sqrt(1 - alike) * rng.normal(size=(5, len(SIZES), 1000))
            kept = {n: (luck[:, :, :n] < 0.84).mean(-1) for n in steps}
            rows = [("x", "reliability", str(size), seed, float(kept[n][seed, i]), float(n), n / (size / 1e6), 1.0)
                    for i, size in enumerate(SIZES) for seed in range(5) for n in steps]  # fmt: skip
            names = ("editor", "measure", "model", "seed", "gain", BY_EDITS, BY_WEIGHTS, BY_BYTES)
            named += not verdict(pl.DataFrame(rows, schema=names, orient="row"))["nearer"].startswith(NOT_TOLD_APART)
        assert named <= 0.08 * laps  # 12; of 5 % the 97.5 % quantile is 13


def test_axes_and_gains_are_those_worked_out_by_hand(tmp_path: Path) -> None:
    rungs = ladder(tmp_path)
    points = ladder_points(rungs)
    row = points.filter(
        (pl.col("editor") == "grace") & (pl.col("measure") == "reliability") & (pl.col(BY_EDITS) == 20)
    )
    small = row.filter(pl.col("editable_weights") == 1_000_000).row(0, named=True)
    assert (small[BY_WEIGHTS], small[BY_BYTES]) == (20.0, 100 * 20 / 4_000_000)
    assert (small["value"], small["floor"], small["gain"]) == (1.0, 0.0, 1.0)
    large = row.filter(pl.col("editable_weights") == 4_000_000).row(0, named=True)
    assert (large[BY_WEIGHTS], large[BY_BYTES]) == (5.0, 100 * 20 / 16_000_000)
    assert "none" not in ladder_points(rungs)["editor"]


def test_gains_are_taken_on_all_models_or_on_none(tmp_path: Path) -> None:
    folders = runs(tmp_path)
    bare = [folder for folder in folders if not (folder.name == "none" and folder.parent.name.startswith("0"))]
    points = ladder_points(load_rungs(bare))
    assert points["floor"].null_count() == len(points) and points["gain"].equals(points["value"])
    one_seed = [folder for folder in folders if not (folder.name == "none" and folder.parent.name == "0-1")]
    gone = ladder_points(load_rungs(one_seed)).filter((pl.col("measure") == "reliability") & pl.col("gain").is_nan())
    assert set(gone.select("editable_weights", "seed").rows()) == {(1_000_000, 1)}


def ladder(folder: Path, stream: str = "one") -> list[Rung]:
    return load_rungs(runs(folder, stream))


def runs(folder: Path, stream: str = "one") -> list[Path]:
    out = []
    for i, size in enumerate((1_000_000, 4_000_000)):
        for seed in (0, 1):
            said = {
                "model_size": {"editable_weights": size, "model_bytes": 4 * size, "width": 128 * (i + 1)},
                "digests": {"model": f"m{i}", "stream": stream if i else "one"},
            }
            at = folder / f"{i}-{seed}"
            out += [fake_run(at, "none", 1.0, seed, steps=(1, 10, 20), first=0.0, said=said),
                    fake_run(at, "grace", 1.0, seed, steps=(1, 10, 20), said=said)]  # fmt: skip
    return out


def test_models_that_were_asked_different_streams_are_refused(tmp_path: Path) -> None:
    with pytest.raises(LogError, match="different streams"):
        ladder(tmp_path, stream="another")


def test_runs_on_one_model_and_runs_that_note_no_size_are_refused(tmp_path: Path) -> None:
    with pytest.raises(LogError, match="on 1 model"):
        load_rungs(runs(tmp_path)[:2])
    with pytest.raises(LogError, match="another version"):
        load_rungs([fake_run(tmp_path / "old", "none", 1.0)])


def test_the_page_is_written_whole_with_its_pictures(tmp_path: Path) -> None:
    page = write_ladder(runs(tmp_path), tmp_path / "out")
    text = page.read_text()
    for picture in ("reliability", "generality", "locality"):
        assert (
            f"(ladder-{picture}.png)" in text and (tmp_path / "out" / f"ladder-{picture}.png").stat().st_size > 5000
        )
    assert (tmp_path / "out" / "ladder.csv").read_text().startswith("editor,measure,model")
    assert "6,476 million (14.1 GB)" in text
    assert "there is no order to carry over" in text  # of one editor beside the unedited model


def test_an_order_that_two_models_tell_carries_over_and_one_that_they_tell_otherwise_is_turned_round(
    tmp_path: Path,
) -> None:
    """On one model ft keeps least; on the other it keeps most, and two others are in the same order on both."""
    right = {"a": {"grace": 0.9, "rag": 0.5, "ft": 0.1}, "b": {"grace": 0.8, "rag": 0.3, "ft": 0.95}}
    folders = []
    for i, (model, shares) in enumerate(right.items()):
        size = 1_000_000 * (i + 1)
        said = {"model_size": {"editable_weights": size, "model_bytes": 4 * size, "width": 8},
                "digests": {"model": model, "stream": "one"}}  # fmt: skip
        for name, share in ({"none": 0.0} | shares).items():
            folders.append(fake_run(tmp_path / model, name, 1.0, steps=(400,), first=share, said=said))
    rungs = load_rungs(folders)
    found = {(r["editor"], r["beside"]): r for r in orders(rungs).iter_rows(named=True) if r["measure"] == "Rel"}
    told = {pair: row["verdict"] for pair, row in found.items()}
    assert {frozenset(pair): verdict for pair, verdict in told.items()} == {
        frozenset({"grace", "rag"}): CARRIES, frozenset({"grace", "ft"}): TURNED, frozenset({"rag", "ft"}): TURNED,
    }  # fmt: skip
    alike = ranked_alike(heights(rungs), orders(rungs)).filter(pl.col("measure") == "Rel").row(0, named=True)
    assert (alike["n"], alike[CARRIES], alike[TURNED]) == (3, 1, 2)
    assert np.isnan(alike["rho"])  # of three editors no ranking is tested
    text = ladder_document(rungs, ladder_points(rungs))
    assert "Every editor has the same options on all models." in text
    assert "Which orderings carry over" in text and "none" not in set(heights(rungs)["editor"])


def test_a_page_says_first_who_is_best_on_each_model_and_which_orders_carry_over() -> None:
    """On the small model grace is told apart from ft alone, on the large one ft from both."""
    values = {("small", "grace"): 0.9, ("small", "rag"): 0.88, ("small", "ft"): 0.3,
              ("large", "grace"): 0.7, ("large", "rag"): 0.6, ("large", "ft"): 0.8}  # fmt: skip
    high = pl.DataFrame([(SCORE, model, editor, value) for (model, editor), value in values.items()],
                        schema=["measure", "model", "editor", "value"], orient="row")  # fmt: skip
    winners = {("grace", "rag"): ("", ""), ("grace", "ft"): ("grace", "ft"), ("rag", "ft"): ("rag", "ft")}
    rows = [(SCORE, "small", "large", *pair, *better, carried(*better)) for pair, better in winners.items()]
    told = pl.DataFrame(rows,
                        schema=["measure", "model", "other", "editor", "beside", "better", "other_better", "verdict"],
                        orient="row")  # fmt: skip
    assert in_short(high, told) == [
        "- Best on small: grace, with a score of 0.900; not told apart from it: rag (0.880).",
        "- Best on large: ft, with a score of 0.800, ahead of every other.",
        "- small and large: of 3 pairs of editors both tell the order of 2; "
        "0 of these orders carry over, 2 are turned round.",
    ]


def test_options_that_differ_between_models_are_told(tmp_path: Path) -> None:
    rungs = ladder(tmp_path)
    other = [replace(run, made=dict(run.made) | {"editor.radius": "7"}) for run in rungs[1].runs]
    text = ladder_document([rungs[0], replace(rungs[1], runs=other)], ladder_points(rungs))
    assert "radius=7" in text and "Options that differ" in text


def test_a_figure_draws_one_line_a_model_in_both_rows() -> None:
    drawn = ladder_curves(made(lambda n, w, rng: falling(n)), "reliability")
    assert drawn.figure is not None and len(drawn.figure.axes) == 2
    for ax in drawn.figure.axes:
        assert len({line.get_label() for line in ax.get_lines() if not str(line.get_label()).startswith("_")}) == 3


def test_the_backbone_is_as_large_as_its_paper_says() -> None:
    assert LLAVA_7B.model_bytes / 2 == pytest.approx(7.06e9, rel=0.005)
    assert Backbone("x", 2, 3, 5, 7, 2).editable_weights == 5 * (16 + 18)
    assert Backbone("x", 2, 3, 5, 7, 2).model_bytes == 2 * (5 * 34 + 7)


@pytest.mark.parametrize("widths", [(128, 256), (128, 256, 512)])
def test_sizes_of_vectors_and_matrices_are_told_from_few_widths(widths: tuple[int, ...]) -> None:
    laws = {
        "1": lambda w: 640.0,
        "width": lambda w: 15.0 * w,
        "width squared": lambda w: 2.75 * w**2,
        "1 + width": lambda w: 8192 + 64.0 * w,
        "width + width squared": lambda w: 400.0 * w + 3.0 * w**2,
    }
    for grows, law in list(laws.items())[: 4 if len(widths) == 2 else 5]:  # the last needs three
        assert widened({w: law(w) for w in widths}, 4096) == (grows, pytest.approx(law(4096)))


def test_what_is_kept_is_scaled_by_what_it_grows_with_on_the_models(tmp_path: Path) -> None:
    """A bank of 100 bytes an edit on both models; then a matrix as large as the square of each model's width."""
    rungs, small = ladder(tmp_path), Backbone("x", 512, 3, 5, 7, 2)
    row = budgets(rungs, small).row(0, named=True)
    assert (row["editor"], row["edits"], row["numbers"]) == ("grace", 20, 25.0)
    assert row["grows"] == "1" and row["there_numbers"] == pytest.approx(25)
    assert row["share"] == 100 / 4_000_000 and row["there_share"] == pytest.approx(100 / small.model_bytes)
    matrices = []
    for rung in rungs:
        gauged = rung.facts.gauged.with_columns(pl.lit(4.0 * rung.width**2).alias("bank_bytes"))
        matrices.append(replace(rung, facts=replace(rung.facts, gauged=gauged)))
    row = budgets(matrices, small).filter(pl.col("editor") == "grace").row(1, named=True)
    assert row["numbers"] == 256**2 / 20 and row["grows"] == "width squared"
    assert row["there_numbers"] == pytest.approx(512**2 / 20)
    assert np.isnan(budgets(rungs[:1], small)["there_share"][0])
