"""Clocks: what they charge, that a resumed one goes on exactly, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest

from lifelong.clock import ClockError, Cost, MeasuredClock, ModelledClock, ReplayedClock, load_clock
from lifelong.editor import State
from lifelong.log import Edited, RunLog, Timed


def test_a_modelled_service_costs_a_constant_and_a_share_per_item_and_entry() -> None:
    clock = load_clock("modelled", batch_s=1.0, edit_s=0.5, entry_s=0.01, remove_s=0.2)
    assert clock.service_s("edit", 4, 100, None) == pytest.approx(4.0)
    assert clock.service_s("remove", 1, 100, None) == 0.2
    assert not clock.measures


def test_exponential_services_have_the_right_mean_and_do_not_depend_on_other_operations() -> None:
    costs = {"edit": Cost(2.0), "remove": Cost(1.0)}
    one, other = (ModelledClock(costs, distribution="exponential", seed=3) for _ in range(2))
    other.service_s("remove", 1, 0)
    draws = np.array([one.service_s("edit", 1, 0) for _ in range(10_000)])
    # standard error of the mean: 2 / sqrt(10000) = 0.02
    assert draws.mean() == pytest.approx(2.0, abs=0.08) and draws.std() == pytest.approx(2.0, abs=0.12)
    assert [other.service_s("edit", 1, 0) for _ in range(5)] == draws[:5].tolist()


def test_a_resumed_clock_goes_on_exactly() -> None:
    clock = ModelledClock({"edit": Cost(1.0)}, distribution="exponential", seed=1)
    clock.service_s("edit", 1, 0)
    later = ModelledClock({"edit": Cost(1.0)}, distribution="exponential", seed=1)
    later.load(clock.state())
    assert later.service_s("edit", 1, 0) == clock.service_s("edit", 1, 0)


def test_a_measured_clock_charges_what_was_measured() -> None:
    assert MeasuredClock().service_s("edit", 1, 0, 0.125) == 0.125 and MeasuredClock.measures
    with pytest.raises(ClockError, match="before it was measured"):
        MeasuredClock().service_s("edit", 1, 0, None)


def test_a_replayed_clock_repeats_a_logs_batches_and_refuses_others(tmp_path) -> None:
    log = RunLog.create(tmp_path / "run", "", {})
    edits = [Edited(2, 1.0, f"e{i}", 0.0, 1.0, 0.25, 2) for i in range(2)] + [Edited(3, 2.0, "e2", 0.0, 2.0, 0.75, 1)]
    log.commit(0, [*edits, Timed(3, 3, "remove", 0.5)], State({}, {}))
    clock = load_clock("replayed", run=str(tmp_path / "run"))
    assert [clock.service_s("edit", n, 0, None) for n in (2, 1)] == [0.25, 0.75]
    assert clock.service_s("remove", 1, 0, None) == 0.5
    with pytest.raises(ClockError, match="holds 2 services of 'edit'"):
        clock.service_s("edit", 1, 0, None)
    with pytest.raises(ClockError, match="took 1 items here, 2"):
        ReplayedClock({"edit": [(1.0, 2)]}).service_s("edit", 1, 0)


def test_a_wrong_name_or_option_is_an_error_that_helps() -> None:
    with pytest.raises(ClockError, match="Did you mean modelled"):
        load_clock("modeled")
    with pytest.raises(ClockError, match="Did you mean clock.edit_s"):
        load_clock("modelled", edits_s=1)
    with pytest.raises(ClockError, match=r"clock\.run"):
        load_clock("replayed")
