"""Every editor tuned by one budget, one process each: their recipes, and what each took.

Knows which editors name options to search, and processes; nothing of what a trial does. Whatever is finished is not
run again, so that an interrupted tuning goes on where it was.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lifelong.editing.find import editor_class, editor_names
from lifelong.log.files import write_atomic
from lifelong.log.shown import Shown, short_repr
from lifelong.running.signals import mark_told
from lifelong.running.words import ConfigError, words_of
from lifelong.studies.engines.engine import Ended, Hearer
from lifelong.studies.engines.processes import run_processes
from lifelong.studies.trials import Yardstick
from lifelong.studies.tune import Budget, recipe_of, tune


@dataclass(frozen=True)
class Tuned:
    """How the tuning of one editor ended: its recipe's file or its error, what was chosen, what it took."""

    editor: str
    recipe: Path | None
    objective: float = float("nan")
    edits: int = 0
    options: str = ""
    warnings: tuple[str, ...] = ()
    wall_s: float = 0.0
    error: str = ""

    __repr__ = short_repr

    def line(self) -> str:
        """Return it as a row: seconds of its trials, the editor, the best objective, what was chosen."""
        if self.error:
            return f"{self.wall_s:8.1f} s  {self.editor}  FAILED: {self.error}"
        return f"{self.wall_s:8.1f} s  {self.editor}  {self.objective:.4f} at {self.edits} edits  {self.options}"


def tunable() -> list[str]:
    """Return the names of the editors that name options to search, sorted."""
    return [name for name in editor_names() if editor_class(name).searched]


def tune_all(
    editors: Sequence[str] = (),
    *,
    to: str | Path,
    budget: Budget | None = None,
    seed: int = 0,
    out: str = "runs/tune",
    jobs: int = 1,
    on: Mapping[str, Any] | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> list[Tuned]:
    """Tune editors (all that name options to search by default), `jobs` at a time, and return how each ended.

    The recipe of each is written to `to`/EDITOR.toml as soon as it is chosen; one that fails leaves its old recipe as
    it was and does not stop the others. The yardstick is run before them, once. `on` is as for `tune`. Raises
    `ConfigError`.
    """
    if jobs < 1:
        raise ConfigError(f"jobs={jobs}: expected at least 1.")
    names, budget = list(editors) or tunable(), budget or Budget()
    for name in names:
        editor_class(name)
    yardstick = Yardstick(seed, out, on)
    for length in budget.edits:
        say(f"the unedited model and the ceiling on {length} edits")
        yardstick.ends(length)
    done: dict[int, Tuned] = {}

    def ended(place: int, how: Ended) -> None:
        done[place] = one = _kept(names[place], Path(to), how)
        say(one.line())

    try:
        run_processes(
            [{"tune": {"editor": name, "seed": seed, "out": out, "on": on, **asdict(budget)}} for name in names],
            jobs,
            Hearer(
                on_start=lambda place: say(f"{names[place]}: started"),
                on_line=lambda place, line: say(f"[{names[place]}] {line}"),
                on_end=ended,
            ),
        )
    except BaseException as error:
        if not isinstance(error, Exception):  # Ctrl-C or a signal: what is kept, and how to go on
            written = sum(one.recipe is not None for one in done.values())
            kept = f"finished trials are kept, {written} of {len(names)} recipes are written"
            say(f"tune: stopped; {kept}. The same command goes on.")
            mark_told(error)
        raise
    return Shown(done[place] for place in range(len(names)))


def tuned_as_told(request: Mapping[str, Any], say: Callable[[str], None]) -> Iterator[dict[str, Any]]:
    """Tune one editor in a process of its own, and yield what its starter keeps of it; raises what `tune` raises."""
    told = tune(**request, say=say)
    best = told.best
    yield {
        "recipe": recipe_of(told),
        "objective": best.objective,
        "edits": best.edits,
        "options": " ".join(words_of(best.options)) or "the defaults",
        "warnings": told.warnings,
        "wall_s": sum(trial.wall_s for trial in told.trials),
    }


def _kept(editor: str, folder: Path, how: Ended) -> Tuned:
    """Return how a process ended, its recipe written."""
    if how.code or not how.output:
        said = how.last_words.removeprefix("lifelong: ") or f"ended with code {how.code}"
        return Tuned(
            editor, None, wall_s=how.wall_s, error="stopped; the same command goes on" if how.stopped else said
        )
    told = json.loads(how.output[-1])
    folder.mkdir(parents=True, exist_ok=True)
    path, text = folder / f"{editor}.toml", str(told.pop("recipe"))
    write_atomic(path, lambda file: file.write(text.encode()))
    return Tuned(editor, path, **{**told, "warnings": tuple(told["warnings"])})
