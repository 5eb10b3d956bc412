"""Checkpoints: tensors as content-addressed files, plain values as JSON; unchanged tensors are not written again.

Knows nothing about what the tensors mean. torch and safetensors are loaded only when tensors are written or read, so
that the run log stays readable without them.
"""

from __future__ import annotations

import copy
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lifelong.log.files import LogError, check_regular, write_atomic
from lifelong.log.sealed import digest_of_bytes, read_sealed, write_sealed

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

    def digest(self) -> str:
        """Return 32 hexadecimal digits of all tensors and plain values."""
        tensors = {name: tensor_digest(tensor) for name, tensor in self.tensors.items()}
        text = json.dumps([tensors, dict(self.meta)], sort_keys=True, default=repr)
        return digest_of_bytes(text.encode("utf-8", "surrogatepass"))[:32]

    def part(self, name: str) -> State:
        """Return a state that was joined under a name; raises `KeyError` where none was."""
        tensors = {k.removeprefix(f"{name}/"): t for k, t in self.tensors.items() if k.startswith(f"{name}/")}
        return State(tensors, self.meta[name])


def copied(state: State) -> State:
    """Return a copy of a state that shares nothing with it: for whoever goes back to it while an editor works on."""
    return State({name: t.clone() for name, t in state.tensors.items()}, copy.deepcopy(dict(state.meta)))


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


def write_objects(folder: Path, tensors: Mapping[str, Tensor], intact: set[str]) -> dict[str, str]:
    """Write every tensor that is not there yet to `folder`/<digest>.safetensors and return name -> digest.

    `intact` are the digests of files that this process wrote or read; others that are there are read before they are
    relied on, and it grows by all.
    """
    digests = {}
    for name, tensor in tensors.items():
        digests[name] = digest = tensor_digest(tensor)
        if digest not in intact and not _object_is_whole(folder, digest):
            _write_object(object_path(folder, digest), tensor)
        intact.add(digest)
    return digests


def object_path(folder: Path, digest: str) -> Path:
    """Return the file of a tensor."""
    return folder / f"{digest}.safetensors"


def _object_is_whole(folder: Path, digest: str) -> bool:
    if not object_path(folder, digest).is_file():
        return False
    try:
        _read_object(folder, digest, "")
    except LogError:
        return False
    return True


def _write_object(path: Path, tensor: Tensor) -> None:
    from safetensors.torch import save

    data = save({"tensor": tensor.detach().cpu().contiguous()})
    write_atomic(path, lambda f: f.write(data))


def _read_object(folder: Path, digest: str, name: str) -> Tensor:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    file = object_path(folder, digest)
    try:
        check_regular(file)
        tensor = load_file(file)["tensor"]
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise LogError(
            f"{file}: damaged, tensor {name!r} of a checkpoint cannot be read ({error}). {_FIX}"
        ) from error
    if tensor_digest(tensor) != digest:
        raise LogError(f"{file}: damaged, its content is not what its name says. {_FIX}")
    return tensor


_FIX = "--resume goes on from an earlier panel, --fresh begins anew."
_CHECKPOINT = re.compile(r"panel-(\d{6,})\.json")
_OBJECT = re.compile(r"[0-9a-f]{32}\.safetensors")


def checkpoint_name(panel: int) -> str:
    """Return the file name of a panel's checkpoint."""
    return f"panel-{panel:06d}.json"


def panel_of_checkpoint(name: str) -> int:
    """Return which panel's checkpoint a file name is, -1 for a name that this package does not write."""
    found = _CHECKPOINT.fullmatch(name)
    return int(found[1]) if found else -1


def is_object(name: str) -> bool:
    """Return whether a file name is that of a tensor."""
    return _OBJECT.fullmatch(name) is not None


def write_checkpoint(folder: Path, panel: int, state: State, vouching: Mapping[str, Any], intact: set[str]) -> None:
    """Write a panel's state, its tensors first, and what it vouches for; `intact` as in `write_objects`.

    Raises `LogError` with the name of a file that cannot be written.
    """
    tensors = write_objects(folder / "objects", state.tensors, intact)
    whole = {"panel": panel, "tensors": tensors, "meta": dict(state.meta), **vouching}
    write_sealed(folder / checkpoint_name(panel), whole)


def read_checkpoint_json(folder: Path, panel: int) -> dict[str, Any]:
    """Return a panel's checkpoint without its tensors; raises `LogError` with the file's name when it is damaged."""
    path = folder / checkpoint_name(panel)
    try:
        whole = read_sealed(path)
    except FileNotFoundError as error:
        raise LogError(f"{path}: this checkpoint is missing.") from error
    if whole.get("panel") != panel or not {"tensors", "meta", "parts"} <= whole.keys():
        raise LogError(f"{path}: damaged, this is not the checkpoint of panel {panel}.")
    return whole


def read_checkpoint(folder: Path, panel: int) -> Checkpoint:
    """Return the checkpoint of a panel; raises `LogError` with the file's name when it is missing or damaged."""
    whole = read_checkpoint_json(folder, panel)
    objects = folder / "objects"
    tensors = {name: _read_object(objects, digest, name) for name, digest in whole["tensors"].items()}
    return Checkpoint(tensors, whole["meta"], whole["panel"])


def collect_garbage(folder: Path, keep: int) -> None:
    """Remove all but the newest `keep` checkpoints of a folder, and the objects that none of them names.

    Objects stay where a checkpoint that is kept cannot be read: nobody knows which it names.
    """
    panels = sorted(p for p in (panel_of_checkpoint(path.name) for path in folder.iterdir()) if p >= 0)
    for panel in panels[:-keep]:
        (folder / checkpoint_name(panel)).unlink(missing_ok=True)
    try:
        kept = [read_checkpoint_json(folder, panel)["tensors"] for panel in panels[-keep:]]
    except LogError:
        return
    named = {digest for tensors in kept for digest in tensors.values()}
    for path in (folder / "objects").iterdir():
        if is_object(path.name) and path.stem not in named:
            path.unlink()


def save_state(path: Path, state: State) -> None:
    """Write tensors and values as one safetensors file, atomically: values and a digest of all in its header."""
    from safetensors.torch import save

    tensors = {name: t.detach().cpu().contiguous().clone() for name, t in state.tensors.items()}
    meta = json.dumps(dict(state.meta), sort_keys=True)
    data = save(tensors, metadata={"meta": meta, "digest": _state_digest(tensors, meta)})
    write_atomic(path, lambda f: f.write(data))


def load_state(path: Path) -> State:
    """Return what `save_state` wrote; raises `LogError` with the file's name when it is missing or damaged."""
    from safetensors import SafetensorError, safe_open

    try:
        check_regular(path)
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
            header = file.metadata() or {}
        meta = json.loads(header.get("meta", "{}"))
    except (OSError, SafetensorError, ValueError, RecursionError) as error:
        raise LogError(f"{path}: damaged, it cannot be read as safetensors ({error}).") from error
    if header.get("digest") != _state_digest(tensors, header.get("meta", "{}")):
        raise LogError(f"{path}: damaged, its content is not what its digest says.")
    return State(tensors, meta)


def _state_digest(tensors: Mapping[str, Tensor], meta: str) -> str:
    digests = {name: tensor_digest(tensor) for name, tensor in tensors.items()}
    return digest_of_bytes(json.dumps([digests, meta], sort_keys=True).encode())
