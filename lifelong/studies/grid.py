"""The cells of a sweep: the product of the lists in a grid, in a file, in words or in Python.

Knows the keys of a run and which of them are lists themselves; nothing of how a cell is run.
"""

from __future__ import annotations

import collections.abc
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args, get_origin

from pydantic import BaseModel

from lifelong.running.changes import flat_changes
from lifelong.running.config import NamedPart, RunConfig, find_table, from_table
from lifelong.running.options import options_model
from lifelong.running.prepare import plain_changes, resolve
from lifelong.running.words import ConfigError, words_of
from streams.near import near

SWEEP_KEYS = ("title", "run", "grid")
_LISTS = (list, tuple, set, frozenset, collections.abc.Sequence)


@dataclass(frozen=True)
class Cell:
    """One run of a sweep: what sets it apart (its run's label and what else the grid varies), its configuration."""

    label: str
    config: RunConfig


def is_sweep(source: str) -> bool:
    """Return whether a recipe or file has a grid; raises `ConfigError` where there is none of that name."""
    return bool(find_table(source).get("grid"))


def cells(source: str | None, changes: Mapping[str, Any] | None = None) -> list[Cell]:
    """Return the cells of a sweep recipe or file (or of the defaults) with changes by dotted key.

    A change that is a list varies its key (`seed=0,1`), instead of what the grid of the file gives for it; of a key
    that is a list itself (`panels=1,2,5`) it is one value, and a list of lists varies it. A changed option
    (`stream.split=eval`) also counts where a part of the grid has another value for it. Every cell's configuration
    is checked before anything runs; raises `ConfigError` with the label of the cell.
    """
    table = find_table(source) if source else {}
    changes = plain_changes(source, changes or {})
    if "grid" in table:
        for key in table:
            if key not in SWEEP_KEYS:
                raise ConfigError(f"{source}: a sweep has no table {key!r}.{near(key, SWEEP_KEYS)}")
    run = table.get("run", {}) if "grid" in table else table
    grid = {key: _values(key, value) for key, value in table.get("grid", {}).items()}
    names = _names_of_parts(run, grid, changes)
    for key, value in changes.items():
        if key in grid or is_varied(key, value, names):
            grid[key] = _values(key, value if is_varied(key, value, names) else [value])
    if not grid:
        if source:
            raise ConfigError(
                f"{source} is one run (it has no [grid] of lists): use `lifelong run {source}`, or vary a key: "
                f"`lifelong sweep {source} seed=0,1`."
            )
        raise ConfigError(
            "nothing varies: give a recipe or a FILE.toml with a [grid], or lists, for example "
            "`lifelong sweep editor=none,grace seed=0,1`."
        )
    fixed = {key: value for key, value in changes.items() if key not in grid}
    found = []
    for values in itertools.product(*grid.values()):
        own = {key: _without(key, value, fixed) for key, value in zip(grid, values, strict=True)}
        name = " ".join(words_of(own))
        try:
            resolved = resolve(from_table(run, flat_changes({**fixed, **own})))
        except (ValueError, OSError, ImportError) as error:
            raise ConfigError(f"{name}: {error}") from error
        rest = {k: v for k, v in own.items() if k.split(".")[0] != "editor"}
        config = with_threads(resolved.config)
        if not (config.label and any(cell.config == config for cell in found)):  # two settings that are equal are one
            found.append(Cell(" ".join([resolved.label, *words_of(rest)]), config))
    return found


def _without(part: str, value: Any, changes: Mapping[str, Any]) -> Any:
    """Return a value of the grid without the options that a change gives another value."""
    if not isinstance(value, Mapping):
        return value
    return {option: one for option, one in value.items() if f"{part}.{option}" not in changes}


def with_threads(config: RunConfig) -> RunConfig:
    """Return a configuration with one thread where none is said: what runs beside a cell must not change its name."""
    return config if config.threads else config.model_copy(update={"threads": 1})


def is_varied(key: str, value: Any, names: Mapping[str, Sequence[str]]) -> bool:
    """Return whether a value is a list of values to run with, and not one value that is a list.

    `names` are those that each part has in some cell: an option's type is that of its part.

    >>> is_varied("seed", [0, 1], {}), is_varied("panels", [1, 2], {}), is_varied("panels", [[1, 2], [5]], {})
    (True, False, True)
    """
    if not isinstance(value, list | tuple):
        return False
    return any(isinstance(one, list | tuple) for one in value) or not _takes_list(key, names)


def _takes_list(key: str, names: Mapping[str, Sequence[str]]) -> bool:
    part, _, option = key.partition(".")
    field = RunConfig.model_fields.get(part)
    if field is None:
        return False
    if not option:
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel) and kind is not NamedPart:
            return True  # a table that is short for its list, as `panels` is
        return _holds_list(kind)
    models = [m for name in names.get(part, ()) if (m := _options_model(part, name)) is not None]
    if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
        models.append(field.annotation)
    return any(_holds_list(m.model_fields[option].annotation) for m in models if option in m.model_fields)


def _options_model(part: str, name: str) -> type[BaseModel] | None:
    """Return the options of a part of a run; None for a misspelt name: that is said later."""
    from lifelong.editing.find import editor_class

    try:
        return editor_class(name).Options if part == "editor" else options_model(part, name)
    except (ValueError, OSError, ImportError):
        return None


def _holds_list(annotation: Any) -> bool:
    if annotation in _LISTS or get_origin(annotation) in _LISTS:
        return True
    inner = [] if get_origin(annotation) in (dict, collections.abc.Mapping) else get_args(annotation)
    return any(_holds_list(one) for one in inner)


def _names_of_parts(*tables: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the names that each part has in any of the tables, and its default."""
    found: dict[str, list[str]] = {}
    for part, field in RunConfig.model_fields.items():
        default = field.default
        given = [default.name] if isinstance(default, NamedPart) else []
        for table in tables:
            value = table.get(part)
            for one in value if isinstance(value, list | tuple) else [value]:
                name = one.get("name") if isinstance(one, Mapping) else one
                given += [name] if isinstance(name, str) else []
        found[part] = given or ["poisson"]
    return found


def _values(key: str, given: Any) -> list[Any]:
    values = list(given) if isinstance(given, list | tuple) else [given]
    if not values:
        raise ConfigError(f"{key}: an empty list of values. Give at least one, for example {key}=1,2.")
    return values
