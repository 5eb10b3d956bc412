"""Trained editors: an interval over streams and trainings holds both, and one training is said to be one."""

from __future__ import annotations

import numpy as np
import pytest

from reports.numbers.growth import bytes_grown
from reports.statistics.fits import given, of_runs
from reports.statistics.seeds import half_width


def test_one_fit_is_given_and_its_interval_is_that_of_seeds() -> None:
    values = [0.5, 0.6, 0.7, 0.8, 0.9]
    one = of_runs(values, 100, range(5), [0] * 5)
    assert given([0] * 5) == "given one fit" and given([]) == "" and given([3, 1, 2]) == ""
    assert one["high"] - one["mean"] == pytest.approx(half_width(values)) and one["n"] == 100
    assert "low" not in of_runs(values[:4], 100, range(4), [0] * 4)
    assert of_runs(values, 100, range(5), [0, 1, 2, 3, 4]) == one, "each run has a seed and a fit of its own"


DESIGNS = {
    "every seed with every fit": [(s, f) for s in range(5) for f in range(3)],
    "seeds take turns with fits": [(s, s % 3) for s in range(5)],
    "each of its own": [(s, s) for s in range(5)],
}


@pytest.mark.parametrize("design", DESIGNS.values(), ids=DESIGNS)
@pytest.mark.parametrize("spreads", [(0.02, 0.02, 0.01), (0.03, 0.0, 0.01), (0.0, 0.03, 0.01)])
def test_the_interval_covers_what_other_streams_and_other_fits_would_give(design, spreads) -> None:
    rng, hits, n = np.random.default_rng(7), 0, 1500
    seeds, fits = zip(*design, strict=True)
    for _ in range(n):
        of_seed, of_fit = rng.normal(0, spreads[0], 9), rng.normal(0, spreads[1], 9)
        values = [0.7 + of_seed[s] + of_fit[f] + rng.normal(0, spreads[2]) for s, f in design]
        found = of_runs(values, 1, seeds, fits)
        hits += found["low"] <= 0.7 <= found["high"]
    assert hits / n >= 0.93  # of few fits rather too wide than too narrow


def test_bytes_are_a_fixed_part_and_a_slope() -> None:
    steps = np.array([1, 2, 5, 10, 100, 1000])
    assert bytes_grown(steps, np.full(6, 720_896.0)) == (720_896.0, pytest.approx(0, abs=1e-6)), "a changed matrix"
    fixed, each = bytes_grown(steps, 500.0 + 24_576.0 * steps)
    assert (fixed, each) == (pytest.approx(500), pytest.approx(24_576))
    fixed, each = bytes_grown(steps, 3844.0 * steps - 50.0 * (steps > 50))
    assert fixed == 0 and each == pytest.approx(3844, rel=1e-3), "never less than nothing"
    assert all(np.isnan(bytes_grown(np.array([5, 5]), np.array([1.0, 1.0]))))
