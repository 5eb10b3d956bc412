"""How a model's weights are read: in which type, to which device, with which attention, quantised, or not at all.

Knows safetensors files and what transformers is told; nothing of processors, and nothing of what a model is for.
"""

from __future__ import annotations

import importlib.util
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from lifelong.models.folders.check import ModelError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
AUTO = "auto"
LARGE = 10**9  # parameters from which on a model is read in bfloat16 where no type is asked for
QUANTIZED = {"4bit": "load_in_4bit", "8bit": "load_in_8bit"}
_LONGEST_HEADER = 100 << 20  # bytes: safetensors' own limit


@dataclass(frozen=True)
class WeightReading:
    """How weights are read beside their type and device; '' is what transformers does by itself.

    `attn_implementation` ("eager", "sdpa", "flash_attention_2") and `quantization` ("4bit", "8bit") change numbers,
    `device_map` ("auto", "balanced", ...: over several devices) does not. With `empty` no weight is read: the model
    is of the right shapes on the meta device and computes nothing.
    """

    attn_implementation: str = ""
    quantization: str = ""
    device_map: str = ""
    empty: bool = False

    @property
    def words(self) -> list[str]:
        """What changes numbers, as words for a digest: none for a model that is read as transformers does."""
        given = {"attn_implementation": self.attn_implementation, "quantization": self.quantization}
        return [f"{name}={value}" for name, value in given.items() if value]


def dtype_named(folder: Path, dtype: str) -> str:
    """Return the type to read a folder's weights in: the one named, else float32, or bfloat16 for a large one.

    Raises `ValueError` for an unknown type.
    """
    if dtype == AUTO:
        return "bfloat16" if parameters_in(folder) >= LARGE else "float32"
    if dtype not in DTYPES:
        raise ValueError(f"dtype={dtype!r}: expected one of {', '.join((AUTO, *DTYPES))}.")
    return dtype


def parameters_in(folder: Path) -> int:
    """Return how many numbers the safetensors files of a folder hold; their headers alone are read.

    0 for what cannot be read so: loading says what is wrong with it.
    """
    total = 0
    for path in sorted(folder.glob("*.safetensors")):
        try:
            with path.open("rb") as file:
                size = int.from_bytes(file.read(8), "little")
                header = json.loads(file.read(size)) if size <= _LONGEST_HEADER else {}
            total += sum(math.prod(t["shape"]) for name, t in header.items() if name != "__metadata__")
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return 0
    return total


def reading_arguments(dtype: str, device: str, how: WeightReading) -> dict[str, Any]:
    """Return what `from_pretrained` is told, so that weights go straight to their device, one shard at a time.

    Raises `ModelError`, one line, for what this machine or its packages cannot do.
    """
    told: dict[str, Any] = {"dtype": DTYPES[dtype]}
    if how.attn_implementation:
        told["attn_implementation"] = how.attn_implementation
    if how.empty:
        return {**told, "device_map": "meta"}
    if how.quantization:
        told["quantization_config"] = _quantization(how.quantization, device, DTYPES[dtype])
    if how.device_map and torch.device(device).type == "cpu":
        raise ModelError(f"model.device_map={how.device_map}: for several accelerators; device={device} is none.")
    if how.device_map:
        return {**told, "device_map": how.device_map}
    # On the CPU weights are mapped from their files as they are.
    return told if torch.device(device).type == "cpu" else {**told, "device_map": {"": device}}


def _quantization(name: str, device: str, dtype: torch.dtype) -> Any:
    given = f"model.quantization={name}"
    if torch.device(device).type != "cuda":
        raise ModelError(f"{given}: needs an NVIDIA GPU, which device={device} is not. Say device=cuda.")
    if importlib.util.find_spec("bitsandbytes") is None:
        raise ModelError(f'{given}: works through bitsandbytes: pip install "lifelong-edit[quantized]".')
    from transformers import BitsAndBytesConfig

    bits: Any = {QUANTIZED[name]: True}
    return BitsAndBytesConfig(**bits, bnb_4bit_compute_dtype=dtype)
