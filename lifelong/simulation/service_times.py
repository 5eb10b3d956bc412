"""How long queries and changes take, fitted to a run's measured samples; drawn for many services at once.

Knows operations, bank sizes and seconds; nothing of queues, editors or models. A service of an operation takes
(constant_s + item_s n + entry_s bank_len) times a factor drawn from the samples' own spread.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lifelong.simulation.clock import ClockError, CountedClock, uniform
from streams.orders.order import generator

QUANTILES = 200  # points of the spread that are kept


@dataclass(frozen=True)
class Samples:
    """Measured services of one operation: seconds, items served at once, entries in the bank (all (n,))."""

    wall_s: np.ndarray
    items: np.ndarray
    bank_len: np.ndarray

    def __len__(self) -> int:
        return len(self.wall_s)

    def take(self, rows: np.ndarray) -> Samples:
        """Return some of them."""
        return Samples(self.wall_s[rows], self.items[rows], self.bank_len[rows])


@dataclass(frozen=True)
class Fitted:
    """The fitted time of one operation; `factors` (m,) ascending are quantiles of measured over fitted time."""

    constant_s: float
    item_s: float
    entry_s: float
    factors: np.ndarray

    def mean_s(self, items: np.ndarray | int, bank_len: np.ndarray | int) -> np.ndarray:
        """Return the fitted seconds before any spread."""
        return np.asarray(self.constant_s + self.item_s * np.asarray(items) + self.entry_s * np.asarray(bank_len))

    def draw(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Return n factors, each quantile as likely, in between by interpolation."""
        return self._at(rng.random(n))

    def factor(self, share: float) -> float:
        """Return the factor below which a share of the samples lies."""
        return float(self._at(np.array([share]))[0])

    def _at(self, shares: np.ndarray) -> np.ndarray:
        places = (np.arange(len(self.factors)) + 0.5) / len(self.factors)
        return np.interp(shares, places, self.factors)


def fit_to(samples: Samples) -> Fitted:
    """Return the least squares of seconds relative to their size, without negative parts, and the spread around it.

    Every sample counts by its share of the fitted time, so that a few slow ones do not decide the slope. What the
    samples do not vary (a batch size, a bank that does not grow) is not fitted. Raises `ValueError` without samples.
    """
    if not len(samples):
        raise ValueError("no service of this operation was measured, so there is nothing to fit.")
    columns = np.stack([np.ones(len(samples)), samples.items.astype(float), samples.bank_len.astype(float)], 1)
    used = [0, *(c for c in (1, 2) if np.ptp(columns[:, c]) > 0)]
    scale = np.maximum(np.abs(columns).max(0), 1.0)
    weight = np.full(len(samples), 1.0)
    found = np.zeros(3)
    for _ in range(5):
        found[:] = 0
        found[used] = _least_squares((columns / scale)[:, used] * weight[:, None], samples.wall_s * weight)
        weight = 1 / np.maximum((columns / scale) @ found, 1e-9)
    fitted_s = np.maximum((columns / scale) @ found, 1e-12)
    ratios = samples.wall_s / fitted_s
    factors = np.quantile(ratios, (np.arange(QUANTILES) + 0.5) / QUANTILES)
    constant_s, item_s, entry_s = (found / scale).tolist()
    return Fitted(constant_s, item_s, entry_s, factors * (ratios.mean() / factors.mean()))


def _least_squares(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return the solution without the columns whose share came out negative (of the few there are)."""
    out = np.zeros(left.shape[1])
    kept = list(range(left.shape[1]))
    while kept:
        found = np.linalg.lstsq(left[:, kept], right, rcond=None)[0]
        if (found >= 0).all():
            out[kept] = found
            break
        kept.pop(int(found.argmin()))
    return out


@dataclass(frozen=True)
class DrawnServices:
    """Services of one kind to come: service k takes `constant_s[k] + entry_s[k] * bank_len` in every part.

    Both are (services, parts).
    """

    parts: tuple[str, ...]
    constant_s: np.ndarray
    entry_s: np.ndarray


def draw_services(
    fits: Mapping[str, Fitted], parts: Sequence[str], items: np.ndarray, seed: int, purpose: str
) -> DrawnServices:
    """Return one service for each number of `items`, every part's spread drawn by itself.

    Raises `KeyError` for a part that was never fitted.
    """
    constant_s, entry_s = [], []
    for part in parts:
        known = fits[part]
        factors = known.draw(len(items), generator(seed, "service", purpose, part))
        constant_s.append((known.constant_s + known.item_s * items) * factors)
        entry_s.append(known.entry_s * factors)
    return DrawnServices(tuple(parts), np.stack(constant_s, 1), np.stack(entry_s, 1))


@dataclass(frozen=True)
class Fidelity:
    """How well a fit says what was held out: seconds measured (n,), and drawn at the same sizes (times n,)."""

    operation: str
    measured_s: np.ndarray
    drawn_s: np.ndarray

    @property
    def mean_error(self) -> float:
        """The relative error of the mean."""
        return abs(float(self.drawn_s.mean() / self.measured_s.mean()) - 1)

    @property
    def p99_error(self) -> float:
        """The relative error of the 99th percentile; of few services it says nothing."""
        drawn, measured = (np.quantile(x, 0.99, method="inverted_cdf") for x in (self.drawn_s, self.measured_s))
        return abs(float(drawn / measured) - 1)


def fidelity(operation: str, fitted: Fitted, held_out: Samples, seed: int = 0, times: int = 50) -> Fidelity:
    """Compare a fit with samples that it has not seen: each is drawn `times` times at its batch and bank size."""
    rng = generator(seed, "fidelity", operation)
    base = np.tile(fitted.mean_s(held_out.items, held_out.bank_len), times)
    return Fidelity(operation, held_out.wall_s, base * fitted.draw(len(base), rng))


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
