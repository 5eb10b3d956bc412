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
from typing import TYPE_CHECKING, Any

from lifelong.log.files import LogError, write_atomic

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class State:
    """Everything needed to go on exactly from here: tensors by name, and plain values that JSON can hold."""

    tensors: Mapping[str, Tensor]
    meta: Mapping[str, Any]

    @classmethod
    def joined(cls, meta: Mapping[str, Any] | None = None, /, **parts: State) -> State:
        """Return several states as one, each under its name, beside plain values of its own.

        >>> whole = State.joined({"revision": 2}, bank=State({}, {"rows": 3}))
        >>> whole.meta, whole.part("bank").meta
        ({'revision': 2, 'bank': {'rows': 3}}, {'rows': 3})
        """
        tensors = {f"{part}/{name}": t for part, state in parts.items() for name, t in state.tensors.items()}
        return cls(tensors, {**(meta or {}), **{part: dict(state.meta) for part, state in parts.items()}})

    def part(self, name: str) -> State:
        """Return a state that was joined under a name; raises `KeyError` where none was."""
        tensors = {k.removeprefix(f"{name}/"): t for k, t in self.tensors.items() if k.startswith(f"{name}/")}
        return State(tensors, self.meta[name])


@dataclass(frozen=True)
class Checkpoint(State):
    """The state that was saved with one panel."""

    panel: int


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
    return Checkpoint(tensors, whole["meta"], whole["panel"])


def collect_garbage(folder: Path, keep: int) -> None:
    """Remove all but the newest `keep` checkpoints of a folder, and the objects that none of them names."""
    manifests = sorted(folder.glob("panel-*.json"))
    for path in manifests[:-keep]:
        path.unlink()
    named = {d for path in manifests[-keep:] for d in json.loads(path.read_text())["tensors"].values()}
    for path in (folder / "objects").glob("*.safetensors"):
        if path.stem not in named:
            path.unlink()


def save_state(path: Path, state: State) -> None:
    """Write tensors and values as one safetensors file (values as JSON in its header), atomically."""
    from safetensors.torch import save

    tensors = {name: t.detach().cpu().contiguous().clone() for name, t in state.tensors.items()}
    data = save(tensors, metadata={"meta": json.dumps(dict(state.meta), sort_keys=True)})
    write_atomic(path, lambda f: f.write(data))


def load_state(path: Path) -> State:
    """Return what `save_state` wrote; raises `LogError` with the file's name when damaged."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
            meta = json.loads((file.metadata() or {}).get("meta", "{}"))
    except (OSError, SafetensorError, ValueError) as error:
        raise LogError(f"{path}: cannot be read as safetensors ({error}). Remove the file and run again.") from error
    return State(tensors, meta)
