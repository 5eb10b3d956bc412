"""Every edit alone: the editor is put back before the next one, as in the papers' tables of single edits.

Knows runs' parts by their contracts; writes nothing. What is left of many edits is what `lifelong run` measures.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, fields
from statistics import median_low
from typing import TYPE_CHECKING, Any

from lifelong.log import Probed
from lifelong.log.checkpoint import copied
from lifelong.log.shown import short_repr
from lifelong.running.config import RunConfig
from lifelong.running.progress import LOADING_AFTER_S, PLAIN_EVERY_S, heartbeat
from lifelong.running.words import ConfigError
from lifelong.studies.five import five

if TYPE_CHECKING:
    from lifelong.running.prepare import Prepared


@dataclass(frozen=True)
class Single:
    """What single edits of one editor gave: the five metrics, seconds of an edit (median), how many edits failed."""

    editor: str
    metrics: Mapping[str, float]
    edits: int
    edit_wall_s: float
    not_finite: int
    facts: tuple[Probed, ...]

    __repr__ = short_repr

    def plain(self) -> dict[str, Any]:
        """Return everything but the facts as plain data."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "facts"}

    def line(self) -> str:
        """Return the row of a table."""
        shown = "  ".join(f"{name} {value:.3f}" for name, value in self.metrics.items())
        cost = f"{self.edits} edits  {self.edit_wall_s * 1e3:.0f} ms each  {self.not_finite} not finite"
        return f"{self.editor:<12} {shown}  {cost}"


def single(
    source: str | RunConfig | None = None,
    *,
    fitted: bool = True,
    say: Callable[[str], None] = lambda _: None,
    **changes: Any,
) -> Single:
    """Make every edit of a configuration's stream alone, ask its probes, take it back, and return what came out.

    `changes` are keys of the configuration (`editor="grace"`, `edits=200`). With `fitted` false a trained editor
    stays untrained. Raises what `run` raises; an edit that is not finite counts with the answers of the editor as it
    is.
    """
    from lifelong.running.prepare import prepare, resolve

    resolved = resolve(source, changes)
    if (chunk := resolved.config.restore_every or 1) != 1:
        raise ConfigError(f"restore_every={chunk}: here the editor is put back after every edit; leave it out.")
    with heartbeat(say, "loading the stream and the model", after_s=LOADING_AFTER_S):
        ready = prepare(resolved, say)
    with ready.computing():
        return _each_alone(ready, fitted, say)


def _each_alone(ready: Prepared, fitted: bool, say: Callable[[str], None]) -> Single:
    from lifelong.probing.baseline import Baseline
    from lifelong.probing.latency import timed_cold
    from lifelong.probing.panel import Panel, PanelSettings

    config, vlm, stream = ready.config, ready.vlm, ready.stream
    probes = [p for edit in stream.edits for p in stream.probes(edit.id)]
    with heartbeat(say, f"asking the frozen model about {len(stream.edits)} edits"):
        baseline = Baseline.prepare(vlm, probes, config.cache_folder() / "baseline", max_tokens=ready.limit.tokens)
    with heartbeat(say, "learning") if fitted and ready.fit is not None else nullcontext():
        editor = ready.editor() if fitted else ready.resolved.editor(vlm)
    before = copied(editor.state())
    facts: list[Probed] = []
    spent: list[float] = []
    not_finite, said_at = 0, time.perf_counter()
    try:
        for number, edit in enumerate(stream.edits, start=1):
            panel = Panel(vlm, editor, stream.probes, (), PanelSettings(), baseline, config.seed)
            with timed_cold(vlm) as taken:
                try:
                    editor.edit([edit])
                except FloatingPointError as error:
                    not_finite += 1
                    say(str(error))
            spent.append(taken.wall_s)
            facts += panel.instant(1, 0.0, [edit])
            editor.load(before)
            if time.perf_counter() - said_at > PLAIN_EVERY_S:
                said_at = time.perf_counter()
                say(f"{number}/{len(stream.edits)} edits")
    finally:
        editor.close()
    return Single(ready.resolved.label, five(facts), len(stream.edits), median_low(spent), not_finite, tuple(facts))
