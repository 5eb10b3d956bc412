"""Verdicts on decay are right of nested panels: the same edits are asked again, and stay wrong or right."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from runs_made_up import CURVES

from lifelong.studies.stress.limits import rungs
from reports.analyses.decay import decay

STEPS = rungs(8, 500, 2)
DRAWS = 100


def nested(rng: np.random.Generator, course: Callable[[np.ndarray], np.ndarray], lasting: float) -> list[float]:
    """Retention at each panel; an edit's luck is that of the panel before, or else (1 - `lasting`) drawn anew."""
    luck = rng.random(STEPS[-1])
    own = (np.where(rng.random(step) < lasting, luck[:step], rng.random(step)) for step in STEPS)
    return [float(np.mean(u < course(np.array([step / STEPS[-1]]))[0])) for step, u in zip(STEPS, own, strict=True)]


def lost_at_a_steady_rate(rng: np.random.Generator, half: float) -> list[float]:
    """Retention where every edit is lost for good at some age; half of them before `half` of the stream."""
    born = np.arange(STEPS[-1])
    life = rng.exponential(half * STEPS[-1] / np.log(2), STEPS[-1])
    return [float(np.mean(life[:step] > step - born[:step])) for step in STEPS]


def kinds(panels: Callable[[], list[float]]) -> Counter[str]:
    return Counter(decay(STEPS, panels(), STEPS).kind for _ in range(DRAWS))


@pytest.mark.parametrize("lasting", [0.0, 0.5, 0.9, 1.0])
def test_a_flat_retention_decays_in_no_more_than_five_percent_of_nested_panels(lasting: float) -> None:
    rng = np.random.default_rng(int(10 * lasting))
    found = kinds(lambda: nested(rng, CURVES["flat"], lasting))
    assert found["none"] >= 94 and found["catastrophic"] <= 2


@pytest.mark.parametrize("name", ["straight", "logarithm", "exponential"])
def test_gradual_decay_is_no_catastrophe_where_edits_stay_wrong(name: str) -> None:
    rng = np.random.default_rng(1)
    found = kinds(lambda: nested(rng, CURVES[name], 0.9))
    assert found["catastrophic"] <= 5 and found["gradual"] >= 85


@pytest.mark.parametrize("half", [0.05, 0.3, 1.0])
def test_edits_lost_at_a_steady_rate_are_no_catastrophe(half: float) -> None:
    rng = np.random.default_rng(2)
    found = kinds(lambda: lost_at_a_steady_rate(rng, half))
    assert found["catastrophic"] <= 5 and found["gradual"] >= 95


@pytest.mark.parametrize("name", ["drop", "drop_from_a_slope", "bend", "early_drop"])
def test_a_catastrophe_is_found_where_edits_stay_wrong(name: str) -> None:
    rng = np.random.default_rng(3)
    assert kinds(lambda: nested(rng, CURVES[name], 0.9))["catastrophic"] >= 95


def test_panels_of_the_very_same_edits_are_compared_too() -> None:
    steps = [100, 200, 300, 400, 500, 600]
    assert decay(steps, [0.9, 0.9, 0.9, 0.2, 0.2, 0.2], [80] * 6).kind == "catastrophic"
    assert decay(steps, [0.9] * 6, [80] * 6).kind == "none"
