"""Stress: the knee is found to its tolerance, and agrees with queueing theory where that has one."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import lifelong
from lifelong.running.words import ConfigError
from lifelong.simulation.service_times import Fitted
from lifelong.studies.stress import load as stress
from lifelong.studies.stress.load import bearing_lines, edge, knee, stress_load, verdict_on
from reports.statistics.replications import share_over


@pytest.mark.parametrize("truth", [0.003, 1.0, 7.3, 90_000.0])
def test_a_knee_is_found_to_its_tolerance(truth: float) -> None:
    found = knee(lambda size: size <= truth, 1.0, tolerance=0.01)
    assert found.fine <= truth < found.not_fine <= found.fine * 1.0101
    assert len(found.tried) < 40 and all(fine == (size <= truth) for size, fine in found.tried)


@pytest.mark.parametrize("always", [True, False])
def test_what_never_changes_has_no_knee(always: bool) -> None:
    with pytest.raises(ValueError, match="no end was found"):
        knee(lambda size: always, 1.0)


def test_the_end_of_an_interval_is_looked_for_from_the_knee_outwards() -> None:
    up, down = edge(lambda size: size >= 13.0, 10.0, 1.02), edge(lambda size: size <= 7.0, 10.0, 1 / 1.02)
    assert up is not None and 13.0 <= up <= 13.0 * 1.021 and down is not None and 7.0 / 1.021 <= down <= 7.0
    assert edge(lambda size: True, 10.0, 1.02) == 10.0 and edge(lambda size: False, 10.0, 1.02) is None


def test_a_rate_whose_interval_holds_the_limit_is_no_verdict() -> None:
    """990 of 1,000 in each of ten is .99 for certain enough; where replications differ nobody can tell."""
    assert verdict_on(share_over([995] * 9 + [994], [1000] * 10), 0.99) == "fine"
    assert verdict_on(share_over([980] * 9 + [981], [1000] * 10), 0.99) == "too much"
    assert verdict_on(share_over([999, 980] * 5, [1000] * 10), 0.99) == "cannot tell"
    assert verdict_on(share_over([1000] * 4, [1000] * 4), 0.99) == "cannot tell"


def test_the_load_that_a_queue_bears_is_that_of_theory(tmp_path, monkeypatch) -> None:
    """M/M/1: P(response <= slo) = 1 - exp(-(mu - lambda) slo): 90 % within 1 s up to lambda = mu - ln(10) / 1 s."""
    words: dict[str, Any] = {
        "model": "tiny",
        "stream": "toy",
        "editor": "none",
        "edits": 40,
        "panels.at": [40],
        "out": str(tmp_path),
        "arrivals.rate": 0.002,
        "queries.rate": 0.001,
    }
    run = lifelong.run(None, quiet=True, **words)
    exponential = -np.log1p(-(np.arange(400) + 0.5) / 400)
    free = Fitted(0.0, 0.0, 0.0, np.ones(1))
    fits = {name: free for name in ("edit", "remove", "encode", "route", "apply")}
    monkeypatch.setattr(stress, "fits_of", lambda samples: fits | {"answer": Fitted(0.2, 0.0, 0.0, exponential)})
    truth, held = 5 - math.log(10), 0
    for seed in (0, 1000, 2000):
        found = stress_load(str(run), {"edits": 8, "seed": seed}, slo_s=1.0, good=0.9)
        assert found.rate_per_s == pytest.approx(truth, rel=0.05)
        assert found.at_rate.busy == pytest.approx(found.rate_per_s / 5, rel=0.06)
        held += (found.fine_per_s or 0) <= truth <= (found.too_much_per_s or 0)
        assert [one.verdict for one in found.tried] == sorted(
            (one.verdict for one in found.tried), key=("fine", "cannot tell", "too much").index
        )
    assert held >= 2, "the interval of 95 % holds what theory says"
    few = stress_load(str(run), {"edits": 8}, slo_s=1.0, good=0.9, count=2)
    assert few.fine_per_s is None and "too few for an interval" in bearing_lines(few, 1.0, 0.9)[0]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> str:
    words: dict[str, Any] = {"model": "tiny", "stream": "toy", "edits": 12, "panels.at": [12], "queries.rate": 2.0}
    return str(lifelong.run(None, quiet=True, out=str(tmp_path_factory.mktemp("runs")), **words))


def test_a_cause_is_said_under_its_own_name(run, tmp_path) -> None:
    """A misspelt policy is no lack of a query rate, nor is a run without latency samples."""
    with pytest.raises(ConfigError, match="policy") as found:
        stress_load(run, {"policy": "premt"}, slo_s=1.0, count=1)
    assert "no query rate" not in str(found.value)
    with pytest.raises(ConfigError, match=r"queries\.rate: it is what is searched for"):
        stress_load(run, {"queries.rate": 3}, slo_s=1.0)
    words: dict[str, Any] = {"model": "tiny", "stream": "toy", "edits": 2, "out": str(tmp_path)}
    words |= {"panels.latency_routes": 0, "panels.latency_answers": 0}
    bare = lifelong.run(None, quiet=True, **words)
    with pytest.raises(ConfigError, match="^the run has measured no"):
        stress_load(str(bare), {}, slo_s=1.0, count=1)


def test_where_no_rate_is_slow_enough_or_too_fast_it_says_so(run, monkeypatch) -> None:
    with pytest.raises(ConfigError, match=r"no query rate keeps 0.99 of queries within 1e-09 s"):
        stress_load(run, {}, slo_s=1e-9, count=5)
    monkeypatch.setattr(stress, "MOST_QUERIES", 50)
    with pytest.raises(ConfigError, match="no search simulates over 50 queries"):
        stress_load(run, {}, slo_s=1e6, count=1)


def test_a_share_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="good=1"):
        stress_load("nowhere", {}, slo_s=1.0, good=1.0)
    for count in (0, 5000):
        with pytest.raises(ConfigError, match=f"replications={count}: expected 1 to 1,000"):
            stress_load("nowhere", {}, slo_s=1.0, count=count)
