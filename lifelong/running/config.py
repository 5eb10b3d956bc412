"""The configuration of one run: TOML files, recipes and key=value words in, one frozen checked object out.

Knows the keys that every run understands and their types. Options below `editor`, `stream`, `model`, `clock` and
`arrivals` belong to those parts, which check them themselves.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from lifelong.probing.due import PanelSettings
from lifelong.running.words import ConfigError, override, read_toml
from lifelong.simulation.jobs import Policy
from streams.near import near
from streams.text import printable


class Frozen(BaseModel):
    """A model that refuses unknown keys and never changes."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class NamedPart(Frozen):
    """A named part of a run and its options: `editor="grace"` is short for `{name = "grace"}`.

    >>> NamedPart.model_validate("grace").name
    'grace'
    >>> NamedPart.model_validate({"name": "grace", "radius": 0.8}).options
    {'radius': 0.8}
    """

    name: str
    options: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _gather(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"name": value}
        if isinstance(value, Mapping) and not isinstance(value.get("options"), Mapping):
            return {"name": value.get("name"), "options": {k: v for k, v in value.items() if k != "name"}}
        return value

    def flat(self) -> dict[str, Any]:
        """Return name and options as one table, as it stands in TOML."""
        return {"name": self.name, **self.options}


_STEPS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000, 50000, 100000)


class Panels(PanelSettings):
    """When probes are asked, and what: `at` listed steps or `every` so many edits; the last edit always has a panel.

    Without either, panels are at 1, 2, 5, 10, 20, 50, ... edits.
    """

    at: tuple[int, ...] = ()
    every: int = Field(default=0, ge=0)

    @model_validator(mode="before")
    @classmethod
    def _gather(cls, value: Any) -> Any:
        if isinstance(value, bool):
            raise ValueError("panels is a list of steps such as 1,2,5,10, or panels.every=50")
        if isinstance(value, int):
            return {"at": (value,)}
        if isinstance(value, list | tuple):
            return {"at": tuple(value)}
        if isinstance(value, Mapping) and type(value.get("at")) is int:
            value = {**value, "at": (value["at"],)}
        if isinstance(value, Mapping) and isinstance(value.get("instant_axes"), str):
            value = {**value, "instant_axes": (value["instant_axes"],)}
        nothing = isinstance(value, Mapping) and not value.get("at") and not value.get("every")
        return {**value, "at": _STEPS} if nothing else value

    @field_validator("at", "gaps")
    @classmethod
    def _positive(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if any(step < 1 for step in value):
            raise ValueError(f"steps count edits from 1; got {min(value)}")
        return tuple(sorted(set(value)))

    def steps(self, edits: int) -> tuple[int, ...]:
        """Return the steps of the full panels of a run of `edits` edits.

        >>> Panels(at=(1, 10, 100)).steps(50), Panels(every=20).steps(50)
        ((1, 10, 50), (20, 40, 50))
        """
        listed = {s for s in self.at if s < edits}
        regular = set(range(self.every, edits, self.every)) if self.every else set()
        return tuple(sorted(listed | regular | {edits}))


class FitOptions(Frozen):
    """What a trained editor learns from: how many edits of the stream's disjoint pool, and their seed."""

    edits: int = Field(default=1000, ge=1)
    seed: int = 0


RECIPES = Path(__file__).parents[1] / "recipes"
LONGEST_NAME = 160  # bytes: a hash and the names of locks come on top, and file systems take 255
NOT_HASHED = ("out", "cache", "cache_bytes")  # they change where things lie and how fast they come, never a fact


class RunConfig(Frozen):
    """Everything that decides a run. Field names are the keys of TOML files and of key=value words.

    `queries` and `withdrawals` are arrival processes of their own with a `rate`; of the options of `queries` those of
    `streams.traffic.TrafficOptions` say what is asked. `policy` says who is served first, `batch` and `window_s` how
    many edits are made at once.
    """

    name: str = ""
    editor: NamedPart = NamedPart(name="none")
    stream: NamedPart = NamedPart(name="atlas")
    model: NamedPart = NamedPart(name="atlas")
    clock: NamedPart = NamedPart(name="modelled")
    arrivals: NamedPart = NamedPart(name="poisson")
    edits: int = Field(default=200, ge=1)
    panels: Panels = Panels(at=_STEPS)
    fit: FitOptions = FitOptions()
    seed: int = Field(default=0, ge=0)
    workers: int = Field(default=1, ge=1)
    policy: Policy = "fifo"
    batch: int = Field(default=0, ge=0)
    window_s: float = Field(default=0.0, ge=0)
    queries: NamedPart | None = None
    withdrawals: NamedPart | None = None
    out: str = "runs"
    cache: str = ""
    cache_bytes: int = Field(default=2**30, ge=0)
    threads: int = Field(default=0, ge=0)
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    device: str = "cpu"

    def cache_folder(self) -> Path:
        """Return where baselines and fits are kept for all runs: `cache`, or `.cache` beside the runs."""
        return Path(self.cache) if self.cache else Path(self.out) / ".cache"

    @field_validator("name")
    @classmethod
    def _a_name(cls, value: str) -> str:
        within = len(value.encode("utf-8", "surrogatepass")) <= LONGEST_NAME and value == value.strip()
        if value and (not within or value != printable(value) or set(value) & set("/\\=") or value[0] in ".-"):
            raise ValueError(
                f"expected the name of a folder inside `out`: at most {LONGEST_NAME} bytes, without / \\ = or "
                "control characters, not beginning with a dot or a dash"
            )
        return value

    def title(self, label: str = "") -> str:
        """Return the name of the run folder without its hash; `label` stands for the editor's bare name.

        There is no `=` in it, so that a path into the folder is never taken for a key=value word.
        """
        words = f"{label or Path(self.editor.name).stem}-{Path(self.stream.name).stem}"
        plain = re.sub(r"[^\w.]+", "-", words).strip("-.") or "run"
        return self.name or plain.encode("utf-8", "replace")[:LONGEST_NAME].decode("utf-8", "ignore")

    def table(self) -> dict[str, Any]:
        """Return the configuration as nested plain tables, as `toml.to_toml` writes and `load_config` reads it."""
        plain = self.model_dump(mode="json")
        for key in (*_PARTS, *MAYBE):
            part = getattr(self, key)
            plain[key] = None if part is None else part.flat()
        return {k: v for k, v in plain.items() if v is not None}


_PARTS = tuple(k for k, f in RunConfig.model_fields.items() if f.annotation is NamedPart)
MAYBE = ("queries", "withdrawals")
"""Parts that a run may lack."""


def hash8(config: RunConfig, digests: Mapping[str, str]) -> str:
    """Return 8 hexadecimal digits of a configuration and of the digests of what it uses: the name of a run.

    What changes a number is in it: every key but `NOT_HASHED`, the number of threads spelt out; the content of model,
    stream, fit and an editor's file; and the arithmetic (version of this package and of torch, kind of device,
    instructions of the processor, whose matrix products). Not in it, but in the manifest, and said when a run is gone
    on with: the processor's model and the versions of other packages, which change last digits at most.
    """
    table = {k: v for k, v in config.table().items() if k not in NOT_HASHED}
    text = json.dumps([table, dict(digests)], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def check_model(model: type[BaseModel], table: Mapping[str, Any], what: str) -> Any:
    """Return `model` made of a table; raises `ConfigError`, one line, with near names for an unknown key."""
    try:
        return model.model_validate(dict(table))
    except ValidationError as error:
        first = error.errors()[0]
        place = [str(p) for p in first["loc"]]
        prefix = f"{what}." if what else ""
        if first["type"] == "extra_forbidden":
            owner: Any = model
            for key in place[:-1]:
                owner = owner.model_fields[key].annotation
            key = prefix + ".".join(place)
            raise ConfigError(f"{key}: there is no such key.{near(place[-1], owner.model_fields)}") from error
        said = first["msg"].removeprefix("Value error, ")
        given = "" if first["type"] == "missing" else f" (given: {first['input']!r})"
        raise ConfigError(f"{prefix}{'.'.join(place) or what}: {said}{given}.") from error


def recipe_names() -> list[str]:
    """Return the names of the recipes that ship with the package, those in folders with the folder's name."""
    return sorted(p.relative_to(RECIPES).with_suffix("").as_posix() for p in RECIPES.rglob("*.toml"))


def find_table(source: str) -> dict[str, Any]:
    """Return the tables of a recipe's name or a .toml file; raises `ConfigError` with near names."""
    if source.endswith(".toml"):
        return read_toml(Path(source))
    if source not in recipe_names():
        raise ConfigError(f"{source!r}: no recipe has this name.{near(source, recipe_names())}")
    return read_toml(RECIPES / f"{source}.toml")


def load_config(source: str | None = None, changes: Mapping[str, Any] | None = None) -> RunConfig:
    """Return the configuration of a recipe or file (or the defaults) with changes by dotted key.

    Of a sweep it is one cell, when the changes settle every key that its grid varies. Raises `ConfigError`: one line
    that says which key, what was given and what is near.
    """
    table = find_table(source) if source else {}
    changes = changes or {}
    varied = [key for key in table.get("grid", {}) if key not in changes]
    if varied:
        raise ConfigError(
            f"{source} is a sweep of runs over {', '.join(varied)}: use `lifelong sweep {source}`, or give one value "
            f"of each, such as {varied[0]}={_first(table['grid'][varied[0]])}."
        )
    return from_table(table.get("run", {}) if "grid" in table else table, changes)


def _first(values: Any) -> Any:
    return values[0] if isinstance(values, list) and values else values


def from_table(table: Mapping[str, Any], changes: Mapping[str, Any]) -> RunConfig:
    """Return the configuration of plain tables with changes by dotted key; raises `ConfigError`."""
    for key in [*table, *changes]:
        first = key.split(".")[0]
        if first not in RunConfig.model_fields:
            raise ConfigError(f"{key}: there is no such key.{near(first, RunConfig.model_fields)}")
    whole = override(table, changes)
    for key in (*_PARTS, *MAYBE):
        below = whole.get(key)
        if isinstance(below, Mapping) and "name" not in below:
            default = RunConfig.model_fields[key].default or NamedPart(name="poisson")
            whole[key] = {"name": default.name, **below}
    return check_model(RunConfig, whole, "")
