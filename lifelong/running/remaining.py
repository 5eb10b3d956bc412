"""How long a run still takes: what is due (edits, probes, panels, latency samples), each at the cost measured so far.

Knows counts of probes, and facts by their names; nothing of how they come about. Costs differ: of routed editors most
old probes cost nothing, because their routes are as they were, so old and new probes are counted apart.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from lifelong.log import Fact, Gauged, Probed, Timed
from lifelong.probing.due import DueProbes
from lifelong.probing.latency import LATENCY_WARM_UP

_PARTS = (("encode", "route"), ("apply", "answer"))  # of every sample, and of those that are answered


@dataclass(frozen=True)
class Stretch:
    """What passed from one panel to the next: counts, and measured seconds by what they were spent on."""

    step: int
    edits: int
    asked: int
    answered: int
    old_asked: int
    old_answered: int
    new_asked: int
    new_answered: int
    whole_wall_s: float
    edit_wall_s: float
    answer_wall_s: float
    encode_wall_s: float
    route_wall_s: float
    latency_wall_s: float
    bank_len: int

    @property
    def rest_wall_s(self) -> float:
        """Seconds that none of the parts accounts for: commits, facts, the simulator itself."""
        parts = self.edit_wall_s + self.answer_wall_s + self.encode_wall_s + self.route_wall_s + self.latency_wall_s
        return max(0.0, self.whole_wall_s - parts)

    @classmethod
    def of(cls, step: int, before: int, facts: Sequence[Fact], wall_s: float, edit_wall_s: float) -> Stretch:
        """Return the stretch that a panel's facts end, which began at step `before`."""
        gauge = {f.name: f.value for f in facts if isinstance(f, Gauged)}
        probed = {f.probe_id: f for f in facts if isinstance(f, Probed) and f.step == step}
        new = [f for f in probed.values() if f.edit_id and f.age < step - before]
        old = [f for f in probed.values() if not (f.edit_id and f.age < step - before)]
        asked = int(gauge.get("probes_asked", 0))
        return cls(
            step=step,
            edits=step - before,
            asked=asked,
            answered=asked - int(gauge.get("probes_reused", 0)),
            old_asked=len(old),
            old_answered=sum(not f.reused for f in old),
            new_asked=len(new),
            new_answered=sum(not f.reused for f in new),
            whole_wall_s=wall_s,
            edit_wall_s=edit_wall_s,
            answer_wall_s=gauge.get("answer_wall_s", 0.0),
            encode_wall_s=gauge.get("encode_wall_s", 0.0),
            route_wall_s=gauge.get("route_wall_s", 0.0),
            latency_wall_s=_latency_wall_s([f for f in facts if isinstance(f, Timed)]),
            bank_len=int(gauge.get("bank_len", 0)),
        )


class Remaining:
    """Costs measured so far and what is still due; `panel` is told of each panel, `wall_s` answers."""

    def __init__(self, due: DueProbes, steps: Sequence[int], latency_growth: float = 1.5) -> None:
        self.due, self.steps, self.growth = due, tuple(steps), latency_growth
        self._seen: list[Stretch] = []

    def panel(self, stretch: Stretch) -> None:
        """Take in what the stretch up to a panel cost."""
        self._seen.append(stretch)

    def wall_s(self) -> float:
        """Return the seconds that are left after the last panel; nan before two panels were measured."""
        return sum(self.panels_wall_s())

    def panels_wall_s(self) -> list[float]:
        """Return the seconds of each stretch up to a panel that is due; nan before two panels were measured."""
        if len(self._seen) < 2:
            return [math.nan]
        # The first stretch holds what happens once: prompts and pictures are read, threads wake up.
        seen = self._seen[1:]
        last = self._seen[-1]
        edit = _ratio(seen, "edit_wall_s", "edits")
        encode = _ratio(seen, "encode_wall_s", "edits")
        answer = _ratio(seen, "answer_wall_s", "answered")
        route = _ratio(seen, "route_wall_s", "asked")
        fixed, each = line_through([(s.asked, s.rest_wall_s) for s in (seen if len(seen) > 1 else self._seen)])
        at_once = [(s.asked - s.old_asked - s.new_asked, s.answered - s.old_answered - s.new_answered) for s in seen]
        at_once_share = _share(at_once)
        old_share = _share([(s.old_asked, s.old_answered) for s in seen[-2:]])
        # No new one was asked again yet: all were asked at once, so that by now they are like old ones.
        new_share = _share([(s.new_asked, s.new_answered) for s in seen], old_share)
        sampled = [s.latency_wall_s for s in self._seen if s.latency_wall_s]
        latency = sampled[-1] if sampled else 0.0
        sampled_at = max((s.step for s in self._seen if s.latency_wall_s), default=0)
        out = []
        before = last.step
        for step in (s for s in self.steps if s > last.step):
            edits, (old, new) = step - before, self.due.at_panel(before, step)
            now = self.due.at_once(before, step)
            wall_s = edits * (edit + encode) + fixed + (now + old + new) * (each + route)
            wall_s += answer * (now * at_once_share + old * old_share + new * new_share)
            if latency and (step == self.steps[-1] or last.bank_len == 0 or step >= self.growth * sampled_at):
                wall_s += latency if last.bank_len or step == self.steps[-1] else 0.0
                sampled_at = step
            out.append(wall_s)
            before = step
        return out


def _latency_wall_s(samples: Sequence[Timed]) -> float:
    """Return the seconds that latency samples took, with those that were served first and not counted."""
    wall_s = 0.0
    for names in _PARTS:
        some = [f.wall_s for f in samples if f.operation in names]
        n = len(some) / len(names)
        wall_s += sum(some) * (n + LATENCY_WARM_UP) / n if n else 0.0
    return wall_s


def _ratio(seen: Sequence[Stretch], wall: str, count: str) -> float:
    """Return seconds each over the last stretches, enough of them to hold half of what was counted."""
    counts = [getattr(s, count) for s in seen]
    wall_s = [getattr(s, wall) for s in seen]
    first = len(seen) - 1
    while first > 0 and sum(counts[first:]) * 2 < sum(counts):
        first -= 1
    return sum(wall_s[first:]) / max(1, sum(counts[first:]))


def _share(pairs: Sequence[tuple[int, int]], otherwise: float = 1.0) -> float:
    """Return which share of what was asked had to be answered; `otherwise` where nothing was asked."""
    asked, answered = (sum(pair[i] for pair in pairs) for i in (0, 1))
    return min(1.0, max(0.0, answered / asked)) if asked > 0 else otherwise


def line_through(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Return a fixed part and a part each, neither below zero, that come nearest to (count, seconds) points.

    >>> line_through([(10, 3.0), (20, 5.0)])
    (1.0, 0.2)
    """
    n = len(points)
    mean_x, mean_y = sum(x for x, _ in points) / n, sum(y for _, y in points) / n
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    slope = sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0
    if slope <= 0:
        return mean_y, 0.0
    if mean_y < slope * mean_x:  # the line would begin below zero: through the origin, then
        return 0.0, sum(x * y for x, y in points) / sum(x * x for x, _ in points)
    return mean_y - slope * mean_x, slope
