"""Clocks: what they charge, that a resumed one goes on exactly, and what they refuse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lifelong.log import Edited, RunLog, Timed
from lifelong.log.checkpoint import State
from lifelong.running.parts import load_clock
from lifelong.running.words import ConfigError
from lifelong.simulation.clock import PARTS, ClockError, Cost, MeasuredClock, ModelledClock, ReplayedClock


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
    with pytest.raises(ConfigError, match="Did you mean 'modelled'"):
        load_clock("modeled")
    with pytest.raises(ConfigError, match="clock.edits_s: .*Did you mean 'edit_s'"):
        load_clock("modelled", edits_s=1)
    with pytest.raises(ConfigError, match=r"clock\.run"):
        load_clock("replayed")


def measured(folder: Path, edits: int = 400) -> Path:
    """Write a measured run of a bank that grows: an edit takes .02 s and 1e-5 for each entry, spread by a quarter."""
    rng = np.random.default_rng(0)
    log = RunLog.create(folder, 'clock = "measured"\n', {})
    walls = (0.02 + 1e-5 * np.arange(edits)) * rng.lognormal(-0.03, 0.25, edits)
    facts: list[Any] = []
    for n, wall_s in enumerate(walls.tolist()):
        facts += [Edited(n + 1, float(n), f"e{n}", 0.0, float(n), wall_s, 1), Timed(n + 1, n, "edit", wall_s)]
        facts += [Timed(n + 1, n, part, 0.001 * (1 + rng.random())) for part in PARTS]
    log.commit(0, facts, State({}, {}))
    return folder


def test_a_fitted_clock_has_the_mean_and_spread_of_the_run_at_every_bank_size(tmp_path) -> None:
    clock = load_clock("fitted", run=str(measured(tmp_path / "run")))
    for bank_len in (0, 1000):
        drawn = np.array([clock.service_s("edit", 1, bank_len, None) for _ in range(2000)])
        assert drawn.mean() == pytest.approx(0.02 + 1e-5 * bank_len, rel=0.08)
        assert drawn.std() / drawn.mean() == pytest.approx(0.25, abs=0.04)
    assert clock.service_s("remove", 1, 0, None) == 0 and not clock.measures
    answers = [clock.service_s("answer", 1, 0, None) for _ in range(500)]
    assert 0.001 <= min(answers) and max(answers) <= 0.0021


def test_a_resumed_fitted_clock_draws_what_it_would_have(tmp_path) -> None:
    folder = str(measured(tmp_path / "run"))
    one, other = load_clock("fitted", run=folder, seed=1), load_clock("fitted", run=folder, seed=1)
    one.service_s("edit", 1, 0, None)
    other.load(one.state())
    assert one.service_s("edit", 1, 9, None) == other.service_s("edit", 1, 9, None)


def test_a_fitted_clock_refuses_what_was_not_measured(tmp_path) -> None:
    log = RunLog.create(tmp_path / "run", "", {})
    log.commit(0, [Edited(1, 1.0, "e0", 0.0, 1.0, 0.25, 1), Timed(1, 0, "edit", 0.25)], State({}, {}))
    with pytest.raises(ClockError, match="latency_answers"):
        load_clock("fitted", run=str(tmp_path / "run")).service_s("encode", 1, 0, None)
    empty = RunLog.create(tmp_path / "empty", "", {})
    empty.commit(0, [], State({}, {}))
    with pytest.raises(ClockError, match="committed no edits"):
        load_clock("fitted", run=str(tmp_path / "empty"))
