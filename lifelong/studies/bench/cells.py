"""Incremental probing of a long stream beside brute force at a few panels, and one probe at a time on a sample.

Knows panels and parts by their contracts; writes nothing. What is too long to be timed whole (one probe at a time, as
published loops do it) is timed on cells drawn with a seed and extrapolated with its interval.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from lifelong.editing.contract import Editor
from lifelong.log import Probed
from lifelong.probing.asking import answered
from lifelong.probing.baseline import Baseline
from lifelong.probing.measure import MEASURED, SUPERSEDED, WITHDRAWN, Item, Score, asks_of, scores_of
from lifelong.probing.panel import PanelSettings
from lifelong.studies.bench.probing import ROUNDING, SILENT, Side, edited, unequal
from streams.orders.order import generator
from streams.types import Probe

if TYPE_CHECKING:
    from lifelong.models.vlm import VLM
    from streams.stream import Stream


@dataclass
class Alone:
    """Probes asked one at a time: measured seconds of each, and those whose scores were not the panel's."""

    wall_s: list[float] = field(default_factory=list)
    unequal: list[str] = field(default_factory=list)

    def total_s(self, cells: int) -> tuple[float, float, float]:
        """Return the seconds of so many cells and the ends of their 95 % interval (normal; cells drawn alike)."""
        walls = np.asarray(self.wall_s)
        half = 1.96 * float(walls.std(ddof=1)) / math.sqrt(len(walls)) if len(walls) > 1 else math.nan
        mean = float(walls.mean()) if len(walls) else math.nan
        return mean * cells, (mean - half) * cells, (mean + half) * cells


@dataclass
class Again:
    """What brute force was asked: panels, distinct probes, facts, and in words the facts that were not equal."""

    panels: int = 0
    probes: int = 0
    facts: int = 0
    unequal: list[str] = field(default_factory=list)

    def take(self, reused: Sequence[Probed], brute: Sequence[Probed]) -> None:
        """Count one panel's facts, and note where they differ from those with reuse."""
        self.panels += 1
        self.probes += len({f.probe_id for f in brute})
        self.facts += len(brute)
        self.unequal += unequal(reused, brute)


def ask_alone(vlm: VLM, editor: Editor, item: Item, baseline: Baseline) -> tuple[float, tuple[Score, ...]]:
    """Encode, route, answer and score one probe with nothing cached; return measured seconds and scores."""
    vlm.cache.clear()
    vlm.sync()
    start = time.perf_counter()
    (route,) = editor.route(editor.encode([item.probe.query]))
    pairs = [(ask, route) for ask in asks_of([item], baseline)]
    (reply,) = answered(vlm, editor, pairs, rows=1, max_tokens=baseline.max_tokens)
    scores = scores_of(item.probe, item.role, reply, baseline)
    vlm.sync()
    return time.perf_counter() - start, scores


def compare_cells(
    vlm: VLM,
    editor: Editor,
    stream: Stream,
    steps: Sequence[int],
    baseline: Baseline,
    *,
    cells: int = 2000,
    brute_panels: int = 5,
    settings: PanelSettings = SILENT,
    seed: int = 0,
    on_progress: Callable[[int, int], None] | None = None,
    on_panel: Callable[[dict[str, Any]], None] | None = None,
) -> dict[str, Any]:
    """Edit a stream, probe it incrementally at `steps`, and return its seconds beside those of the two slower ways.

    The editor is new and is closed at the end. About `cells` probes, drawn alike from all that are asked, are asked
    again alone; at `brute_panels` panels, in the middle of equal stretches, everything is asked again. Cells and
    facts that differ are counted and named: hours of work do not end at two logits that are equal but for rounding.
    `on_panel` is given what is known so far after every panel.
    """
    known = {probe.id: probe for probe in stream.every_probe()}
    due = sorted({*(s for s in steps if s < len(stream.edits)), len(stream.edits)})
    share = cells / expected_cells([len(stream.probes(e.id)) for e in stream.edits], len(stream.general), due)
    count = min(brute_panels, len(due))
    chosen = {due[(2 * n + 1) * len(due) // (2 * count)] for n in range(count)}
    everything = settings.model_copy(update={"brute": True})
    fast, slow = (Side.of(vlm, editor, stream, one, baseline, seed) for one in (settings, everything))
    slow.panel.keys_from(fast.panel)  # a picture read at another time, beside others, gives a key other last digits
    rng, alone, cold = generator(seed, "cells"), Alone(), vlm.cache.anew()
    total, again = 0, Again()

    def take(ask: Callable[..., Sequence[Any]]) -> None:
        nonlocal total
        fast.probed = []
        told = {f.probe_id: [] for f in fast.take(vlm, ask)}
        for fact in fast.probed:
            told[fact.probe_id].append(fact)
        total += len(told)
        wanted = share * len(told)
        n = min(len(told), int(wanted) + bool(rng.random() < wanted % 1))
        with vlm.serving_with(cold):
            ids = list(told)
            for place in rng.choice(len(ids), n, replace=False).tolist():
                probe_id = ids[place]
                wall_s, scores = ask_alone(vlm, editor, item_of(known[probe_id], told[probe_id][0]), baseline)
                alone.wall_s.append(wall_s)
                if not same_scores(scores, told[probe_id]):
                    alone.unequal.append(probe_id)

    try:
        for now in edited(editor, stream):
            take(now.instant)
            slow.panel.ask(now.step, 0.0, now.batch)
            if now.reaches(due):
                take(now.full)
                if now.reaches(chosen):
                    slow.probed = []
                    slow.take(vlm, now.full)
                    again.take(fast.probed, slow.probed)
                if on_panel is not None:
                    on_panel(_found(fast, slow, alone, again, total, now.step))
            if on_progress is not None:
                on_progress(now.step, len(stream.edits))
    finally:
        editor.close()
    return _found(fast, slow, alone, again, total, len(stream.edits))


def expected_cells(probes: Sequence[int], general: int, steps: Sequence[int]) -> int:
    """Return about how many probes are asked: each edit's at once, and those of all edits so far at every step.

    >>> expected_cells([10, 10, 10], 5, [2, 3])
    90
    """
    so_far = np.cumsum(probes)
    return int(so_far[-1] + sum(so_far[step - 1] + general for step in steps))


def item_of(probe: Probe, fact: Probed) -> Item:
    """Return what was asked, from a fact about it."""
    role = fact.variant if fact.variant in (SUPERSEDED, WITHDRAWN) else MEASURED
    return Item(probe, fact.age, role)


def same_scores(scores: Sequence[Score], facts: Sequence[Probed]) -> bool:
    """Whether scores are those of a probe's facts, up to the rounding that other batches have."""
    found = {s.scorer: s for s in scores}
    if set(found) != {f.scorer for f in facts}:
        return False
    return all(abs(found[f.scorer].value - f.score) <= ROUNDING.get(f.scorer, 0.0) for f in facts)


def _found(fast: Side, slow: Side, alone: Alone, again: Again, total: int, edits: int) -> dict[str, Any]:
    one_s, low_s, high_s = alone.total_s(total)
    # Both ways encode a query once, and the slow side is given the keys; what brute force does again is the rest.
    each_s = slow.wall_s / again.probes if again.probes else math.nan
    brute_s = each_s * total + fast.parts.get("encode_wall_s", 0.0)
    return {
        "edits": edits,
        "probes": total,
        "incremental_wall_s": fast.wall_s,
        "incremental_parts": {k: v for k, v in fast.parts.items() if k.endswith("_wall_s")},
        "brute_wall_s": brute_s,
        "brute_panels": again.panels,
        "brute_probes": again.probes,
        "brute_facts": again.facts,
        "brute_facts_unequal": list(again.unequal),
        "one_by_one_wall_s": one_s,
        "one_by_one_interval_s": [low_s, high_s],
        "cells": len(alone.wall_s),
        "cells_unequal": sorted(alone.unequal),
        "speed_up_over_brute": brute_s / fast.wall_s,
        "speed_up_over_one_by_one": one_s / fast.wall_s,
        "speed_up_interval": [low_s / fast.wall_s, high_s / fast.wall_s],
    }


def compare_cells_run(
    source: Any = None,
    *,
    cells: int = 2000,
    brute_panels: int = 5,
    on_progress: Callable[[int, int], None] | None = None,
    on_panel: Callable[[dict[str, Any]], None] | None = None,
    **changes: Any,
) -> dict[str, Any]:
    """Compare for a recipe, a file or a `RunConfig` with key=value changes, as `run` takes them; writes no run.

    Returns what `compare_cells` does, with the names of editor, stream and model, and the seconds of the baseline
    (next to none where it was cached). Raises what `run` and `compare_cells` raise.
    """
    from lifelong.studies.bench.probing import ready_to_compare

    start = time.perf_counter()
    ready, baseline, settings, steps, names = ready_to_compare(source, changes)
    names["prepare_wall_s"] = time.perf_counter() - start
    found = compare_cells(
        ready.vlm, ready.editor(), ready.stream, steps, baseline, cells=cells, brute_panels=brute_panels,
        settings=settings, seed=ready.config.seed, on_progress=on_progress,
        on_panel=on_panel,
    )  # fmt: skip
    return names | found
