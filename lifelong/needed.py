"""Which probes a run will ever ask: in long streams most edits are replaced before their panel comes.

Knows a stream, panels' settings and how panels choose; asks nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lifelong.config_parts import Panels
from lifelong.sampling import log_age_sample
from streams.types import AXES, Probe

if TYPE_CHECKING:
    from streams.stream import Stream


def ever_asked(stream: Stream, panels: Panels, steps: Sequence[int], *, routed: bool) -> list[Probe]:
    """Return the probes that are asked when edits become visible one by one, as they arrive, and none is taken back.

    At once those of `panels.instant_axes`; at a panel (after each of `steps`) all of a sampled edit that stands, and
    the reliability of one that was replaced; the general set. In the order of the stream.
    """
    edits = stream.edits
    place = {edit.id: n for n, edit in enumerate(edits)}
    replaced_at = {place[e.supersedes]: n for n, e in enumerate(edits) if e.supersedes in place}
    whole: set[int] = set()
    kept: set[int] = set()  # asked at a panel at all
    for step in steps:
        most = panels.most if routed else panels.sample
        ids = [edit.id for edit in edits[:step]]
        for edit_id in log_age_sample(ids, most) if most and step < len(edits) else ids:
            n = place[edit_id]
            kept.add(n)
            if replaced_at.get(n, step) >= step:
                whole.add(n)
    at_once = (panels.instant_axes or AXES) if panels.instant else ()
    probes: list[Probe] = []
    for n, edit in enumerate(edits):
        axes = AXES if n in whole else {*at_once, *(("reliability",) if n in kept else ())}
        probes += [p for p in stream.probes(edit.id) if p.axis in axes]
    return [*probes, *stream.general]
