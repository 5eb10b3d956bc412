"""Atomic checkpoints without pickle: tensors of weights and optimiser states as safetensors, the rest as JSON.

Knows nothing of what is trained: state comes and goes as nested dictionaries.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file


def save_checkpoint(path: Path, tensors: Mapping[str, torch.Tensor], notes: Mapping[str, Any]) -> None:
    """Write both to the one file `path` (notes as JSON in its metadata), atomically: temp file, fsync, rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".partial")
    flat = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    save_file(flat, temporary, metadata={"notes": json.dumps(dict(notes))})
    with open(temporary, "rb") as handle:
        os.fsync(handle.fileno())
    os.replace(temporary, path)


def load_checkpoint(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Tensors and notes of a checkpoint; FileNotFoundError if there is none."""
    if not path.exists():
        raise FileNotFoundError(f"no checkpoint at {path}; start without resume")
    with safe_open(path, framework="pt") as handle:
        tensors = {name: handle.get_tensor(name) for name in handle.keys()}
        metadata = handle.metadata() or {}
    return tensors, json.loads(metadata.get("notes", "{}"))


def optimizer_tensors(prefix: str, optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """The state tensors of an optimiser under flat names."""
    state = optimizer.state_dict()["state"]
    return {
        f"{prefix}/{index}/{key}": torch.as_tensor(value)
        for index, values in state.items()
        for key, value in values.items()
    }


def restore_optimizer(prefix: str, optimizer: torch.optim.Optimizer, tensors: Mapping[str, torch.Tensor]) -> None:
    """Put tensors written by `optimizer_tensors` back; hyperparameters stay those of `optimizer`."""
    state: dict[int, dict[str, torch.Tensor]] = {}
    for name, tensor in tensors.items():
        head, _, rest = name.partition("/")
        if head == prefix:
            index, key = rest.split("/")
            state.setdefault(int(index), {})[key] = tensor
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def module_tensors(prefix: str, module: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Parameters and buffers of a module under flat names."""
    return {f"{prefix}/{name}": tensor for name, tensor in module.state_dict().items()}


def restore_module(prefix: str, module: torch.nn.Module, tensors: Mapping[str, torch.Tensor]) -> None:
    """Put tensors written by `module_tensors` back."""
    start = len(prefix) + 1
    module.load_state_dict({n[start:]: t for n, t in tensors.items() if n.startswith(prefix + "/")})
