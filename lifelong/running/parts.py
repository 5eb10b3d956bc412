"""From a part's name and options in a configuration to the part itself: editor, model, stream.

Every mistake is a one-line error that names what is near. Knows where each kind of part is found, nothing of its use.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from lifelong.editing.contract import Editor, EditorOptions
from lifelong.running.config import NamedPart, RunConfig, check_model
from lifelong.running.words import ConfigError
from lifelong.simulation.clock import Cost, MeasuredClock, ModelledClock
from lifelong.simulation.recorded import replay_of
from streams.near import near

if TYPE_CHECKING:
    from lifelong.models.vlm import VLM
    from lifelong.simulation.clock import Clock
    from streams.stream import Stream


def options_of(kind: type[Editor], given: Mapping[str, Any]) -> EditorOptions:
    """Return an editor's options, checked; raises `ConfigError` with near names."""
    return check_model(kind.Options, given, "editor")


def load_model(config: RunConfig) -> VLM:
    """Return the model: a shipped name, a local folder or a Hugging Face id.

    Raises `ConfigError` for options it does not know, `ValueError` and `ModelError` for a device and a model that
    cannot be used.
    """
    part = config.model
    from lifelong.models.loading import check_device

    check_device(config.device)
    special = MODELS.get(part.name)
    if special is not None:
        return special(config)
    _no_options(part, "model", ())
    return _loaded(config)


def _loaded(config: RunConfig) -> VLM:
    from lifelong.models.vlm import VLM

    return VLM.load(
        config.model.name,
        dtype=config.dtype,
        device=config.device,
        cache_bytes=config.cache_bytes,
        known=model_names(),
    )


def _shipped(config: RunConfig) -> VLM:
    _no_options(config.model, "model", ())
    return _loaded(config)


def _tiny(config: RunConfig) -> VLM:
    from lifelong.models.tiny import tiny_vlm

    _no_options(config.model, "model", ("seed",))
    return tiny_vlm(int(config.model.options.get("seed", 0)), cache_bytes=config.cache_bytes)


MODELS: Mapping[str, Callable[[RunConfig], VLM]] = {"atlas": _shipped, "tiny": _tiny}
"""The models that ship with the package, by name."""


MODEL_NOTES: Mapping[str, str] = {
    "atlas": "The embedded model: a small LLaVA trained by this project to know the atlas world.",
    "tiny": "A tiny random LLaVA of real classes, made in memory; it knows nothing and is fast.",
}


def model_names() -> list[str]:
    """Return the names of the models that ship with the package."""
    return sorted(MODELS)


def make_stream(config: RunConfig) -> Stream:
    """Return the stream of a configuration; raises `StreamError` or `ConfigError`."""
    from streams.stream import load_stream

    clash = {"edits", "seed"} & set(config.stream.options)
    if clash:
        key = sorted(clash)[0]
        raise ConfigError(f"stream.{key}: {key} belongs to the run: say {key}={config.stream.options[key]}.")
    return load_stream(config.stream.name, edits=config.edits, seed=config.seed, **config.stream.options)


def make_clock(config: RunConfig) -> Clock:
    """Return the clock of a configuration, seeded by the run; raises what `load_clock` raises."""
    return load_clock(config.clock.name, seed=config.seed, **config.clock.options)


def _no_options(part: NamedPart, what: str, known: tuple[str, ...]) -> None:
    for key in part.options:
        if key not in known:
            raise ConfigError(f"{what}.{key}: {what} {part.name!r} has no such option.{near(key, known)}")


class _Options(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelledOptions(_Options):
    """`clock.*` of the modelled clock: seconds per batch, per edit and per bank entry; a withdrawal's seconds.

    A query's are those of its four parts; `route_entry_s` comes on top for every entry of the bank.
    """

    batch_s: float = Field(default=0.0, ge=0)
    edit_s: float = Field(default=0.5, ge=0)
    entry_s: float = Field(default=0.0, ge=0)
    remove_s: float = Field(default=0.0, ge=0)
    encode_s: float = Field(default=0.01, ge=0)
    route_s: float = Field(default=0.001, ge=0)
    route_entry_s: float = Field(default=0.0, ge=0)
    apply_s: float = Field(default=0.001, ge=0)
    answer_s: float = Field(default=0.05, ge=0)
    distribution: Literal["constant", "exponential"] = "constant"


class MeasuredOptions(_Options):
    """The measured clock has no options."""


class ReplayedOptions(_Options):
    """`clock.run`: the folder of the run whose measured times are replayed."""

    run: str


class FittedOptions(_Options):
    """`clock.run`: the folder of the run to whose measured times the services of this one are fitted."""

    run: str


CLOCKS: Mapping[str, type[_Options]] = {
    "fitted": FittedOptions,
    "modelled": ModelledOptions,
    "measured": MeasuredOptions,
    "replayed": ReplayedOptions,
}


def load_clock(name: str, *, seed: int = 0, **options: Any) -> Clock:
    """Return a clock by its name and `clock.*` options; raises `ConfigError` with near names, and `ClockError`."""
    if name not in CLOCKS:
        raise ConfigError(f"clock={name}: there is no such clock.{near(name, CLOCKS)}")
    chosen = check_model(CLOCKS[name], options, "clock")
    if isinstance(chosen, ModelledOptions):
        costs = {
            "edit": Cost(chosen.batch_s, chosen.edit_s, chosen.entry_s),
            "remove": Cost(chosen.remove_s),
            "encode": Cost(chosen.encode_s),
            "route": Cost(chosen.route_s, 0.0, chosen.route_entry_s),
            "apply": Cost(chosen.apply_s),
            "answer": Cost(chosen.answer_s),
        }
        return ModelledClock(costs, distribution=chosen.distribution, seed=seed)
    if isinstance(chosen, FittedOptions):
        from lifelong.simulation.recorded import fitted_to

        return fitted_to(chosen.run, seed=seed)
    return replay_of(chosen.run) if isinstance(chosen, ReplayedOptions) else MeasuredClock()
