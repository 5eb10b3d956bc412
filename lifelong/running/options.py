"""The options of every part of a run but its editor, as checked data: model, clock, arrivals, queries, withdrawals.

Knows names, types, bounds and units; makes none of the parts. A stream's options are its own (`streams.stream`), an
editor's, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from lifelong.running.words import ConfigError
from streams.near import near
from streams.settings import LARGEST, PathText
from streams.stream import stream_options
from streams.times.arrivals import process_options
from streams.times.traffic import TrafficOptions

_LONGEST_S = 1e9  # seconds of one service: thirty years


class _Options(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class NoOptions(_Options):
    """A part without options."""


class TinyOptions(_Options):
    """The random tiny model."""

    seed: int = Field(default=0, ge=0, le=LARGEST, description="what its weights are drawn from")


class ShapedOptions(TinyOptions):
    """A random LLaVA of a published model's shape."""

    shape: Literal["llava-7b", "llava-0.5b", "small"] = Field(
        default="small", description="whose widths and layers it has; small is for tests"
    )


class WeightOptions(_Options):
    """How the weights of a model of one's own are read."""

    attn_implementation: Literal["", "eager", "sdpa", "flash_attention_2", "flex_attention"] = Field(
        default="", description="how attention is computed; without it as transformers chooses"
    )
    quantization: Literal["", "4bit", "8bit"] = Field(
        default="", description="by bitsandbytes (extra `quantized`), on an NVIDIA GPU; not for editors of weights"
    )
    device_map: Literal["", "auto", "balanced", "balanced_low_0", "sequential"] = Field(
        default="", description="spread over several accelerators; without it all on `device`"
    )


MODEL_OPTIONS: Mapping[str, type[BaseModel]] = MappingProxyType(
    {"atlas": NoOptions, "tiny": TinyOptions, "shaped": ShapedOptions, "smol": WeightOptions}
)
"""The options of the models that ship; any other model has `WeightOptions`."""


def _seconds(default: float, about: str) -> float:
    return Field(default=default, ge=0, le=_LONGEST_S, description=f"seconds {about}")


class ModelledOptions(_Options):
    """Explicit costs: a batch's, an edit's, those of every entry of the bank, and a query's four parts."""

    batch_s: float = _seconds(0.0, "of a batch of edits")
    edit_s: float = _seconds(0.5, "of an edit")
    entry_s: float = _seconds(0.0, "of an edit for every entry of the bank")
    remove_s: float = _seconds(0.0, "of a withdrawal")
    encode_s: float = _seconds(0.01, "of encoding a query")
    route_s: float = _seconds(0.001, "of routing a query")
    route_entry_s: float = _seconds(0.0, "of routing for every entry of the bank")
    apply_s: float = _seconds(0.001, "of applying what was routed")
    answer_s: float = _seconds(0.05, "of an answer")
    distribution: Literal["constant", "exponential"] = Field(
        default="constant", description="whether a service takes its mean, or is drawn around it"
    )


class ReplayedOptions(_Options):
    """Times of an earlier run, one by one."""

    run: PathText = Field(description="the folder of the run whose measured times are replayed")


class FittedOptions(_Options):
    """Times fitted to an earlier run's."""

    run: PathText = Field(description="the folder of the run to whose measured times services are fitted")


CLOCKS: Mapping[str, type[BaseModel]] = MappingProxyType(
    {"fitted": FittedOptions, "modelled": ModelledOptions, "measured": NoOptions, "replayed": ReplayedOptions}
)
"""The options of every clock, by its name."""


def options_model(key: str, name: str) -> type[BaseModel]:
    """Return the options of a run's part by its key (`stream`, `clock`, ...) and name.

    Raises `ConfigError` or `StreamError`, with near names, for a name that it cannot have.
    """
    if key == "stream":
        return stream_options(name)
    if key == "model":
        return MODEL_OPTIONS.get(name, WeightOptions)
    if key == "clock":
        if name not in CLOCKS:
            raise ConfigError(f"clock={name}: there is no such clock.{near(name, CLOCKS)}")
        return CLOCKS[name]
    try:
        process = process_options(name, key)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    return type("QueryOptions", (TrafficOptions, process), {}) if key == "queries" else process
