"""Cost against quality on made-up runs whose scores and sizes are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from runs_made_up import fake_run

from reports.analyses.pareto import equal_step, points, unbeaten
from reports.figures.pareto import cost_quality
from reports.table import load_runs

STEPS = (1, 5, 20)


def runs(tmp_path: Path, **kept: float) -> list[Path]:
    return [fake_run(tmp_path, editor, 1.0, first=first, steps=STEPS) for editor, first in kept.items()]


def test_nothing_done_scores_0_and_all_right_with_all_else_kept_scores_1(tmp_path: Path) -> None:
    facts, _ = load_runs(runs(tmp_path, none=0.0, grace=1.0))
    found = points(facts, 20)
    scores = dict(found.select("editor", "harmonic").rows())
    assert scores == {"none": 0.0, "grace": 1.0}
    assert dict(found.select("editor", "bytes an edit").rows()) == pytest.approx({"none": 0.0, "grace": 100.0})
    assert (found["query (ms)"] > 0).all()


def test_without_a_floor_nothing_is_drawn_and_the_caption_says_so(tmp_path: Path) -> None:
    facts, _ = load_runs(runs(tmp_path, grace=1.0))
    drawn = cost_quality(facts)
    assert drawn.figure is None and "`none`" in drawn.caption


def test_editors_are_compared_after_equally_many_edits(tmp_path: Path) -> None:
    short = fake_run(tmp_path, "rag", 1.0, steps=(1, 5))
    facts, _ = load_runs([*runs(tmp_path, none=0.0, grace=1.0), short])
    assert equal_step(facts) == 5


def test_a_point_is_unbeaten_where_no_other_is_as_cheap_and_as_good() -> None:
    rng = np.random.default_rng(0)
    cost, quality = rng.integers(0, 6, 40).astype(float), rng.integers(0, 6, 40) / 6
    brute = [
        not any((c <= a and q >= b) and (c < a or q > b) for c, q in zip(cost, quality, strict=True))
        for a, b in zip(cost, quality, strict=True)
    ]
    assert unbeaten(cost, quality).tolist() == brute
    assert not unbeaten(np.array([np.nan]), np.array([1.0]))[0]


def test_the_published_and_the_tuned_setting_are_joined(tmp_path: Path) -> None:
    labelled = [fake_run(tmp_path / x, "grace", 1.0, label=f"grace ({x})", options=f", radius = {i}.0", steps=STEPS)
                for i, x in enumerate(("published", "tuned"), 1)]  # fmt: skip
    facts, _ = load_runs([*runs(tmp_path, none=0.0), *labelled])
    figure = cost_quality(facts).figure
    assert figure is not None
    grey = [line for line in figure.axes[0].get_lines() if line.get_color() == "#999999"]
    assert len(grey) == 1 and len(grey[0].get_xdata()) == 2  # pyright: ignore[reportArgumentType]
