"""Panels and curves that nobody measured, for tests of what is made of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from lifelong.limits import Limit, Measured

LIMITS = (Limit("retention", 0.8), Limit("locality", 0.9), Limit("route_p99_s", 0.01, least=False))


def breaking(retention: float = np.inf, locality: float = np.inf, p99: float = np.inf) -> Callable[[int], Measured]:
    """A system whose measures keep their limits up to so many edits."""

    def at(step: int) -> Measured:
        values = {
            "retention": 1.0 if step <= retention else 0.5,
            "locality": 1.0 if step <= locality else 0.5,
            "route_p99_s": 0.001 if step <= p99 else 0.1,
        }
        return Measured(step, values, dict.fromkeys(values, step))

    return at


def flat(panels: Mapping[int, float]) -> list[Measured]:
    """Panels of one measure."""
    return [Measured(step, {"retention": value}, {"retention": 100}) for step, value in panels.items()]


CURVES: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "flat": lambda t: np.full(len(t), 0.9),
    "straight": lambda t: 0.95 - 0.7 * t,
    "logarithm": lambda t: 0.95 - 0.1 * np.log(np.maximum(1.0, 500 * t)),
    "exponential": lambda t: 0.95 * np.exp(-2 * t),
    "drop": lambda t: np.where(t > 0.5, 0.1, 0.92),
    "drop_from_a_slope": lambda t: np.where(t > 0.6, 0.1, 0.95 - 0.4 * t),
    "bend": lambda t: np.where(t > 0.5, 0.92 - 1.6 * (t - 0.5), 0.92),
    "early_drop": lambda t: np.where(t > 0.12, 0.15, 0.95),
}
