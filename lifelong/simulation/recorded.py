"""What a run's log says of how long its services took: samples by operation, their fits, and how well those hold.

Knows run logs and the fits of `lifelong.simulation.service_times`; nothing of models, queues or editors.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from lifelong.log import Edited, RunLog, Served, Timed
from lifelong.simulation.clock import PARTS, ClockError, ReplayedClock
from lifelong.simulation.service_times import Fidelity, Fitted, FittedClock, Samples, fidelity, fit_to

_WARM_UP = 3
"""First samples of every operation, which are left out: while a process makes its first services, memory is allocated
and threads wake up, once; a system that has served for a while does neither."""


def samples_of(log: RunLog) -> dict[str, Samples]:
    """Return the measured services of a run by operation, in their order, without the first of each.

    Changes are those of the run, queries those that its panels time; where the run's clock measured, also those that
    arrived.
    """
    timed, edited = log.table(Timed).to_pydict(), log.table(Edited).to_pydict()
    rows: dict[str, list[tuple[float, int, int]]] = {}
    for name, wall_s, bank_len in zip(timed["operation"], timed["wall_s"], timed["bank_len"], strict=True):
        rows.setdefault(name, []).append((wall_s, 1, bank_len))
    sizes = []
    at = 0
    while at < len(edited["batch_len"]):
        sizes.append(edited["batch_len"][at])
        at += sizes[-1]
    rows["edit"] = [(w, n, b) for (w, _, b), n in zip(rows.get("edit", []), sizes, strict=False)]
    if "measured" in str(log.config().get("clock", "")):
        served = log.table(Served)
        for part in PARTS:
            pairs = zip(served[f"{part}_s"].to_pylist(), served["bank_len"].to_pylist(), strict=True)
            rows.setdefault(part, []).extend((wall_s, 1, bank_len) for wall_s, bank_len in pairs)
    out = {}
    for name, found in rows.items():
        wall_s, items, bank_len = (
            (np.array(column) for column in zip(*found, strict=True)) if found else [np.empty(0)] * 3
        )
        out[name] = Samples(wall_s, items, bank_len).take(np.arange(min(_WARM_UP, len(found) // 2), len(found)))
    return out


def fits_of(samples: Mapping[str, Samples]) -> dict[str, Fitted]:
    """Return the fit of every operation that was measured; taking back costs nothing where it never was."""
    free = Fitted(0.0, 0.0, 0.0, np.ones(1))
    return {"remove": free} | {name: fit_to(known) for name, known in samples.items() if len(known)}


def every_second_window(known: Samples, windows: int = 10) -> tuple[Samples, Samples]:
    """Return the samples of every second of so many windows, to fit to, and the others; called to test a fit.

    The first samples are in the first window, so whatever has samples at all has some to fit to.
    """
    window = np.arange(len(known)) * windows // max(1, len(known))
    return known.take(np.flatnonzero(window % 2 == 0)), known.take(np.flatnonzero(window % 2 == 1))


def fidelities(samples: Mapping[str, Samples], windows: int = 10) -> list[Fidelity]:
    """Fit on every second of so many windows of each operation's samples and compare with the others."""
    out = []
    for name, known in sorted(samples.items()):
        if len(known) >= 2 * windows:
            seen, unseen = every_second_window(known, windows)
            out.append(fidelity(name, fit_to(seen), unseen))
    return out


def fitted_to(run: str | Path, *, seed: int = 0) -> FittedClock:
    """Return a clock fitted to a run folder.

    Raises `LogError` when it is no run, and `ClockError` when it has no edits.
    """
    from lifelong.log import RunLog

    samples = samples_of(RunLog.open(run))
    if not len(samples["edit"]):
        raise ClockError(f"clock.run={run}: this run has committed no edits, so there is nothing to fit.")
    return FittedClock(fits_of(samples), seed=seed)


def replay_of(run: str | Path) -> ReplayedClock:
    """Return a clock with the measured times of a run folder: edits, withdrawals and queries, each in their order.

    Raises `LogError` when the folder is no run, and `ClockError` when it holds no measured edit.
    """
    from lifelong.log import Edited, RunLog, Served, Timed

    log = RunLog.open(run)
    edited, timed = log.table(Edited).to_pydict(), log.table(Timed).to_pydict()
    batches: list[tuple[float, int]] = []
    row = 0
    while row < len(edited["batch_len"]):
        batches.append((edited["edit_wall_s"][row], edited["batch_len"][row]))
        row += edited["batch_len"][row]
    if not batches:
        raise ClockError(f"clock.run={run}: this run has committed no edits, so there is nothing to replay.")
    removed = [(w, 1) for w, name in zip(timed["wall_s"], timed["operation"], strict=True) if name == "remove"]
    served = sorted(log.table(Served).to_pylist(), key=lambda fact: (fact["begun_sim_s"], fact["query"]))
    parts = {part: [(fact[f"{part}_s"], 1) for fact in served] for part in PARTS}
    return ReplayedClock({"edit": batches, "remove": removed, **parts})
