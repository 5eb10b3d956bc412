"""The numbers of one panel that are shown while a run goes on: on the live line, and in trackers.

A mean is defined as in reports (`reports.numbers.last_panel`), and tests hold the two to each other. Knows facts.
"""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

import pyarrow.compute as pc

from lifelong.log import Edited, Fact, Gauged, Probed, RunLog
from lifelong.probing.measure import SUPERSEDED, WITHDRAWN

_MEASURES = {"reliability": "retention", "generality": "generality", "locality": "locality"}
_MODALITIES = {"text": "text generality", "image": "modal generality"}
"""What an axis is called, and generality by the modality of its questions."""
EDITS_MADE = "edits/made"
"""The last of a panel's numbers: where it is kept, all of that panel are."""
_GAUGES = ("bank_len", "bank_bytes", "route_wall_s", "answers_not_finite")


def numbers_of(log: RunLog, panel: int) -> tuple[int, dict[str, float]]:
    """Return the step of a committed panel of a run and its numbers by name; called for trackers.

    `measure/scorer` are the means of `means_of`, `kind/name` gauges as the log has them (bytes, measured seconds).
    `edits/edit_wall_s` is the median of the measured seconds of an edit since the panel before, a batch's time
    shared; it is left out where none was made. `EDITS_MADE` counts the edits that are visible. Raises `LogError` for
    damaged facts.
    """
    gauged = log.panel(Gauged, panel).to_pylist()
    step = step_of(log, panel)
    probed = log.panel(Probed, panel).filter(pc.field("step") == step).to_pylist()
    gauges = {
        f"{row['kind']}/{row['name']}": float(row["value"])
        for row in gauged
        if row["step"] == step and row["name"] in _GAUGES and row["kind"] in ("bank", "panel")
    }
    edits = log.panel(Edited, panel).select(["edit_wall_s", "batch_len"]).to_pylist()
    edit_wall_s = [row["edit_wall_s"] / row["batch_len"] for row in edits]
    spent = {"edits/edit_wall_s": statistics.median_low(edit_wall_s)} if edit_wall_s else {}
    return step, {**means_of([Probed(**row) for row in probed]), **gauges, **spent, EDITS_MADE: float(step)}


def holds_panel(log: RunLog, commit: int) -> bool:
    """Return whether a panel was held when a part was committed: not where a run was stopped between two panels."""
    return "bank_len" in log.panel(Gauged, commit)["name"].to_pylist()


def step_of(log: RunLog, panel: int) -> int:
    """Return the step of a committed panel; raises `LogError` for damaged facts."""
    return max(log.panel(Gauged, panel)["step"].to_pylist(), default=0)


def means_of(facts: Sequence[Fact]) -> dict[str, float]:
    """Return the mean scores at the last step of some facts, such as `retention/generated`, by measure and scorer.

    Measures are retention, generality (also of text and of pictures alone) and locality, of edits that hold. Every
    answer counts once, and for all the edits that its edit stands for where a panel asked about a sample of them.
    """
    step = max((f.step for f in facts), default=0)
    # An edit that is asked about again after a gap may be asked at this panel, too: that is one answer.
    rows = {(f.probe_id, f.scorer): f for f in facts if isinstance(f, Probed) and f.step == step}
    weights = _stand_for({row.edit_id: row.age for row in rows.values() if row.edit_id})
    sums: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for row in rows.values():
        if row.axis not in _MEASURES or row.variant in (SUPERSEDED, WITHDRAWN):
            continue
        names = [_MEASURES[row.axis]]
        if row.axis == "generality" and row.modality in _MODALITIES:
            names.append(_MODALITIES[row.modality])
        weight = weights.get(row.age, 1.0) if row.edit_id else 1.0
        for name in names:
            of = sums[f"{name}/{row.scorer}"]
            of[0] += row.score * weight
            of[1] += weight
    return {name: total / weight for name, (total, weight) in sums.items()}


def _stand_for(ages: Mapping[str, int]) -> dict[int, float]:
    """Return how many edits one of each age stands for, of those that were asked about: 1 where all were.

    What lies between two ages, and was not asked about, counts half for the one and half for the other. The newest
    and the oldest edit of a panel are always asked about: what is older was made before the editor was put back.
    """
    asked = sorted(Counter(ages.values()).items())
    ends = [0, *(age + n for age, n in asked)]  # edits up to that age
    left = [max(0, age - end) for (age, _), end in zip(asked, ends, strict=False)]  # not asked about, before each age
    shares = [*left[:1], *(one / 2 for one in left[1:]), 0.0]
    return {age: 1 + (shares[place] + shares[place + 1]) / n for place, (age, n) in enumerate(asked)}
