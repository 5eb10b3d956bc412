"""Gains lie between a floor and a ceiling, and the one number of an editor is 0 for doing nothing."""

from __future__ import annotations

import math

import numpy as np
import pytest

from reports.numbers.gains import LOCALITY, SUCCESS, gain, harmonic, harmonics

NONE = {"Rel": 0.305, "T-Gen": 0.304, "M-Gen": 0.308, "T-Loc": 1.0, "M-Loc": 1.0}
ALL = dict.fromkeys(NONE, 1.0)


def test_doing_nothing_scores_0_and_so_does_changing_everything() -> None:
    assert harmonic(NONE, NONE) == harmonic(NONE, NONE, ALL) == 0.0
    assert harmonic(ALL | {"T-Loc": 0.0, "M-Loc": 0.0}, NONE) == 0.0
    assert harmonic(dict.fromkeys(NONE, 0.0), NONE) == 0.0, "worse than nothing is no less than 0"
    assert harmonic(ALL, NONE) == harmonic(ALL | {"Rel": 1.5}, NONE) == 1.0


def test_the_score_is_the_harmonic_mean_of_gain_and_locality_worked_by_hand() -> None:
    mine = {"Rel": 0.9, "T-Gen": 0.6, "M-Gen": 0.45, "T-Loc": 0.9, "M-Loc": 0.7}
    floor, ceiling = dict.fromkeys(SUCCESS, 0.3), {"Rel": 0.9, "T-Gen": 0.9, "M-Gen": 0.6}
    gained, kept = (1.0 + 0.5 + 0.5) / 3, 0.8
    assert harmonic(mine, floor, ceiling) == pytest.approx(2 * gained * kept / (gained + kept))


def test_what_was_not_asked_or_cannot_be_gained_is_left_out() -> None:
    mine = {"Rel": 0.65, "T-Gen": 0.9, "T-Loc": 1.0, "M-Loc": math.nan}
    floor = {"Rel": 0.3, "T-Gen": 0.3}
    assert harmonic(mine, floor, {"Rel": 1.0, "T-Gen": 0.3}) == pytest.approx(2 * 0.5 / 1.5)
    assert harmonic(mine, floor, {"Rel": 1.0}) == pytest.approx(2 * 0.5 / 1.5)
    assert math.isnan(harmonic(mine, {}, None)), "no floor is known"
    assert math.isnan(harmonic({"Rel": 1.0}, floor)), "no locality was asked"
    assert math.isnan(gain(1.0, 0.5, 0.5)) and math.isnan(gain(1.0, math.nan))


def test_many_at_once_are_as_each_alone_and_never_leave_0_to_1() -> None:
    rng = np.random.default_rng(0)
    many = {name: rng.uniform(-0.1, 1.1, 200) for name in (*SUCCESS, *LOCALITY)}
    many["T-Gen"][:50] = math.nan
    together = harmonics(many, NONE, {"Rel": 1.0, "T-Gen": 0.9, "M-Gen": 0.8})
    alone = [
        harmonic({n: float(v[i]) for n, v in many.items()}, NONE, {"Rel": 1.0, "T-Gen": 0.9, "M-Gen": 0.8})
        for i in range(200)
    ]
    assert np.allclose(together, alone) and ((together >= 0) & (together <= 1)).all()
