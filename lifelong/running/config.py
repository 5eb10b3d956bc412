"""The configuration of one run: TOML files, recipes and key=value words in, one frozen checked object out.

Knows the keys that every run understands and their types. Options below `editor`, `stream`, `model`, `clock` and
`arrivals` belong to those parts, which check them themselves.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field, ValidationError

from lifelong.config_parts import STEPS, Fit, Frozen, Panels, Part

__all__ = ["ConfigError", "Fit", "Panels", "Part", "RunConfig"]
Policy = Literal["fifo", "queries_first", "edits_first", "preempt"]
RECIPES = Path(__file__).parents[1] / "recipes"
NOT_HASHED = ("out", "cache", "cache_bytes")  # they change where things lie and how fast they come, never a fact


class ConfigError(ValueError):
    """A key, a value or a file of a configuration is wrong; the message is one line and names near keys."""


class RunConfig(Frozen):
    """Everything that decides a run. Field names are the keys of TOML files and of key=value words.

    `queries` and `withdrawals` are arrival processes of their own with a `rate`; of the options of `queries` those of
    `streams.traffic.TrafficOptions` say what is asked. `policy` says who is served first, `batch` and `window_s` how
    many edits are made at once.
    """

    name: str = ""
    editor: Part = Part(name="none")
    stream: Part = Part(name="atlas")
    model: Part = Part(name="atlas")
    clock: Part = Part(name="modelled")
    arrivals: Part = Part(name="poisson")
    edits: int = Field(default=200, ge=1)
    panels: Panels = Panels(at=STEPS)
    fit: Fit = Fit()
    seed: int = Field(default=0, ge=0)
    workers: int = Field(default=1, ge=1)
    policy: Policy = "fifo"
    batch: int = Field(default=0, ge=0)
    window_s: float = Field(default=0.0, ge=0)
    queries: Part | None = None
    withdrawals: Part | None = None
    out: str = "runs"
    cache: str = ""
    cache_bytes: int = Field(default=2**30, ge=0)
    threads: int = Field(default=0, ge=0)
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    device: str = "cpu"

    def cache_folder(self) -> Path:
        """Return where baselines and fits are kept for all runs: `cache`, or `.cache` beside the runs."""
        return Path(self.cache) if self.cache else Path(self.out) / ".cache"

    def title(self, label: str = "") -> str:
        """Return the name of the run folder without its hash; `label` stands for the editor's bare name."""
        return self.name or f"{label or Path(self.editor.name).stem}-{Path(self.stream.name).stem}"

    def table(self) -> dict[str, Any]:
        """Return the configuration as nested plain tables, as `toml.to_toml` writes and `load_config` reads it."""
        plain = self.model_dump(mode="json")
        for key in (*PARTS, *MAYBE):
            part = getattr(self, key)
            plain[key] = None if part is None else part.flat()
        if not plain["panels"]["most"]:
            del plain["panels"]["most"]  # as with `LATER`
        return {k: v for k, v in plain.items() if k not in LATER or v != LATER[k]}


PARTS = tuple(k for k, f in RunConfig.model_fields.items() if f.annotation is Part)
MAYBE = ("queries", "withdrawals")
"""Parts that a run may lack."""
LATER = {k: RunConfig.model_fields[k].default for k in ("policy", "batch", "window_s", *MAYBE)}
"""Keys that came after runs had been named by the hash of their configuration: left out where they change nothing."""


def hash8(config: RunConfig, digests: Mapping[str, str]) -> str:
    """Return 8 hexadecimal digits of a configuration and of the digests of what it uses (model, stream, fit)."""
    table = {k: v for k, v in config.table().items() if k not in NOT_HASHED}
    text = json.dumps([table, dict(digests)], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def near(word: str, known: Iterable[str]) -> str:
    """Return ' Did you mean X?' for a misspelt word ('' when nothing is near), followed by all known ones.

    >>> near("editr", ["editor", "seed"])
    " Did you mean 'editor'? Known: editor, seed."
    """
    names = sorted(known)
    close = difflib.get_close_matches(word, names, 3, 0.5)
    hint = f" Did you mean {' or '.join(map(repr, close))}?" if close else ""
    return f"{hint} Known: {', '.join(names) or 'nothing'}."


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


def parse_value(text: str) -> Any:
    """Return the value of a key=value word: any TOML value, a list without brackets, or else the text itself.

    >>> parse_value("0.8"), parse_value("1,2,5"), parse_value("true"), parse_value("grace"), parse_value("a,b")
    (0.8, [1, 2, 5], True, 'grace', ['a', 'b'])
    """
    for form in (text, f"[{text}]" if "," in text else text):
        try:
            return tomllib.loads(f"v = {form}")["v"]
        except tomllib.TOMLDecodeError:
            continue
    return [parse_value(t) for t in text.split(",") if t] if "," in text else text


def parse_words(words: Sequence[str]) -> dict[str, Any]:
    """Return key -> value of words such as `editor.radius=0.8`; raises `ConfigError` for a word without `=`."""
    pairs = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise ConfigError(f"{word!r}: expected key=value, for example editor=grace or panels=1,10,100.")
        pairs[key.strip()] = parse_value(value.strip())
    return pairs


def override(table: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return a nested table with changes by dotted key; another name for a part drops the old part's options.

    >>> override({"editor": {"name": "grace", "radius": 1}}, {"editor.radius": 2, "editor": "ft"})
    {'editor': {'name': 'ft', 'radius': 2}}
    """
    result = {k: dict(v) if isinstance(v, Mapping) else v for k, v in table.items()}
    for key, value in sorted(changes.items(), key=lambda pair: pair[0].count(".")):
        *path, last = key.split(".")
        if not path:
            before = result.get(last)
            same = isinstance(before, Mapping) and before.get("name") == value
            result[last] = before if same else value
            continue
        if len(path) > 1:
            raise ConfigError(f"{key}: keys have at most one dot.")
        below = result.setdefault(path[0], {})
        if isinstance(below, str):
            below = {"name": below}
        elif not isinstance(below, Mapping):
            below = {"at": below}
        result[path[0]] = {**below, last: value}
    return result


def read_toml(path: Path) -> dict[str, Any]:
    """Return a TOML file's tables; raises `ConfigError` with the file's name."""
    try:
        return tomllib.loads(path.read_text())
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read as TOML ({error}).") from error


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
    for key in (*PARTS, *MAYBE):
        below = whole.get(key)
        if isinstance(below, Mapping) and "name" not in below:
            default = RunConfig.model_fields[key].default or Part(name="poisson")
            whole[key] = {"name": default.name, **below}
    return check_model(RunConfig, whole, "")
