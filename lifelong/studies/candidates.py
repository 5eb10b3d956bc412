"""Which settings of an editor are worth a trial: values of a grid, no two of which come to the same on the model.

Knows an editor's options and a model; runs nothing. First the defaults, the published setting and what is known to be
good; then settings that take each option's values evenly; then those that differ from the best one so far in one step
of one option.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lifelong.editing.contract import Editor
from lifelong.editing.find import editor_class
from lifelong.editing.settled import unused
from lifelong.running.parts import options_of
from lifelong.running.words import ConfigError, words_of
from streams.near import near

if TYPE_CHECKING:
    from lifelong.models.vlm import VLM

Setting = dict[str, Any]
"""What a trial changes of an editor's defaults."""
MOST_LOOKS = 20_000  # places of a grid that are looked at for one that is new


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
        if not values:
            raise ConfigError(f"editor.{key}: an empty list of values. Give at least one, for example {key}=1,2.")
        for value in values:
            options_of(cls, {key: value})
    return found


class Candidates:
    """The settings of one editor that are still to be tried on one model, and those that were.

    `idle` are options without effect on the edits of the trials, `known` settings that earlier trials chose.
    `left_out` says of settings that cannot be made here why not, once for each reason.
    """

    def __init__(
        self,
        kind: type[Editor],
        space: Mapping[str, Sequence[Any]],
        vlm: VLM,
        seed: int,
        idle: Iterable[str] = (),
        known: Iterable[Setting] = (),
    ) -> None:
        self.kind, self.space, self.vlm = kind, space, vlm
        self.known = tuple(known)
        self.idle = set(idle) & set(kind.Options.model_fields)
        fields = kind.Options.model_fields
        self.defaults = {k: f.get_default(call_default_factory=True) for k, f in fields.items()}
        self.left_out: dict[str, str] = {}
        self._taken: set[str] = set()
        self._rng = np.random.default_rng(np.random.SeedSequence([seed, 0x7E]))
        self._even = self._evenly()

    def first(self) -> Iterator[Setting]:
        """Yield the defaults, then the published setting and the known ones where they are others.

        A grid that is made wider has more settings than trials: without the known ones it can lose the best of them.
        """
        for setting in ({}, self.kind.published, *self.known):
            if setting is not None and self._take(dict(setting)):
                yield dict(setting)

    def even(self) -> Setting | None:
        """Return a new setting of the grid, None where none is left: in a row they take all values evenly."""
        return next(self._even, None)

    def beside(self, best: Sequence[Setting]) -> Setting | None:
        """Return a new setting one step from the best ones, the best of those first; None where all were taken."""
        for setting in best:
            steps = [(key, value) for key in self.space for value in self._steps(key, setting)]
            for place in self._rng.permutation(len(steps)):
                key, value = steps[int(place)]
                found = self._changed({**self.defaults, **setting, key: value})
                if self._take(found):
                    return found
        return None

    def form(self, setting: Mapping[str, Any]) -> str:
        """Return a text that settings which come to the same have in common; raises what `options_of` raises."""
        options = unused(self.kind.settles(options_of(self.kind, setting), self.vlm), self.idle)
        return json.dumps(options.model_dump(mode="json"), sort_keys=True)

    def _take(self, setting: Setting) -> bool:
        """Note a setting as taken; False where it was, or one that comes to the same, or where it cannot be made."""
        try:
            form = self.form(setting)
            if form in self._taken:
                return False
            self._taken.add(form)
            self.kind(self.vlm, options_of(self.kind, setting)).close()
        except (ValueError, ArithmeticError, IndexError, ImportError, OSError) as error:
            self.left_out.setdefault(" ".join(str(error).split())[:200], " ".join(words_of(setting)))
            return False
        return True

    def _changed(self, point: Mapping[str, Any]) -> Setting:
        return {k: v for k, v in point.items() if v != self.defaults[k]}

    def _steps(self, key: str, setting: Mapping[str, Any]) -> list[Any]:
        """Return the values one step from an option's: the next numbers of its grid, and all that are no numbers."""
        now = setting.get(key, self.defaults[key])
        numbers = grid_numbers(self.space[key])
        others = [v for v in self.space[key] if v not in numbers and v != now]
        if now not in numbers and not is_number(now):
            return others + numbers[len(numbers) // 2 : len(numbers) // 2 + 1]
        below, above = [v for v in numbers if v < now], [v for v in numbers if v > now]
        return others + below[-1:] + above[:1]

    def _evenly(self) -> Iterator[Setting]:
        """Yield new settings whose options go through their values in random orders; at last all that are left."""
        rows: dict[str, list[int]] = {key: [] for key in self.space}
        misses = 0
        while misses < 30:
            point = {}
            for key, values in self.space.items():
                if not rows[key]:
                    rows[key] = self._rng.permutation(len(values)).tolist()
                point[key] = values[rows[key].pop()]
            setting = self._changed(point)
            misses = 0 if (new := self._take(setting)) else misses + 1
            if new:
                yield setting
        size = math.prod(len(values) for values in self.space.values())
        for place in self._rng.choice(size, min(size, MOST_LOOKS), replace=False).tolist():
            point = {}
            for key, values in self.space.items():
                place, index = divmod(place, len(values))
                point[key] = values[index]
            if self._take(setting := self._changed(point)):
                yield setting


def is_number(value: Any) -> bool:
    """Return whether a value of an option has an order: a number that is no truth value."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def grid_numbers(values: Sequence[Any]) -> list[Any]:
    """Return the numbers among values, sorted: those of a grid that has edges.

    >>> grid_numbers((None, 3, True, 0.5, "x"))
    [0.5, 3]
    """
    return sorted({v for v in values if is_number(v)})


def next_outwards(numbers: Sequence[float], *, up: bool) -> float:
    """Return the number that would go on with a grid beyond one of its ends: by its last ratio, else its last step.

    >>> next_outwards([0.5, 5, 50.0], up=True), next_outwards([2, 4, 8], up=False)
    (500.0, 1)
    """
    last, inner = (numbers[-1], numbers[-2]) if up else (numbers[0], numbers[1])
    by_ratio = min(numbers) > 0 and max(numbers) / min(numbers) >= 4
    found = last * (last / inner) if by_ratio else last + (last - inner)
    if all(isinstance(v, int) for v in numbers):
        return max(last + 1, round(found)) if up else min(last - 1, round(found))
    return float(f"{found:.3g}")
