"""What edits must keep to: thresholds, where each is crossed, and which one is crossed first. Knows numbers only.

A limit counts as broken from the first of two panels in a row at which it is broken (hysteresis): one panel alone may
be chance. Panels are those that were asked for, in order of edits; a measure that could not be taken breaks nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

CONFIRMED_BY = 2  # panels in a row


@dataclass(frozen=True)
class Limit:
    """A bound of one measure: the least it may be (`least`), or else the most."""

    measure: str
    bound: float
    least: bool = True

    def broken(self, value: float) -> bool:
        """Return whether a value is beyond the bound; not-a-number is not.

        >>> Limit("retention", 0.8).broken(0.79), Limit("p99", 0.01, least=False).broken(0.01)
        (True, False)
        """
        return value < self.bound if self.least else value > self.bound


@dataclass(frozen=True)
class Measured:
    """What one panel after `step` edits measured, and over how many samples each."""

    step: int
    values: Mapping[str, float]
    n: Mapping[str, int]


@dataclass(frozen=True)
class LimitVerdict:
    """The largest number of edits that was fine, the smallest that was not (None: none), and what was broken there.

    `crossings` has the step at which each measure's limit is crossed, None where it is not. With several measures in
    `binding` they are crossed between the same two panels: a tie at this resolution.
    """

    fine: int
    broken: int | None
    binding: tuple[str, ...]
    crossings: Mapping[str, int | None]


def crossing(panels: Sequence[Measured], limit: Limit) -> int | None:
    """Return the step of the first of two panels in a row at which a limit is broken, or None."""
    row: list[int] = []
    for panel in sorted(panels, key=lambda p: p.step):
        row = [*row, panel.step] if limit.broken(panel.values.get(limit.measure, math.nan)) else []
        if len(row) == CONFIRMED_BY:
            return row[0]
    return None


def verdict(panels: Sequence[Measured], limits: Sequence[Limit]) -> LimitVerdict:
    """Return what panels say of limits; 0 edits are fine where the first panel is crossed already.

    Where nothing is crossed, the last panel at which nothing is broken is the largest that is known to be fine.
    """
    found = {limit.measure: crossing(panels, limit) for limit in limits}
    broken = min((step for step in found.values() if step is not None), default=None)
    binding = tuple(name for name, step in found.items() if step is not None and step == broken)
    if broken is not None:
        fine = [p.step for p in panels if p.step < broken]
    else:
        fine = [p.step for p in panels if not any(x.broken(p.values.get(x.measure, math.nan)) for x in limits)]
    return LimitVerdict(max(fine, default=0), broken, binding, found)


def climb(
    at: Callable[[int], Measured],
    limits: Sequence[Limit],
    first: int,
    most: int,
    *,
    per_doubling: int = 1,
    tolerance: float = 0.1,
) -> tuple[Measured, ...]:
    """Return the panels that find where limits break: by doubling until a crossing is confirmed, then by halving.

    `at(step)` measures after so many edits; where edits are made several at a time it may answer for a few more.
    With `per_doubling` 2 there is a panel between every two doublings. Halving ends when the smallest number that is
    not fine is at most 1 + `tolerance` times the largest that is, or one more. Raises `ValueError`.
    """
    if not 1 <= first <= most or per_doubling < 1 or not 0 < tolerance < 1:
        raise ValueError(
            f"first={first}, most={most}, per_doubling={per_doubling}, tolerance={tolerance}: expected "
            "1 <= first <= most, at least 1 panel a doubling, and a tolerance between 0 and 1."
        )
    panels: dict[int, Measured] = {}

    def look(step: int) -> bool:
        """Measure, and say whether that was anything new."""
        found = at(step)
        new = found.step not in panels
        panels[found.step] = found
        return new

    for step in rungs(first, most, per_doubling):
        if step > max(panels, default=0):
            look(step)
        if verdict(list(panels.values()), limits).broken is not None:
            break
    while True:
        now = verdict(list(panels.values()), limits)
        upper = now.broken
        if upper is None and now.fine < max(panels):
            upper = max(panels)  # broken at the last panel of all: one between has to confirm it
        if upper is None or upper <= max(now.fine + 1, (1 + tolerance) * now.fine):
            break
        middle = round(math.sqrt(now.fine * upper)) if now.fine else upper // 2
        if not look(min(max(middle, now.fine + 1), upper - 1)):
            break  # edits are made several at a time: there is nothing between
    return tuple(panels[step] for step in sorted(panels))


def rungs(first: int, most: int, per_doubling: int = 1) -> tuple[int, ...]:
    """Return the steps from `first` on, doubled (or finer), and `most` itself.

    >>> rungs(10, 100), rungs(10, 50, 2)
    ((10, 20, 40, 80, 100), (10, 14, 20, 28, 40, 50))
    """
    steps = {most}
    power = 0
    while (step := round(first * 2 ** (power / per_doubling))) < most:
        steps.add(step)
        power += 1
    return tuple(sorted(steps))
