"""A clock whose services take as long as another run's did, by a fit to its measurements.

Knows the fits of `lifelong.simulation.service_times`; nothing of queues, editors or the event loop.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lifelong.simulation.clock import ClockError, CountedClock, uniform
from lifelong.simulation.service_times import Fitted


class FittedClock(CountedClock):
    """Service times from fits by operation, batch and bank size, each with a factor drawn from the fit's spread.

    The k-th service of an operation draws from (seed, operation, k), as with a modelled clock.
    """

    def __init__(self, fits: Mapping[str, Fitted], *, seed: int = 0) -> None:
        super().__init__()
        self._fits = dict(fits)
        self._seed = seed

    def service_s(self, operation: str, n: int, bank_len: int, measured_wall_s: float | None = None) -> float:
        """Return the drawn seconds; raises `ClockError` for an operation that the run has not measured."""
        if operation not in self._fits:
            raise ClockError(
                f"the fitted run has measured no {operation!r}; it has {', '.join(sorted(self._fits))}. Fit to a run "
                "whose panels sample latency (panels.latency_answers above 0)."
            )
        known = self._fits[operation]
        factor = known.factor(uniform(self._seed, operation, self._next(operation)))
        return float(known.mean_s(n, bank_len)) * factor


def fitted_to(run: str | Path, *, seed: int = 0) -> FittedClock:
    """Return a clock fitted to a run folder.

    Raises `LogError` when it is no run, and `ClockError` when it has no edits.
    """
    from lifelong.log import RunLog
    from lifelong.simulation.recorded import fits_of, samples_of

    samples = samples_of(RunLog.open(run))
    if not len(samples["edit"]):
        raise ClockError(f"clock.run={run}: this run has committed no edits, so there is nothing to fit.")
    return FittedClock(fits_of(samples), seed=seed)
