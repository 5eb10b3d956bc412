"""Fitted service times: the law that made the samples comes back, and the fit's error is what it says."""

from __future__ import annotations

import re

import numpy as np
import pytest

from lifelong.cli.replay import fidelity_text
from lifelong.simulation.service_times import Samples, draw_services, fidelity, fit_to


def samples(n: int, seed: int, spread: float = 0.3, entry_s: float = 1e-6) -> Samples:
    rng = np.random.default_rng(seed)
    items, bank = rng.integers(1, 9, n), rng.integers(0, 100_000, n)
    mean = 0.02 + 0.01 * items + entry_s * bank
    return Samples(mean * rng.lognormal(-(spread**2) / 2, spread, n), items, bank)


def test_a_fit_gives_back_what_made_the_samples() -> None:
    found = fit_to(samples(5000, 0))
    assert (found.constant_s, found.item_s, found.entry_s) == pytest.approx((0.02, 0.01, 1e-6), rel=0.1)


@pytest.mark.parametrize("entry_s", [0.0, 1e-6])
def test_what_was_held_out_is_predicted_within_a_tenth(entry_s: float) -> None:
    known, unseen = samples(4000, 1, entry_s=entry_s), samples(4000, 2, entry_s=entry_s)
    found = fidelity("edit", fit_to(known), unseen)
    assert len(found.measured_s) == 4000 and found.mean_error < 0.1 and found.p99_error < 0.1


def test_a_p99_is_told_with_its_interval_or_not_at_all() -> None:
    """Four samples beyond it say nothing of it."""
    many, few = (fidelity_text(fidelity("edit", fit_to(samples(4000, 1)), samples(n, 2))) for n in (4000, 400))
    assert re.search(
        r"n=4000: mean [\d.]+ ms \([\d.]+% off\), p99 [\d.]+ \[[\d.]+, [\d.]+\] ms \([\d.]+% off\)$", many
    )
    assert "n=400: mean" in few and few.endswith("too few for a p99")


def test_a_fit_of_another_machine_is_found_out() -> None:
    slow = samples(1000, 2)
    found = fidelity("edit", fit_to(samples(1000, 1)), Samples(2 * slow.wall_s, slow.items, slow.bank_len))
    assert found.mean_error == pytest.approx(0.5, abs=0.05)


def test_what_never_varied_is_not_fitted() -> None:
    one = Samples(np.array([0.1, 0.3]), np.ones(2, int), np.full(2, 500))
    found = fit_to(one)
    assert (found.item_s, found.entry_s) == (0, 0) and found.constant_s == pytest.approx(0.2)


def test_drawn_services_have_the_fitted_mean_and_spread() -> None:
    known = samples(4000, 1)
    drawn = draw_services(
        {"route": fit_to(known), "answer": fit_to(known)}, ("route", "answer"), np.ones(20_000), 0, "queries"
    )
    at_bank = drawn.constant_s + drawn.entry_s * 50_000
    assert at_bank.mean(0) == pytest.approx([0.08, 0.08], rel=0.05)
    assert at_bank.std(0) / at_bank.mean(0) == pytest.approx([0.3, 0.3], rel=0.1)
    assert np.corrcoef(at_bank.T)[0, 1] == pytest.approx(0, abs=0.03)


def test_no_samples_are_an_error() -> None:
    with pytest.raises(ValueError, match="nothing to fit"):
        fit_to(Samples(np.zeros(0), np.zeros(0), np.zeros(0)))
