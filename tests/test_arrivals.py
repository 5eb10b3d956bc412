"""Arrival processes: their rate, their spread, their seeds, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest

from streams.arrivals import arrival_names, arrival_offsets, timetable
from streams.types import Edit, Query


@pytest.mark.parametrize("name", arrival_names())
def test_offsets_ascend_at_the_asked_rate_and_follow_their_seed(name) -> None:
    offsets = arrival_offsets(name, 20_000, 4.0, seed=7)
    assert (np.diff(offsets) >= 0).all() and offsets[0] >= 0
    # the mean of 20,000 exponential gaps is within 4/sqrt(20000) = 2.8 % of 1/rate
    assert offsets[-1] == pytest.approx(20_000 / 4.0, rel=0.029)
    assert np.array_equal(offsets[:50], arrival_offsets(name, 50, 4.0, seed=7))


def test_poisson_gaps_are_exponential_and_differ_between_seeds() -> None:
    gaps = np.diff(arrival_offsets("poisson", 20_000, 2.0, seed=1))
    assert gaps.std() / gaps.mean() == pytest.approx(1, abs=0.05)
    assert (gaps > 1).mean() == pytest.approx(np.exp(-2), abs=0.01)
    assert arrival_offsets("poisson", 1, 1.0, seed=1) != arrival_offsets("poisson", 1, 1.0, seed=2)


def test_a_wrong_name_option_or_rate_is_an_error_that_helps() -> None:
    with pytest.raises(ValueError, match="Did you mean poisson"):
        arrival_offsets("poison", 1)
    with pytest.raises(ValueError, match=r"arrivals\.burst: steady has no such option"):
        arrival_offsets("steady", 1, burst=2)
    with pytest.raises(ValueError, match="rate=0"):
        arrival_offsets("steady", 1, rate=0)


def test_a_timetable_refuses_what_does_not_fit() -> None:
    edits = [Edit(str(i), Query("?"), "a", "s") for i in range(2)]
    assert [a.at_s for a in timetable(edits, [0.5, 0.5])] == [0.5, 0.5]
    for moments in ([0.0], [2.0, 1.0], [-1.0, 1.0], [0.0, float("nan")]):
        with pytest.raises(ValueError):
            timetable(edits, moments)
