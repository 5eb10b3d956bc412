"""Checkpoints: tensors as content-addressed files, plain values as JSON; unchanged tensors are not written again.

Knows nothing about what the tensors mean. torch and safetensors are loaded only when tensors are written or read, so
that the run log stays readable without them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from lifelong.log.files import LogError, write_atomic

if TYPE_CHECKING:
    from torch import Tensor


class StateLike(Protocol):
    """Tensors by name, and values that JSON can hold."""

    @property
    def tensors(self) -> Mapping[str, Tensor]:
        """The tensors by name."""
        ...

    @property
    def meta(self) -> Mapping[str, Any]:
        """Plain values: numbers, strings, lists, dictionaries with string keys."""
        ...


@dataclass(frozen=True)
class Checkpoint:
    """What was saved with one panel."""

    panel: int
    tensors: Mapping[str, Tensor]
    meta: Mapping[str, Any]

    def part(self, prefix: str) -> dict[str, Tensor]:
        """Return the tensors whose names begin with `prefix`, without it."""
        return {k.removeprefix(prefix): t for k, t in self.tensors.items() if k.startswith(prefix)}


def tensor_digest(tensor: Tensor) -> str:
    """Return 32 hexadecimal digits of a tensor's dtype, shape and bytes."""
    import torch

    plain = tensor.detach().cpu().contiguous()
    h = hashlib.sha256(f"{plain.dtype}{tuple(plain.shape)}".encode())
    h.update(plain.reshape(-1).view(torch.uint8).numpy().tobytes() if plain.numel() else b"")
    return h.hexdigest()[:32]


def write_objects(folder: Path, tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """Write every tensor that is not there yet to `folder`/<digest>.safetensors and return name -> digest."""
    digests = {}
    for name, tensor in tensors.items():
        digests[name] = digest = tensor_digest(tensor)
        path = folder / f"{digest}.safetensors"
        if not path.exists():
            _write_object(path, tensor)
    return digests


def _write_object(path: Path, tensor: Tensor) -> None:
    from safetensors.torch import save

    data = save({"tensor": tensor.detach().cpu().contiguous()})
    write_atomic(path, lambda f: f.write(data))


def read_checkpoint(folder: Path, panel: int) -> Checkpoint:
    """Return the checkpoint of a panel; raises `LogError` with the file's name when it is missing or damaged."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = folder / f"panel-{panel:06d}.json"
    try:
        whole = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise LogError(f"{path}: this checkpoint cannot be read ({error}). Run again with --fresh.") from error
    tensors = {}
    for name, digest in whole["tensors"].items():
        file = folder / "objects" / f"{digest}.safetensors"
        try:
            tensors[name] = load_file(file)["tensor"]
        except (OSError, SafetensorError, KeyError) as error:
            raise LogError(f"{file}: tensor {name!r} cannot be read ({error}). Run again with --fresh.") from error
        if tensor_digest(tensors[name]) != digest:
            raise LogError(f"{file}: the content is not what its name says: damaged. Run again with --fresh.")
    return Checkpoint(whole["panel"], tensors, whole["meta"])


def collect_garbage(folder: Path, keep: int) -> None:
    """Remove all but the newest `keep` checkpoints of a folder, and the objects that none of them names."""
    manifests = sorted(folder.glob("panel-*.json"))
    for path in manifests[:-keep]:
        path.unlink()
    named = {d for path in manifests[-keep:] for d in json.loads(path.read_text())["tensors"].values()}
    for path in (folder / "objects").glob("*.safetensors"):
        if path.stem not in named:
            path.unlink()


def save_state(path: Path, state: StateLike) -> None:
    """Write tensors and values as one safetensors file (values as JSON in its header), atomically."""
    from safetensors.torch import save

    tensors = {name: t.detach().cpu().contiguous().clone() for name, t in state.tensors.items()}
    data = save(tensors, metadata={"meta": json.dumps(dict(state.meta), sort_keys=True)})
    write_atomic(path, lambda f: f.write(data))


def load_state(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return tensors and values written by `save_state`; raises `LogError` with the file's name when damaged."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
            meta = json.loads((file.metadata() or {}).get("meta", "{}"))
    except (OSError, SafetensorError, ValueError) as error:
        raise LogError(f"{path}: cannot be read as safetensors ({error}). Remove the file and run again.") from error
    return tensors, meta


@dataclass(frozen=True)
class State:
    """An editor's whole state: tensors by name, and plain JSON values."""

    tensors: Mapping[str, Tensor]
    meta: Mapping[str, Any]
