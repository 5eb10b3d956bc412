"""Trials of an editor's settings: one run each on edits that are for choosing, and the two runs they are measured by.

Knows configurations, runs and their facts; nothing of what an option means. Trials lie in a folder as runs, so that
one that is finished is never run again.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from lifelong.editing.contract import EditorOptions
from lifelong.editing.questions import ReeditOptions
from lifelong.log import Probed, RunLog
from lifelong.log.shown import short_repr
from lifelong.running import run as compose
from lifelong.running.config import NamedPart, Panels, RunConfig, load_config
from lifelong.running.prepare import Loaded, prepare, resolve
from lifelong.running.signals import stop_if_asked
from lifelong.running.words import ConfigError, words_of
from lifelong.studies.five import five
from reports.numbers.gains import harmonic
from streams.stream import stream_options

SPLITS = ("tune", "train")
"""What settings are chosen on: the share of the atlas that is kept for it, or a benchmark's training split."""
_OWN = ("editor", "edits", "seed", "out", "panels", "threads", "name", "label")  # keys that a trial says itself

REEDIT_OPTIONS = frozenset(ReeditOptions.model_fields) - set(EditorOptions.model_fields)


@dataclass(frozen=True)
class Trial:
    """One setting that was tried: what it changes of the defaults, over how many edits, and what came out.

    `objective` is 0 for doing nothing and 1 for the ceiling; that of a failed trial is -inf. `wall_s` are the seconds
    of its edits and probes, and of a fit that it had to make.
    """

    options: Mapping[str, Any]
    edits: int = 0
    metrics: Mapping[str, float] = field(default_factory=dict)
    objective: float = -math.inf
    wall_s: float = 0.0
    error: str = ""

    __repr__ = short_repr

    def line(self) -> str:
        """Return it as a row: objective, metrics, seconds, what it changed."""
        words = " ".join(words_of(self.options)) or "the defaults"
        if self.error:
            return f"failed  {words}: {self.error}"
        return f"{self.objective:.4f}  {shown_metrics(self.metrics)}  {self.wall_s:.0f} s  {words}"


class Yardstick:
    """Edits that settings are tried on, and what the unedited model and the ceiling score on them.

    Model and stream are those of the words `on`, without which they are the atlas's. They are loaded once, serve to
    find finished runs and are asked nothing. Raises `ConfigError`.
    """

    def __init__(self, seed: int, out: str, on: Mapping[str, Any] | None = None) -> None:
        self.seed, self.out = seed, out
        self.base = _tried_on(on or {})
        self.loaded = Loaded()
        self._ends: dict[int, tuple[Mapping[str, float], Mapping[str, float]]] = {}

    def config(self, editor: str, options: Mapping[str, Any], edits: int) -> RunConfig:
        """Return the run of a trial; of one thread, so that what runs beside it does not change its name."""
        return self.base.model_copy(
            update={
                "editor": NamedPart(name=editor, options=dict(options)),
                "edits": edits,
                "panels": Panels(at=(edits,), instant=False, latency_routes=0, latency_answers=0),
                "seed": self.seed,
                "threads": 1,
                "out": self.out,
            }
        )

    def vlm(self) -> Any:
        """Return the model that trials edit, to be asked about its shape."""
        return self.loaded.model(resolve(self.config("none", {}, 1)).config)

    def idle(self, edits: int) -> frozenset[str]:
        """Return which options that many edits leave without effect: those about re-edits, if there are none.

        Two settings that differ only in these come to the same in every trial.
        """
        stream = self.loaded.stream(resolve(self.config("none", {}, edits)).config)
        again = any(edit.supersedes for edit in stream.edits)
        asked = {edit.query.digest for edit in stream.edits}
        return frozenset() if again or len(asked) < len(stream.edits) else REEDIT_OPTIONS

    def ends(self, edits: int) -> tuple[Mapping[str, float], Mapping[str, float]]:
        """Return the five metrics of the unedited model (floor) and of the oracle (ceiling), run once a length."""
        if edits not in self._ends:
            floor, ceiling = (self._metrics(self._run(name, {}, edits)) for name in ("none", "oracle"))
            self._ends[edits] = floor, ceiling
        return self._ends[edits]

    def trial(self, editor: str, options: Mapping[str, Any], edits: int) -> Trial:
        """Return what a setting scores, from its finished run where there is one; one that fails keeps its error."""
        floor, ceiling = self.ends(edits)
        begun = time.perf_counter()
        try:
            folder = self._run(editor, options, edits)
            metrics = self._metrics(folder)
        except (ValueError, RuntimeError, ArithmeticError) as error:
            stop_if_asked()
            said = " ".join(str(error).split())[:200] or type(error).__name__
            return Trial(options, edits, error=said, wall_s=time.perf_counter() - begun)
        score = harmonic(metrics, floor, ceiling)
        error = "" if score == score else "its edits have no probes of success, or none of locality: give more edits"
        return Trial(options, edits, metrics, -math.inf if error else score, spent_wall_s(folder), error)

    def _run(self, editor: str, options: Mapping[str, Any], edits: int) -> Path:
        config = self.config(editor, options, edits)
        folder = prepare(resolve(config), loaded=self.loaded).folder
        if (folder / "DONE").exists() and RunLog.open(folder).done():
            return folder
        return compose.run(config, resume=True, quiet=True)

    def _metrics(self, folder: Path) -> dict[str, float]:
        return five(last_probes(folder))


def _tried_on(words: Mapping[str, Any]) -> RunConfig:
    """Return the configuration that all trials share, its stream on the split for choosing where it has one."""
    own = [key for key in words if key.split(".")[0] in _OWN]
    if own:
        raise ConfigError(f"on {own[0]}: that is not said here; trials are on a stream and a model.")
    config = load_config(None, words)
    split = stream_options(config.stream.name).model_fields.get("split")
    known = [one for one in SPLITS if split is not None and one in get_args(split.annotation)]
    if not known or "split" in config.stream.options:
        return config
    part = NamedPart(name=config.stream.name, options={**config.stream.options, "split": known[0]})
    return config.model_copy(update={"stream": part})


def last_probes(folder: Path) -> list[Probed]:
    """Return the facts about probes at the last panel of a run."""
    found = [Probed(**row) for row in RunLog.open(folder).table(Probed).to_pylist()]
    last = max((row.step for row in found), default=0)
    return [row for row in found if row.step == last]


def spent_wall_s(folder: Path) -> float:
    """Return the measured seconds of a finished run's fit and loop."""
    wall_s = RunLog.open(folder).notes.get("wall_s", {})
    return float(wall_s.get("fit", 0.0)) + float(wall_s.get("simulate", 0.0))


def shown_metrics(metrics: Mapping[str, float]) -> str:
    """Return metrics as one line."""
    return "  ".join(f"{name} {value:.3f}" for name, value in metrics.items())
