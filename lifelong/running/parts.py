"""From a part's name and options in a configuration to the part itself: editor, model, stream.

Every mistake is a one-line error that names what is near. Knows where each kind of part is found, nothing of its use.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, cast

from lifelong.editing.contract import Editor, EditorOptions
from lifelong.running.config import RunConfig, check_model
from lifelong.running.options import FittedOptions, ModelledOptions, ReplayedOptions, options_model
from lifelong.simulation.clock import Cost, MeasuredClock, ModelledClock
from lifelong.simulation.recorded import replay_of

if TYPE_CHECKING:
    from lifelong.models.vlm import VLM
    from lifelong.simulation.clock import Clock
    from streams.stream import Stream
    from streams.types import Pool


Dtype = Literal["auto", "float32", "bfloat16", "float16"]


def options_of(kind: type[Editor], given: Mapping[str, Any]) -> EditorOptions:
    """Return an editor's options, checked; raises `ConfigError` with near names."""
    return check_model(kind.Options, given, "editor")


def load_model(config: RunConfig, *, empty: bool = False) -> VLM:
    """Return the model: a shipped name, a local folder or a Hugging Face id.

    With `empty` no weights are read of one that does not ship: it has their shapes and computes nothing. Raises
    `ValueError` and `ModelError` for a device and a model that cannot be used.
    """
    return MODELS.get(config.model.name, _loaded)(config, empty)


def dtype_of_model(config: RunConfig) -> Dtype:
    """Return the type that a configuration's model computes in, `auto` spelt out.

    Called before anything is loaded. Raises `ConfigError` or `ModelError` for a device that cannot be used and a
    model that cannot be found.
    """
    from lifelong.models.folders.find import find_model
    from lifelong.models.loading import check_device
    from lifelong.models.weights import dtype_named

    check_device(config.device)
    if config.model.name in MODELS:
        return "float32" if config.dtype == "auto" else config.dtype
    return cast(Dtype, dtype_named(find_model(config.model.name, model_names()), config.dtype))


def _shipped(config: RunConfig, _: bool) -> VLM:
    return _loaded(config, False)  # small: no dry run has to do without its weights


def _loaded(config: RunConfig, empty: bool) -> VLM:
    from lifelong.models.vlm import VLM
    from lifelong.models.weights import WeightReading

    return VLM.load(
        config.model.name,
        dtype=config.dtype,
        device=config.device,
        cache_bytes=config.cache_bytes,
        memory_bytes=config.memory_bytes,
        known=model_names(),
        how=WeightReading(**config.model.options, empty=empty),
        digests=config.cache_folder() / "digests",
        checked=config.cache_folder() / "checked",
    )


def _tiny(config: RunConfig, _: bool) -> VLM:
    from lifelong.models.tiny import tiny_vlm
    from lifelong.models.weights import DTYPES

    options: dict[str, Any] = {"cache_bytes": config.cache_bytes, "memory_bytes": config.memory_bytes}
    dtype = DTYPES[dtype_of_model(config)]
    return tiny_vlm(int(config.model.options.get("seed", 0)), dtype=dtype, device=config.device, **options)


def _shaped(config: RunConfig, empty: bool) -> VLM:
    from lifelong.models.shaped import shaped_vlm

    options: dict[str, Any] = {"cache_bytes": config.cache_bytes, "memory_bytes": config.memory_bytes}
    shape, seed = str(config.model.options.get("shape", "small")), int(config.model.options.get("seed", 0))
    return shaped_vlm(shape, seed, dtype=dtype_of_model(config), device=config.device, empty=empty, **options)


MODELS: Mapping[str, Callable[[RunConfig, bool], VLM]] = {
    "atlas": _shipped,
    "shaped": _shaped,
    "smol": _loaded,
    "tiny": _tiny,
}
"""The models that ship with the package, by name."""


MODEL_NOTES: Mapping[str, str] = {
    "atlas": "The embedded model: a small LLaVA trained by this project to know the atlas world.",
    "shaped": "A random LLaVA of a published model's shape, for measurements; it knows nothing and takes its time.",
    "smol": "SmolLM2-135M, taught by this project to see the atlas; put together from packages (extra smol).",
    "tiny": "A tiny random LLaVA of real classes, made in memory; it knows nothing and is fast.",
}


def model_names() -> list[str]:
    """Return the names of the models that ship with the package."""
    return sorted(MODELS)


def make_stream(config: RunConfig) -> Stream:
    """Return the stream of a configuration; raises `StreamError` or `ConfigError`."""
    from streams.stream import load_stream

    return load_stream(config.stream.name, edits=config.edits, seed=config.seed, **config.stream.options)


def make_pool(config: RunConfig, n: int, own: Stream) -> Pool:
    """Return n items that a trained editor of a configuration learns from: of `fit.stream`, else of its own stream.

    Raises `StreamError` for a stream that has none.
    """
    from streams.stream import load_stream

    part, seed = config.fit.stream, config.fit.seed
    source = own if part is None else load_stream(part.name, edits=1, seed=seed, **part.options)
    return source.pool(n, seed)


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
