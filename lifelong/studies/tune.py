"""Choosing an editor's options by trials: one objective and one budget for all editors, at two lengths.

Knows trials and their scores; nothing of what an option means. Every setting of the budget is tried at the first
length, the best third of them at the next, and the best at the longest length is chosen. The defaults, the published
setting and what earlier trials chose are tried first, so that no good setting that is known is missed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from lifelong.editing.contract import Editor
from lifelong.editing.find import editor_class
from lifelong.log.shown import short_repr
from lifelong.running.changes import editor_file
from lifelong.running.config import RunConfig
from lifelong.running.progress import heartbeat
from lifelong.running.settings import tuned_options
from lifelong.running.words import ConfigError, to_toml, words_of
from lifelong.studies.candidates import Candidates, Setting, space_of
from lifelong.studies.edges import edge_warnings
from lifelong.studies.trials import Trial, Yardstick, shown_metrics

TRIAL_EDITS = (100, 500)
FEWEST_TRIALS = 2  # settings that go on to the next length, at least


@dataclass(frozen=True)
class Budget:
    """What a tuning may spend: distinct settings, and seconds of trials (0: as many as they take).

    Where there is another length, the first one may use half of the seconds. `FEWEST_TRIALS` of each are always run.
    """

    trials: int = 12
    seconds: float = 0.0
    edits: tuple[int, ...] = TRIAL_EDITS

    def __post_init__(self) -> None:
        """Raise `ConfigError` for a budget that nothing can be tried with."""
        for name, value in (("trials", self.trials), *(("edits", n) for n in self.edits)):
            if value < 1:
                raise ConfigError(f"{name}={value}: expected at least 1.")
        if not math.isfinite(self.seconds) or self.seconds < 0:
            raise ConfigError(f"seconds={self.seconds}: expected at least 0; 0 is as many as the trials take.")
        if not self.edits or sorted(set(self.edits)) != list(self.edits):
            given = ",".join(map(str, self.edits))
            raise ConfigError(f"edits={given}: expected one length or more, each longer than the one before.")

    def until_s(self, stage: int) -> float:
        """Return the seconds that may have been spent when a stage (a length) ends."""
        return (self.seconds or math.inf) * (0.5 if stage < len(self.edits) - 1 else 1.0)


@dataclass(frozen=True)
class Tuning:
    """What was tried of an editor, the best first: trials of the longest length, then those of shorter ones.

    `ends` are the metrics of the unedited model and of the ceiling by length, `base` what all trials were on;
    `warnings` say where the grid ended too early, `left_out` which settings cannot be made here.
    """

    editor: str
    budget: Budget
    seed: int
    trials: tuple[Trial, ...]
    ends: Mapping[int, tuple[Mapping[str, float], Mapping[str, float]]]
    warnings: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    base: RunConfig = field(default_factory=RunConfig)

    __repr__ = short_repr

    @property
    def best(self) -> Trial:
        """The trial that is chosen; raises `RuntimeError` where every trial failed, or none could be made."""
        if not self.trials:
            raise RuntimeError(f"editor={self.editor}: no setting can be made here. {'; '.join(self.left_out)}")
        if self.trials[0].error:
            said = f"all {len(self.trials)} trials failed. The first: {self.trials[0].line()}"
            raise RuntimeError(f"editor={self.editor}: {said}")
        return self.trials[0]

    def of(self, edits: int) -> list[Trial]:
        """Return the trials of a length, the best first."""
        return [trial for trial in self.trials if trial.edits == edits]

    def spent(self) -> str:
        """Return in words what was spent of the budget."""
        each = " and ".join(f"{len(self.of(n))} of {n} edits" for n in self.budget.edits)
        most = f", {self.budget.seconds:g} s" if self.budget.seconds else ""
        spent = f"{each}; {sum(t.wall_s for t in self.trials):.0f} s of trials"
        return f"{spent} (budget: {self.budget.trials} distinct settings{most})"


def tune(
    editor: str | type[Editor],
    space: Mapping[str, Sequence[Any]] | None = None,
    *,
    trials: int = 12,
    seconds: float = 0.0,
    edits: int | Sequence[int] = TRIAL_EDITS,
    seed: int = 0,
    out: str = "runs/tune",
    on: Mapping[str, Any] | None = None,
    say: Callable[[str], None] = lambda _: None,
    **values: Any,
) -> Tuning:
    """Try settings of an editor on edits that are kept for choosing, and return the trials, the best one first.

    `space` holds the values to try by option, and so do `values` (`radius=[1, 10]`); by default what the editor
    says of itself (`Editor.searched`). `editor` may be a class. The budget are `trials` distinct settings (those
    that come to the same count once) and `seconds` of trials, whichever ends first; `edits` are the lengths. The
    objective is `reports.numbers.gains.harmonic` between `none` and `oracle` on the same edits. The defaults and the
    published setting are among the trials, and where no values are given the one that an earlier tuning chose
    (`editor.setting=tuned`). Finished trials lie in `out` as runs and are not run again; one that fails is kept with
    its error. `on` are words of a run that say on which stream and model (`{"stream": "evqa", "stream.root":
    "data"}`), whose training split is edited then; the atlas without. Raises `ConfigError` for an editor without a
    space, for an option or a value that it does not have, and for a budget of nothing.
    """
    budget = Budget(trials, seconds, (edits,) if isinstance(edits, int) else tuple(edits))
    if not isinstance(editor, str):
        editor = editor_file(editor, RunConfig(out=out).cache_folder())
    chosen = space_of(editor, {**(space or {}), **values})
    yardstick = Yardstick(seed, out, on)
    with heartbeat(say, f"{editor}: the unedited model and the ceiling on {budget.edits[0]} edits"):
        yardstick.ends(budget.edits[0])
    idle = yardstick.idle(budget.edits[-1])
    earlier = None if space or values else tuned_options(editor, str((on or {}).get("model", "")))
    known = [] if earlier is None else [earlier]
    candidates = Candidates(editor_class(editor), chosen, yardstick.vlm(), seed, idle, known)

    found = _explored(editor, candidates, yardstick, budget, say)
    stages = {budget.edits[0]: found}
    for stage, length in enumerate(budget.edits[1:], start=1):
        best = [t.options for t in _best_first(found) if not t.error][: max(FEWEST_TRIALS, math.ceil(len(found) / 3))]
        found = []
        for number, options in enumerate(best, start=1):
            spent = sum(t.wall_s for each in stages.values() for t in each) + sum(t.wall_s for t in found)
            if number > FEWEST_TRIALS and spent >= budget.until_s(stage):
                break
            found.append(_tried(yardstick, editor, options, length, f"{number}/{len(best)}", say))
        stages[length] = found
    ranked = [trial for length in reversed(budget.edits) for trial in _best_first(stages[length])]
    ranked = [t for t in ranked if not t.error] + [t for t in ranked if t.error]

    told = Tuning(
        editor, budget, seed, tuple(ranked), {n: yardstick.ends(n) for n in stages if stages[n]}, base=yardstick.base
    )
    left_out = tuple(f"{words}: {why}" for why, words in candidates.left_out.items())
    return replace(told, warnings=tuple(_warnings(candidates, told)), left_out=left_out)


def _explored(
    editor: str, candidates: Candidates, yardstick: Yardstick, budget: Budget, say: Callable[[str], None]
) -> list[Trial]:
    """Try settings at the first length: given ones, half of the budget evenly over the grid, then beside the best."""
    first = candidates.first()
    found: list[Trial] = []
    while len(found) < budget.trials:
        if len(found) >= FEWEST_TRIALS and sum(t.wall_s for t in found) >= budget.until_s(0):
            break
        setting: Setting | None = next(first, None)
        if setting is None and len(found) >= budget.trials / 2:
            setting = candidates.beside([dict(t.options) for t in _best_first(found) if not t.error])
        if setting is None and (setting := candidates.even()) is None:
            break  # there are no more that differ
        number = f"{len(found) + 1}/{budget.trials}"
        found.append(_tried(yardstick, editor, setting, budget.edits[0], number, say))
    return found


def _tried(
    yardstick: Yardstick, editor: str, options: Setting | Mapping[str, Any], edits: int, number: str,
    say: Callable[[str], None],
) -> Trial:  # fmt: skip
    words = " ".join(words_of(options)) or "the defaults"
    with heartbeat(say, f"trial {number} of {edits} edits: {words}"):
        trial = yardstick.trial(editor, options, edits)
    say(f"trial {number} of {edits} edits: {trial.line()}")
    return trial


def _best_first(trials: Sequence[Trial]) -> list[Trial]:
    return sorted(trials, key=lambda t: -t.objective)  # stable: of equal ones the earlier, the defaults first


def _warnings(candidates: Candidates, told: Tuning) -> list[str]:
    """Return where the best setting lies on an edge of the grid, as far as the trials of its length can tell."""
    if not told.trials or told.trials[0].error:
        return []
    best = told.trials[0]
    scored = [(dict(t.options), t.objective) for t in told.of(best.edits) if not t.error]
    return edge_warnings(candidates, dict(best.options), scored)


def recipe_of(told: Tuning) -> str:
    """Return the best trial as a recipe of a run, its comments the budget, the warnings and the log of all trials.

    Raises `RuntimeError` when every trial failed.
    """
    best, base = told.best, told.base
    stream = base.stream.flat()
    split = stream.pop("split", "")
    usual = RunConfig()
    others = {"model": (base.model.name, usual.model.name), "dtype": (base.dtype, usual.dtype)}
    on = "".join(f" --on {key}={own}" for key, (own, default) in others.items() if own != default)
    lines = [
        f"{told.editor} on {'the atlas' if base.stream.name == 'atlas' else base.stream.name}, "
        f"as chosen by `lifelong tune {told.editor}{on}`.",
        f"Trials on {f'edits of split {split}' if split else 'its edits'}, seed {told.seed}: {told.spent()}.",
        "Objective: the harmonic mean of locality (T-Loc, M-Loc) and of the gain in success (Rel, T-Gen, M-Gen),",
        "(x - none) / (oracle - none); teacher forced, after the last edit. Doing nothing scores 0.",
        *(f"Warning: {warning}" for warning in told.warnings),
        *(f"Left out: {words}" for words in told.left_out),
    ]
    for length in reversed(told.budget.edits):
        if length in told.ends:
            lines.append(f"{length} edits, best first:")
            lines += [trial.line() for trial in told.of(length)]
            names = zip(("none", "oracle"), told.ends[length], strict=True)
            lines += [f"        {shown_metrics(metrics)}  {name}" for name, metrics in names]
    log = "".join(f"# {line}\n" for line in lines)
    where = stream if len(stream) > 1 else stream["name"]
    model = base.model.flat() if base.model.options else base.model.name
    table: dict[str, Any] = {"stream": where, "model": model}
    table |= {} if base.dtype == usual.dtype else {"dtype": base.dtype}
    table |= {"editor": {"name": told.editor, **best.options}}
    return f"{log}\n{to_toml(table)}"
