"""The configuration of one run: TOML files, recipes and key=value words in, one frozen checked object out.

Knows the keys that every run understands, their types and units. Options below `editor` are checked by `resolve`,
which knows the editor; those of all other parts are checked here, by the models of `lifelong.running.options`.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from lifelong.editing.find import editor_names
from lifelong.probing.due import PanelSettings
from lifelong.running.options import MODEL_OPTIONS, options_model
from lifelong.running.words import ConfigError, override, read_toml
from lifelong.simulation.jobs import Policy
from streams.near import near
from streams.problems import shown_value
from streams.settings import LARGEST, PathText, SettingError, absolute, checked_settings, said_in, said_text
from streams.stream import stream_names
from streams.text import printable

_Model = TypeVar("_Model", bound=BaseModel)


class Frozen(BaseModel):
    """A model that refuses unknown keys and never changes."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class NamedPart(Frozen):
    """A named part of a run and its options: `editor="grace"` is short for `{name = "grace"}`.

    >>> NamedPart.model_validate("grace").name
    'grace'
    >>> NamedPart.model_validate({"name": "grace", "radius": 0.8}).options
    {'radius': 0.8}
    """

    takes: ClassVar[str] = "one name"

    name: str
    options: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _gather(cls, value: Any) -> Any:
        if isinstance(value, str | int | float):
            return {"name": said_text(value) if isinstance(value, bool) else str(said_text(value))}
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

    takes: ClassVar[str] = "steps such as 1,2,5,10, or options such as panels.every=50"

    at: tuple[int, ...] = Field(
        default=(),
        description="steps at which all past edits are asked about; without any 1, 2, 5, 10 and so on",
    )
    every: int = Field(default=0, ge=0, description="a panel after every so many edits; 0: only those of `at`")

    @model_validator(mode="before")
    @classmethod
    def _gather(cls, value: Any) -> Any:
        if isinstance(value, bool):
            raise ValueError("panels is a list of steps such as 1,2,5,10, or panels.every=50")
        if isinstance(value, int):
            return {"at": (value,)}
        if isinstance(value, list | tuple):
            value = {"at": tuple(value)}
        if isinstance(value, Mapping) and type(value.get("at")) is int:
            value = {**value, "at": (value["at"],)}
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


MOST_POOL = 10**6  # edits to learn from, which are made before anything is learnt


class FitOptions(Frozen):
    """What a trained editor learns from: how many edits of a stream's disjoint pool, and their seed.

    `stream` is another stream, with options after a second dot (`fit.stream.root=FOLDER`), where the run's own has no
    pool or another one shall be learnt from.
    """

    stream: NamedPart | None = Field(default=None, description="whose pool is learnt from; the run's own without it")
    edits: int = Field(default=1000, ge=1, le=MOST_POOL, description="edits of the disjoint pool to learn from")
    seed: int = Field(default=0, ge=0, le=LARGEST, description="what they are drawn from")


RECIPES = Path(__file__).parents[1] / "recipes"
TRACKERS = ("tensorboard", "mlflow", "wandb")
LONGEST_LABEL = 100  # characters: it stands in legends and in folder names
LONGEST_NAME = 160  # bytes: a hash and the names of locks come on top, and file systems take 255
NOT_HASHED = (
    "label",
    "out",
    "cache",
    "cache_bytes",
    "memory_bytes",
    "trackers",
)  # what it is called, where it lies, how fast it comes, who is told: no fact


class RunConfig(Frozen):
    """Everything that decides a run. Field names are the keys of TOML files and of key=value words.

    `queries` and `withdrawals` are arrival processes of their own with a `rate`; of the options of `queries` those of
    `streams.times.traffic.TrafficOptions` say what is asked. `policy` says who is served first, `batch` and
    `window_s` how many edits are made at once. With `restore_every` the stream is cut into chunks: after each the
    unedited model and an empty bank are there again, and a panel has asked about all edits of the chunk.
    """

    name: str = Field(default="", description="what the folder is called; without it editor and stream")
    label: str = Field(default="", description="what reports call it; without it the editor and its own options")
    editor: NamedPart = Field(default=NamedPart(name="none"), description="what edits: a name or a FILE.py")
    stream: NamedPart = Field(default=NamedPart(name="atlas"), description="what is edited and asked")
    model: NamedPart = Field(default=NamedPart(name="atlas"), description="a name, a folder or a hub id")
    clock: NamedPart = Field(default=NamedPart(name="modelled"), description="how long a service takes")
    arrivals: NamedPart = Field(default=NamedPart(name="poisson"), description="the process by which edits come")
    edits: int = Field(default=200, ge=1, le=10**8, description="how many edits the stream has, at most")
    panels: Panels = Field(default=Panels(at=_STEPS), description="when probes are asked, and which")
    fit: FitOptions = Field(default=FitOptions(), description="what a trained editor learns from")
    seed: int = Field(default=0, ge=0, le=LARGEST, description="what everything drawn by chance is drawn from")
    workers: int = Field(default=1, ge=1, le=10**6, description="how many serve edits and queries at a time")
    policy: Policy = Field(default="fifo", description="who is served first")
    batch: int = Field(default=0, ge=0, le=10**9, description="edits made at once; 0: as many as the editor takes")
    window_s: float = Field(default=0.0, ge=0, le=1e9, description="seconds after which a batch closes; 0: never")
    restore_every: int | None = Field(
        default=None, ge=1, le=10**8, description="edits after which the editor is put back to its beginning"
    )
    queries: NamedPart | None = Field(default=None, description="the process by which questions come; none without")
    withdrawals: NamedPart | None = Field(default=None, description="the process by which edits are taken back")
    out: PathText = Field(default="runs", description="the folder of the run folders")
    cache: PathText = Field(default="", description="where frozen answers and fits are kept; OUT/.cache without it")
    cache_bytes: int = Field(default=2**30, ge=0, le=LARGEST, description="bytes kept of what the model read")
    trackers: tuple[str, ...] = Field(
        default=(), description="tensorboard, mlflow, wandb: whose files in OUT/trackers get every panel's numbers"
    )
    threads: int = Field(default=0, ge=0, le=1024, description="threads to compute with; 0: measured at the start")
    memory_bytes: int = Field(
        default=0, ge=0, le=LARGEST, description="bytes beside the weights to compute with; 0: most of the device's"
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        default="auto", description="the model's numbers; auto: float32, from a billion parameters on bfloat16"
    )
    device: str = Field(default="cpu", description="where the model computes, such as cpu or cuda")

    def tracker_folder(self) -> Path:
        """Return where the files of trackers lie, those of all runs of `out` together: a folder for each tracker."""
        return Path(self.out) / "trackers"

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

    @field_validator("trackers")
    @classmethod
    def _known_trackers(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if name not in TRACKERS:
                raise ValueError(f"there is no tracker {name!r}.{near(name, TRACKERS)}")
        return tuple(dict.fromkeys(value))

    @field_validator("label")
    @classmethod
    def _a_label(cls, value: str) -> str:
        if value != printable(value) or value != value.strip() or len(value) > LONGEST_LABEL:
            raise ValueError(f"expected at most {LONGEST_LABEL} characters of one line, no control characters")
        return value

    def steps(self, edits: int) -> tuple[int, ...]:
        """Return the steps of the full panels of a run of `edits` edits: those of `panels`, and the ends of chunks.

        Chunks of one edit need none where every edit is asked about at once.

        >>> RunConfig(restore_every=4, panels=Panels(at=(3,))).steps(10)
        (3, 4, 8, 10)
        """
        chunk, at_once = self.restore_every, self.panels.instant and not self.panels.instant_axes
        if not chunk or (chunk == 1 and at_once):
            return self.panels.steps(edits)
        return tuple(sorted({*self.panels.steps(edits), *range(chunk, edits, chunk)}))

    def title(self, label: str = "") -> str:
        """Return the name of the run folder without its hash; `label` stands for the editor's bare name.

        There is no `=` in it: folders above it that have one (`lifelong.log.hive`) are told from it.
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
        for key in ("fit", "panels"):  # a file has no word for what is not set
            plain[key] = {k: v for k, v in plain[key].items() if v is not None}
        if self.fit.stream is not None:
            plain["fit"]["stream"] = self.fit.stream.flat()
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

    Where a file lies does not count once its content does: a path is left out if `digests` has its key
    (`arrivals.file`), and of a stream, whose own digest is of all that it reads.
    """
    table = {k: v for k, v in config.table().items() if k not in NOT_HASHED}
    for key, below in table.items():
        if isinstance(below, dict):
            table[key] = {k: v for k, v in below.items() if not _known_by_content(key, k, v, digests)}
    if "stream" in digests:  # a mix holds streams, each with files of its own
        table["stream"] = _without_paths(table["stream"])
    if isinstance(other := table["fit"].get("stream"), dict):  # what is learnt from it is in the fit's own digest
        table["fit"]["stream"] = {k: v for k, v in other.items() if not (isinstance(v, str) and os.path.isabs(v))}
    text = json.dumps([table, dict(digests)], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _without_paths(value: Any) -> Any:
    """Return a stream's options without the absolute paths in the tables that they hold."""
    if isinstance(value, dict):
        return {k: _without_paths(v) for k, v in value.items() if not (isinstance(v, str) and os.path.isabs(v))}
    return [_without_paths(v) for v in value] if isinstance(value, list | tuple) else value


def _known_by_content(key: str, option: str, value: Any, digests: Mapping[str, str]) -> bool:
    if f"{key}.{option}" in digests:
        return True
    is_path = isinstance(value, str) and os.path.isabs(value)
    return is_path and key in digests and (option == "name" or key == "stream")


def check_model(model: type[_Model], table: Mapping[str, Any], what: str) -> _Model:
    """Return `model` made of what was said; raises `ConfigError`, one line, with near names for an unknown key."""
    try:
        return checked_settings(model, table, what)
    except SettingError as error:
        raise ConfigError(str(error)) from error


def recipe_names() -> list[str]:
    """Return the names of the recipes that ship with the package, those in folders with the folder's name."""
    return sorted(p.relative_to(RECIPES).with_suffix("").as_posix() for p in RECIPES.rglob("*.toml"))


def find_table(source: str) -> dict[str, Any]:
    """Return the tables of a recipe's name or a .toml file; raises `ConfigError` with near names.

    Relative paths in a file begin at the file's folder, those in a recipe that ships at the current one.
    """
    if source.endswith(".toml"):
        path = Path(absolute(source))
        table = said_in(read_toml(path), path.parent)
    elif source in recipe_names():
        table = read_toml(RECIPES / f"{source}.toml")
    else:
        raise ConfigError(_no_recipe(source))
    for key in ("run", "grid"):
        if key in table and not isinstance(table[key], Mapping):
            raise ConfigError(f"{source}: {key} is {str(table[key])[:80]!r}; expected a table: a line [{key}].")
    return table


_RECIPES_LISTED = "`lifelong list recipes` names all recipes."


def _no_recipe(source: str) -> str:
    """What a first word without `=` may have meant: the name of an editor or a stream, or a recipe's."""
    for key, names in (("editor", editor_names()), ("stream", stream_names())):
        close = difflib.get_close_matches(source, names, 1, 0.75)
        if close:
            return f"{source!r}: no recipe has this name. Did you mean {key}={close[0]}? {_RECIPES_LISTED}"
    if Path(source).is_dir():
        own = Path(source) / "config.toml"
        hint = f"{own} is the configuration of this run." if own.is_file() else _RECIPES_LISTED
        return f"{source!r} is a folder; expected the name of a recipe or a .toml file. {hint}"
    return f"{source!r}: no recipe has this name.{near(source, recipe_names())}"


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
    """Return the configuration of plain tables with changes by dotted key, all paths absolute.

    Raises `ConfigError`, and `StreamError` for a stream that does not exist.
    """
    for key in [*table, *changes]:
        first, _, below = key.partition(".")
        if first not in RunConfig.model_fields:
            raise ConfigError(f"{key}: there is no such key.{near(first, RunConfig.model_fields)}")
        if below and first not in (*_PARTS, *MAYBE, "panels", "fit"):
            raise ConfigError(f"{key}: {first} is one value, without options: say {first}=...")
    if any(key.split(".")[0] == "editor" for key in changes):  # a label says what the editor was before
        table = {key: value for key, value in table.items() if key != "label"}
    whole = override(table, changes)
    learnt = whole.get("fit")
    if isinstance(learnt, Mapping) and isinstance(learnt.get("stream"), Mapping) and "name" not in learnt["stream"]:
        raise ConfigError(
            f"fit.stream.{next(iter(learnt['stream']), '')}: of which stream? Say fit.stream=NAME, too."
        )
    for key in (*_PARTS, *MAYBE):
        below = whole.get(key)
        if isinstance(below, Mapping) and "name" not in below:
            default = RunConfig.model_fields[key].default or NamedPart(name="poisson")
            below = whole[key] = {"name": default.name, **below}
        if isinstance(below, Mapping):
            whole[key] = {**below, "name": _placed(key, below["name"])}
        elif below is not None:
            whole[key] = _placed(key, below)
    return settled_config(check_model(RunConfig, whole, ""))


def settled_config(config: RunConfig) -> RunConfig:
    """Return a configuration whose paths are absolute and whose parts' options, but the editor's, are checked.

    Called on every configuration before it is used. Raises `ConfigError`, and `StreamError` for a stream that does
    not exist.
    """
    update: dict[str, Any] = {"out": absolute(config.out or "."), "cache": absolute(config.cache)}
    for key in (*_PARTS, *MAYBE):
        part = getattr(config, key)
        if part is None:
            continue
        options = part.options
        clash = sorted({"edits", "seed"} & set(options)) if key == "stream" else ()
        if clash:
            one = clash[0]
            raise ConfigError(f"stream.{one}: {one} belongs to the run: say {one}={shown_value(options[one])}.")
        if key != "editor":
            model = options_model(key, part.name)
            options = check_model(model, options, key).model_dump(mode="json", exclude_unset=True)
        update[key] = NamedPart.model_construct(name=_placed(key, part.name), options=dict(options))
    if config.restore_every and (config.workers > 1 or config.window_s or config.queries or config.withdrawals):
        raise ConfigError(
            f"restore_every={config.restore_every}: chunks are edits alone, one after another. Leave out workers, "
            "window_s, queries and withdrawals."
        )
    if config.fit.stream is not None:
        update["fit"] = config.fit.model_copy(update={"stream": _settled_stream(config.fit.stream)})
    return config.model_copy(update=update)


def check_one_stream(config: RunConfig, what: str) -> None:
    """Raise `ConfigError` where a configuration puts the editor back, for a command that is about one long stream."""
    if config.restore_every:
        raise ConfigError(f"restore_every={config.restore_every}: {what} is about one long stream; leave it out.")


def _settled_stream(part: NamedPart) -> NamedPart:
    """Return the stream that is learnt from with its options checked, its paths absolute."""
    if clash := sorted({"edits", "seed"} & set(part.options)):
        raise ConfigError(f"fit.stream.{clash[0]}: how many are learnt from, and which, is said by fit.{clash[0]}.")
    options = check_model(options_model("stream", part.name), part.options, "fit.stream")
    return NamedPart.model_construct(name=part.name, options=options.model_dump(mode="json", exclude_unset=True))


def _placed(key: str, name: Any) -> Any:
    """Return a part's name, absolute where it is a path: an editor's file, a model's folder."""
    if not isinstance(name, str):
        return name
    is_file = key == "editor" and name.endswith(".py")
    is_folder = key == "model" and name not in MODEL_OPTIONS and _is_folder(name)
    try:
        return absolute(name) if is_file or is_folder else str(name)
    except SettingError as error:
        raise ConfigError(f"{key}={name}: {error}.") from error


def _is_folder(name: str) -> bool:
    looks = name.startswith((".", "/", "~")) or name.count("/") > 1
    return looks or ("\0" not in name and os.path.exists(absolute(name)))
