"""A replay from end to end against its run: equal where services are known, refused where nothing was measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lifelong
from lifelong.log import RunLog, Served
from lifelong.running.words import ConfigError
from lifelong.simulation.service_times import Fitted
from lifelong.studies.validation import validate_replay, validated_with, validation_lines
from reports.statistics.percentiles import percentile

WORDS: dict[str, Any] = {"model": "tiny", "stream": "toy", "editor": "oracle", "edits": 20, "panels.at": [20]}
WORDS |= {"queries.rate": 10.0, "policy": "queries_first"}
COSTS = {"edit": 0.3, "encode": 0.01, "route": 0.001, "apply": 0.001, "answer": 0.05}


def test_with_the_services_of_the_run_nothing_is_off(tmp_path: Path) -> None:
    costs: dict[str, Any] = {f"clock.{name}_s": seconds for name, seconds in COSTS.items()}
    log = RunLog.open(lifelong.run(None, quiet=True, out=str(tmp_path), **WORDS, **costs))
    exact = {name: Fitted(seconds, 0.0, 0.0, np.ones(1)) for name, seconds in COSTS.items()}
    found = validated_with(log, exact | {"remove": Fitted(0.0, 0.0, 0.0, np.ones(1))}, 2)
    known = [row for row in found.rows if row.recorded == row.recorded]
    assert len(known) >= 2 and all(row.error == pytest.approx(0, abs=1e-6) for row in known)
    assert found.stale.drawn == (found.stale.recorded,) * 2
    slow = {name: Fitted(2 * seconds, 0.0, 0.0, np.ones(1)) for name, seconds in COSTS.items()}
    twice = validated_with(log, slow | {"remove": Fitted(0.0, 0.0, 0.0, np.ones(1))}, 2)
    assert all(row.error > 0.5 for row in twice.rows if row.recorded == row.recorded)
    with pytest.raises(ConfigError, match="its clock is modelled.*clock=measured"):
        validate_replay(log.folder)


def test_a_measured_run_is_compared_with_what_it_recorded(tmp_path: Path) -> None:
    run = lifelong.run(None, quiet=True, out=str(tmp_path), **WORDS, clock="measured")
    found = validate_replay(run, draws=3)
    served = RunLog.open(run).table(Served).to_pylist()
    p50 = next(row for row in found.rows if row.name == "response p50")
    assert p50.recorded == percentile([row["sim_s"] - row["arrived_sim_s"] for row in served], 0.5).value
    assert p50.n == len(served) and len(p50.drawn) == 3 and p50.replayed > 0
    text = "\n".join(validation_lines(found))
    assert "services drawn 3 times" in text and "edit lag p50" in text and "stale queries" in text
