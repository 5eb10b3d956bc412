"""Law 10: with known arrivals and services the loop's waiting times are those of queueing theory."""

from __future__ import annotations

from collections.abc import Sequence
from math import factorial

import numpy as np
import pytest
from loop_parts import BankEditor, MemoryLog, SilentPanel, arriving, some_edits

from lifelong.log import Gauged
from lifelong.simulation.clock import Cost, ModelledClock
from lifelong.simulation.loop import SimulationSettings, simulate
from streams.types import Edit

EDITS = 20_000


class NoEditor(BankEditor):
    """Takes edits in and does nothing."""

    def edit(self, edits: Sequence[Edit]) -> None:
        return None


def sojourns(rate: float, distribution, workers: int, seed: int) -> tuple[np.ndarray, dict[str, float]]:
    """Times from arrival to visibility with a mean service of 1 s, and the loop's own gauges."""
    log = MemoryLog()
    clock = ModelledClock({"edit": Cost(1.0)}, distribution=distribution, seed=seed)
    arrivals = arriving(some_edits(EDITS), rate=rate, seed=seed)
    simulate(arrivals, NoEditor(), SilentPanel(), clock, SimulationSettings(workers=workers), log)
    gauges = {f.name: f.value for f in log.facts(Gauged)}
    return np.array([f.visible_sim_s - f.arrived_sim_s for f in log.edited()]), gauges


def erlang_c(workers: int, load: float) -> float:
    """Probability of waiting in M/M/c at an offered load of `load` workers."""
    top = load**workers / factorial(workers) * workers / (workers - load)
    return top / (sum(load**k / factorial(k) for k in range(workers)) + top)


@pytest.mark.parametrize(
    "rate,distribution,workers,wait_s",
    [
        (0.6, "exponential", 1, 0.6 / (1 - 0.6)),  # M/M/1: rho / (mu - lambda)
        (0.6, "constant", 1, 0.6 / (1 - 0.6) / 2),  # M/D/1: half of it
        (2.1, "exponential", 3, erlang_c(3, 2.1) / (3 - 2.1)),  # M/M/3: Erlang C / (c mu - lambda)
    ],
)
def test_waiting_times_agree_with_theory(rate, distribution, workers, wait_s) -> None:
    """Waits are correlated over about 1/(1-rho)^2 = 10 edits, so 40 batches of 500 have independent means.

    Their spread gives the error of the mean: 4 of it must cover the theory, and be small enough to tell the three
    queues apart (M/M/1 waits twice as long as M/D/1).
    """
    times, gauges = sojourns(rate, distribution, workers, seed=1)
    means = times.reshape(40, 500).mean(axis=1)
    error = means.std(ddof=1) / np.sqrt(len(means))
    assert abs(times.mean() - (1 + wait_s)) < 4 * error < 0.25 * (1 + wait_s)
    assert gauges["wait_mean_s"] == pytest.approx(times.mean() - gauges["service_mean_s"], rel=1e-6)
    assert gauges["busy_workers_mean"] == pytest.approx(rate, rel=4 / np.sqrt(EDITS / 2))


@pytest.mark.parametrize("workers", [1, 3])
def test_littles_law_holds_exactly_in_every_run(workers) -> None:
    """L is the integral of the number in the system, kept arrival by arrival; lambda and W come from the edits."""
    times, gauges = sojourns(0.7 * workers, "exponential", workers, seed=2)
    served_per_s = gauges["served_per_s"]
    assert gauges["in_system_mean"] == pytest.approx(served_per_s * times.mean(), rel=1e-9)
