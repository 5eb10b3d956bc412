"""Degradation laws on curves that were made by one of them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from reports.analyses.laws import LAWS, aicc, fitted, forecast

STEPS = np.array([1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000])
EARLY = STEPS[STEPS <= 1000].astype(float)
TRUE = {
    "constant": lambda n: np.full(len(n), 0.8),
    "exponential": lambda n: 0.95 * np.exp(-n / 900),
    "power": lambda n: 0.95 * n**-0.12,
    "logistic": lambda n: 1 / (1 + np.exp(-(4 - 0.6 * np.log(n)))),
}


def made_up(name: str, seed: int, most: int = 2000) -> tuple[np.ndarray, np.ndarray]:
    """Scores (edits, panels): each edit has a strength of its own and is right while the law lies above it."""
    steps = STEPS[STEPS <= most]
    strength = np.random.default_rng(seed).random(most)
    right = (strength[:, None] < TRUE[name](steps.astype(float))).astype(float)
    return np.where(np.arange(1, most + 1)[:, None] <= steps, right, np.nan), steps


@pytest.mark.parametrize("name", LAWS)
def test_a_curve_without_noise_is_fitted_by_its_own_law(name: str) -> None:
    curve = TRUE[name](EARLY)[None]
    scores = {law: aicc(law, EARLY, curve, EARLY)[0] for law in LAWS}
    assert min(scores, key=scores.__getitem__) == name
    assert all(scores[law] > scores[name] + 4 for law in LAWS if law != name) or name == "constant"


def test_the_numbers_of_a_law_are_found_again() -> None:
    start, fall = fitted("power", EARLY, (0.95 * EARLY**-0.12)[None], EARLY)
    assert start[0] == pytest.approx(math.log(0.95), abs=1e-3)
    assert fall[0] == pytest.approx(0.12 * math.log(1000), abs=1e-3)


def test_aicc_is_the_formula_worked_out_by_hand() -> None:
    curve = np.array([[0.8, 0.6, 0.8, 0.6, 0.8, 0.6]])  # mean .7, mean square .01, n = 6, k = 2
    got = aicc("constant", np.arange(1.0, 7), curve, np.ones(6))[0]
    assert got == pytest.approx(6 * math.log(0.01) + 4 + 12 / 3)
    assert aicc("power", np.arange(1.0, 5), curve[:, :4], np.ones(4))[0] == math.inf


@pytest.mark.parametrize("name", ["constant", "logistic", "power"])
def test_the_truth_lies_inside_as_often_as_it_is_said(name: str) -> None:
    inside = []
    for seed in range(40):
        scores, steps = made_up(name, seed)
        found = forecast(scores, steps, np.zeros(len(scores)), draws=120, seed=seed)
        assert found is not None and found.steps.tolist() == [2000]
        inside.append(found.low[0] - 1e-9 <= np.nanmean(scores[:, -1]) <= found.high[0] + 1e-9)
    assert np.mean(inside) >= 0.88


def test_a_cliff_after_the_fit_lies_outside() -> None:
    scores, steps = made_up("constant", 0)
    scores[:, steps == 2000] = np.where(np.isnan(scores[:, steps == 2000]), np.nan, 0.2)
    found = forecast(scores, steps, np.zeros(len(scores)))
    assert found is not None and found.low[0] > 0.2


def test_few_panels_say_nothing_and_a_short_run_is_not_checked() -> None:
    scores, steps = made_up("power", 0, most=1000)
    found = forecast(scores, steps, np.zeros(len(scores)), draws=20)
    assert found is not None and not len(found.steps) and not len(found.low)
    assert forecast(scores[:, :4], steps[:4], np.zeros(len(scores))) is None


def test_an_edit_that_was_never_asked_changes_nothing() -> None:
    scores, steps = made_up("power", 0, most=1000)
    more = np.vstack([scores, np.full((1, len(steps)), np.nan)])
    one, other = (forecast(s, steps, np.zeros(len(s)), draws=5) for s in (scores, more))
    assert one is not None and other is not None and one.law == other.law
