"""From a part's name and options in a configuration to the part itself: editor, model, stream.

Every mistake is a one-line error that names what is near. Knows where each kind of part is found, nothing of its use.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lifelong.editing.contract import Editor, EditorOptions
from lifelong.running.config import RunConfig, check_model
from lifelong.running.options import FittedOptions, ModelledOptions, ReplayedOptions, options_model
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

    Raises `ConfigError` when it cannot be found or has options it does not know.
    """
    part = config.model
    check_model_named(config)
    special = MODELS.get(part.name)
    if special is not None:
        return special(config)
    from lifelong.models.vlm import VLM

    try:
        return VLM.load(part.name, dtype=config.dtype, device=config.device, cache_bytes=config.cache_bytes)
    except OSError as error:
        first = str(error).strip().splitlines()[0]
        known = near(part.name, model_names())
        raise ConfigError(
            f"model={part.name}: cannot be loaded ({first}).{known} Or a folder or a hub id."
        ) from error


def check_model_named(config: RunConfig) -> None:
    """Raise `ConfigError` for a device that cannot be used here, a path that is no folder and a misspelt name.

    Called before anything is loaded and before any network is asked.
    """
    _check_device(config.device)
    name = config.model.name
    if name in MODELS or Path(name).is_dir():
        return
    if Path(name).exists():
        raise ConfigError(
            f"model={name}: this is a file. Expected a folder with config.json, a processor and model.safetensors; "
            "weights in any other format are not read."
        )
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise ConfigError(f"model={name}: no such folder.{near(name, model_names())} Or a folder or a hub id.")
    if "/" not in name:
        known = near(name, model_names())
        raise ConfigError(f"model={name}: no such model or folder.{known} Or a hub id, OWNER/NAME.")


def _check_device(name: str) -> None:
    """Raise `ConfigError` for a device that torch does not know or this machine does not have."""
    import torch

    try:
        torch.ones(1, device=name).add(1).item()  # `meta` makes tensors, but they hold nothing
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        first = " ".join(str(error).splitlines()[:1])
        raise ConfigError(f"device={name}: cannot be used here ({first}). The usual one is device=cpu.") from error


def _shipped(config: RunConfig) -> VLM:
    from lifelong.models.vlm import VLM

    return VLM.load(config.model.name, dtype=config.dtype, device=config.device, cache_bytes=config.cache_bytes)


def _tiny(config: RunConfig) -> VLM:
    from lifelong.models.tiny import tiny_vlm

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

    return load_stream(config.stream.name, edits=config.edits, seed=config.seed, **config.stream.options)


def make_clock(config: RunConfig) -> Clock:
    """Return the clock of a configuration, seeded by the run; raises what `load_clock` raises."""
    return load_clock(config.clock.name, seed=config.seed, **config.clock.options)


def load_clock(name: str, *, seed: int = 0, **options: Any) -> Clock:
    """Return a clock by its name and `clock.*` options; raises `ConfigError` with near names, and `ClockError`."""
    chosen = check_model(options_model("clock", name), options, "clock")
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
