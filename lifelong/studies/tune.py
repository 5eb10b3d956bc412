"""Choosing an editor's options: trials on edits of the `fit` split, one budget and one objective for all editors.

Knows configurations, runs and their facts; nothing of what an option means. The first trial is the defaults, so that
what is chosen is never worse than they are on the edits that were looked at.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lifelong.editing.contract import Editor
from lifelong.editing.find import editor_class
from lifelong.log.shown import Shown, short_repr
from lifelong.running.changes import editor_file
from lifelong.running.config import NamedPart, Panels, RunConfig
from lifelong.running.parts import options_of
from lifelong.running.progress import heartbeat
from lifelong.running.signals import stop_if_asked
from lifelong.running.words import ConfigError, to_toml, words_of
from lifelong.studies.five import five
from streams.near import near


@dataclass(frozen=True)
class Trial:
    """One setting that was tried: what it changes of the defaults, the five metrics and their mean."""

    options: Mapping[str, Any]
    metrics: Mapping[str, float] = field(default_factory=dict)
    wall_s: float = 0.0
    error: str = ""

    __repr__ = short_repr

    @property
    def objective(self) -> float:
        """The mean of the five metrics; that of a failed trial is -inf."""
        return sum(self.metrics.values()) / len(self.metrics) if self.metrics else -math.inf


def tune(
    editor: str | type[Editor],
    space: Mapping[str, Sequence[Any]] | None = None,
    *,
    trials: int = 12,
    edits: int = 100,
    seed: int = 0,
    out: str = "runs/tune",
    say: Callable[[str], None] = lambda _: None,
    **values: Any,
) -> list[Trial]:
    """Run trials of an editor on `edits` edits of the atlas's `fit` split, and return them, the best one first.

    `space` holds the values to try by option, and so do `values` (`radius=[1, 10]`); by default what the editor says
    of itself (`Editor.searched`). `editor` may be a class.
    Finished trials lie in `out` as runs and are not run again. A trial that fails is kept with its error. Raises
    `ConfigError` for an editor without a space, and for an option or a value that it does not have.
    """
    from lifelong.running import run as compose

    for name, value in (("trials", trials), ("edits", edits)):
        if value < 1:
            raise ConfigError(f"{name}={value}: expected at least 1.")
    if not isinstance(editor, str):
        editor = editor_file(editor, RunConfig(out=out).cache_folder())
    chosen = space_of(editor, {**(space or {}), **values})
    done: list[Trial] = []
    fields = editor_class(editor).Options.model_fields
    defaults = {k: fields[k].get_default(call_default_factory=True) for k in chosen}
    for number, options in enumerate(drawn(chosen, defaults, trials, seed), start=1):
        config = RunConfig(
            editor=NamedPart(name=editor, options=options),
            stream=NamedPart(name="atlas", options={"split": "fit"}),
            edits=edits,
            panels=Panels(at=(edits,), instant=False, latency_routes=0, latency_answers=0),
            seed=seed,
            out=out,
        )
        try:
            with heartbeat(say, f"trial {number}/{trials}: {' '.join(words_of(options)) or 'the defaults'}"):
                folder = compose.run(config, resume=True, quiet=True)
            done.append(Trial(options, five(last_probes(folder)), simulated_wall_s(folder)))
        except (ValueError, RuntimeError, FloatingPointError) as error:
            stop_if_asked()
            done.append(Trial(options, error=" ".join(str(error).split())[:200]))
        say(f"trial {number}/{trials}: {line_of(done[-1])}")
    return Shown(sorted(done, key=lambda t: -t.objective))  # stable: of equal ones the earlier, the defaults first


def space_of(editor: str, given: Mapping[str, Sequence[Any]] | None = None) -> dict[str, tuple[Any, ...]]:
    """Return the values to try by option, every one of them checked; raises `ConfigError`."""
    cls = editor_class(editor)
    found = {k: tuple(v) if isinstance(v, list | tuple) else (v,) for k, v in (given or cls.searched).items()}
    if not found:
        raise ConfigError(
            f"editor={editor} names no options to search (`searched`). Give some, each with the values to try: "
            f"lifelong tune {editor} option=value,value."
        )
    for key, values in found.items():
        if key not in cls.Options.model_fields:
            raise ConfigError(f"editor.{key}: {editor} has no such option.{near(key, cls.Options.model_fields)}")
        for value in values:
            options_of(cls, {key: value})
    return found


def drawn(
    space: Mapping[str, Sequence[Any]], defaults: Mapping[str, Any], trials: int, seed: int
) -> list[dict[str, Any]]:
    """Return what trials change: nothing, then different random points of the space, at most all of it.

    >>> drawn({"steps": (1, 2), "rate": (0.1, 0.2)}, {"steps": 1, "rate": 0.1}, 3, 0)
    [{}, {'steps': 2}, {'rate': 0.2}]
    """
    rng = np.random.default_rng(np.random.SeedSequence([seed, 0x7E]))
    size = math.prod(len(v) for v in space.values())
    found: list[dict[str, Any]] = [{}]
    for place in rng.permutation(size):
        if len(found) == trials:
            break
        point, rest = {}, int(place)
        for key, values in space.items():
            rest, index = divmod(rest, len(values))
            point[key] = values[index]
        changed = {k: v for k, v in point.items() if v != defaults[k]}
        if changed not in found:
            found.append(changed)
    return found


def last_probes(folder: Path) -> list[Any]:
    """Return the facts about probes at the last panel of a run."""
    from lifelong.log import Probed, RunLog

    found = [Probed(**row) for row in RunLog.open(folder).table(Probed).to_pylist()]
    last = max((row.step for row in found), default=0)
    return [row for row in found if row.step == last]


def simulated_wall_s(folder: Path) -> float:
    """Return the measured seconds of a finished run's loop."""
    from lifelong.log import RunLog

    return float(RunLog.open(folder).notes.get("wall_s", {}).get("simulate", 0.0))


def line_of(trial: Trial) -> str:
    """Return a trial in one line: objective, metrics, seconds, what it changed."""
    words = " ".join(words_of(trial.options)) or "the defaults"
    if trial.error:
        return f"failed  {words}: {trial.error}"
    shown = "  ".join(f"{name} {value:.3f}" for name, value in trial.metrics.items())
    return f"{trial.objective:.4f}  {shown}  {trial.wall_s:.0f} s  {words}"


def recipe_of(editor: str, trials: Sequence[Trial], *, edits: int, seed: int) -> str:
    """Return the best trial as a recipe of a run, its comments the log of all trials, best first.

    Raises `RuntimeError` when every trial failed.
    """
    if trials[0].error:
        raise RuntimeError(f"editor={editor}: all {len(trials)} trials failed. The first: {line_of(trials[0])}")
    head = (
        f"# {editor} on the atlas, as chosen by `lifelong tune {editor}`.\n"
        f"# {len(trials)} trials of {edits} edits of the fit split, seed {seed}; best first.\n"
        "# Objective: the mean of Rel, T-Gen, M-Gen, T-Loc and M-Loc, teacher forced, after the last edit.\n"
    )
    log = "".join(f"# {line_of(trial)}\n" for trial in trials)
    table = {"stream": "atlas", "model": "atlas", "editor": {"name": editor, **trials[0].options}}
    return f"{head}{log}\n{to_toml(table)}"
