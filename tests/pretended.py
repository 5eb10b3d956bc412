"""A pretended accelerator for tests: numbers that lie in the host's memory and obey the rules of CUDA.

    with pretended_device() as device:
        vlm = tiny_vlm(0, device=device)

What mixes devices raises, as `.numpy()` does, and a generator of the CPU where a device draws. Layer norms want one
type for states and weights. Not pretended: speed, autocast, kernels that are not there at all.
"""

from __future__ import annotations

import types
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from torch.overrides import TorchFunctionMode
from torch.utils import backend_registration
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_map

DEVICE = "pretended"
aten = torch.ops.aten
MOVES = {aten._to_copy.default, aten.copy_.default, aten.copy.default}
INDEXED = {aten.index.Tensor, aten.index_put_.default, aten.index_put.default, aten._index_put_impl_.default}
PACKED = {aten._pack_padded_sequence.default, aten._pack_padded_sequence_backward.default, aten.lstm.data}
"""Their lengths lie on the CPU wherever the rest does."""
ONE_TYPE = {aten.native_layer_norm.default}


def lstm_cell(
    of_input: torch.Tensor,
    of_hidden: torch.Tensor,
    before: torch.Tensor,
    input_bias: torch.Tensor | None = None,
    hidden_bias: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return output, state and gates of a step: one kernel on a GPU, which the host does not have."""
    summed = of_input + of_hidden + sum(b for b in (input_bias, hidden_bias) if b is not None)
    enter, keep, new, out = summed.chunk(4, 1)
    gates = torch.cat([enter.sigmoid(), keep.sigmoid(), new.tanh(), out.sigmoid()], 1)
    enter, keep, new, out = gates.chunk(4, 1)
    state = keep * before + enter * new
    return out * state.tanh(), state, gates


def lstm_cell_back(
    of_output: torch.Tensor | None,
    of_state: torch.Tensor | None,
    before: torch.Tensor,
    state: torch.Tensor,
    gates: torch.Tensor,
    has_bias: bool,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    """Return the gradients of the gates' sums, of the state before and of the bias."""
    enter, keep, new, out = gates.chunk(4, 1)
    said = torch.zeros_like(state) if of_output is None else of_output
    held = said * out * (1 - state.tanh() ** 2) + (0 if of_state is None else of_state)
    parts = [
        held * new * enter * (1 - enter),
        held * before * keep * (1 - keep),
        held * enter * (1 - new**2),
        said * state.tanh() * out * (1 - out),
    ]
    found = torch.cat(parts, 1)
    return found, held * keep, found.sum(0) if has_bias else None


KERNELS = {
    aten._thnn_fused_lstm_cell.default: lstm_cell,
    aten._thnn_fused_lstm_cell_backward_impl.default: lstm_cell_back,
}
"""What a GPU has one kernel for, and the host none."""


class Far(torch.Tensor):
    """A tensor that says it is on the device; `near` holds its numbers."""

    near: torch.Tensor

    @staticmethod
    def __new__(cls, near: torch.Tensor) -> Far:
        made = torch.Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls, near.shape, near.stride(), near.storage_offset(), dtype=near.dtype,
            device=torch.device(DEVICE, 0), requires_grad=False,
        )  # fmt: skip
        made.near = near
        return made

    def __repr__(self, *, tensor_contents: object = None) -> str:  # type: ignore[override]
        return f"Far({self.near!r})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, kinds: Any, args: Any = (), kwargs: Any = None) -> Any:
        return run_there(func, args, kwargs or {})


class _Device(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, kinds: Any, args: Any = (), kwargs: Any = None) -> Any:
        return run_there(func, args, kwargs or {})


class _Made(TorchFunctionMode):
    """What never comes to the dispatcher: `torch.tensor(..., device=...)`, lists as indices, and `tolist`."""

    def __torch_function__(self, func: Any, kinds: Any, args: Any = (), kwargs: Any = None) -> Any:
        told = dict(kwargs or {})
        if func in (torch.tensor, torch.as_tensor) and is_there(told.get("device")):
            device = told.pop("device")
            return func(*args, **told).to(device)
        if func in (torch.Tensor.__getitem__, torch.Tensor.__setitem__):
            picked = args[1] if isinstance(args[1], tuple) else (args[1],)
            listed = tuple(torch.tensor(one) if isinstance(one, list) else one for one in picked)
            return func(args[0], listed if isinstance(args[1], tuple) else listed[0], *args[2:])
        if func is torch.Tensor.tolist and isinstance(args[0], Far):
            return args[0].detach().cpu().tolist()
        return func(*args, **told)


def is_there(device: Any) -> bool:
    """Return whether a device, or the name of one, is the pretended one."""
    return device is not None and torch.device(device).type == DEVICE


def tensors_in(value: Any) -> list[torch.Tensor]:
    """Return the tensors among arguments, those in lists too."""
    if isinstance(value, torch.Tensor):
        return [value]
    items = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    return [tensor for item in items for tensor in tensors_in(item)]


def run_there(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Do an operation as a device would: refuse what it refuses, else compute here and say the result is there."""
    if func is aten._fused_sdp_choice.default:
        return 0  # written out: the device has no attention of its own
    told = kwargs.get("device")
    given = tensors_in(args) + tensors_in(kwargs)
    far = any(isinstance(t, Far) for t in given)
    asked = is_there(told)
    if not far and not asked:
        return func(*args, **kwargs)
    check_devices(func, args, given)
    if asked and isinstance(kwargs.get("generator"), torch.Generator):
        raise RuntimeError(f"Expected a '{DEVICE}' device type for generator but found 'cpu'")
    away = told is not None and not asked
    inner = tree_map(lambda t: t.near if isinstance(t, Far) else t, (args, kwargs))
    if asked:
        inner[1]["device"] = torch.device("cpu")
    out = KERNELS.get(func, func)(*inner[0], **inner[1])
    if func is aten.copy_.default or away:
        return args[0] if func is aten.copy_.default else out
    if func is aten._pack_padded_sequence.default:
        return Far(out[0]), out[1]
    wrapped = tree_map(lambda t: Far(t) if isinstance(t, torch.Tensor) else t, out)
    return return_and_correct_aliasing(func, args, kwargs, wrapped) if far else wrapped


def check_devices(func: Any, args: Any, given: list[torch.Tensor]) -> None:
    """Raise what CUDA raises for operands on two devices, or of two types where a kernel wants one."""
    if func in MOVES:
        return
    looked = [args[0], *tensors_in(args[2:])] if func in INDEXED else args[:1] if func in PACKED else given
    here = [t for t in looked if isinstance(t, torch.Tensor) and not isinstance(t, Far) and t.dim() > 0]
    if here and any(isinstance(t, Far) for t in looked):
        raise RuntimeError(f"Expected all tensors to be on the same device, but found {DEVICE}:0 and cpu! ({func})")
    if func in ONE_TYPE and len({t.dtype for t in given}) > 1:
        raise RuntimeError(f"expected scalar type {given[0].dtype} but found {given[-1].dtype} ({func})")


class _Module:
    """What torch asks of a device's module."""

    is_initialized = is_available = staticmethod(lambda: True)
    _is_in_bad_fork = staticmethod(lambda: False)
    device_count = staticmethod(lambda: 1)
    current_device = staticmethod(lambda: 0)
    manual_seed_all = set_rng_state = synchronize = empty_cache = staticmethod(lambda *_: None)
    get_rng_state = staticmethod(lambda *_: torch.zeros(0, dtype=torch.uint8))
    get_amp_supported_dtype = staticmethod(lambda: [torch.bfloat16])
    get_device_properties = staticmethod(lambda _: types.SimpleNamespace(total_memory=8 << 30))


def _register() -> None:
    """Tell torch of the device, for as long as the process lives: tests that need it run in one of their own."""
    if not hasattr(torch, DEVICE):
        backend_registration._setup_privateuseone_for_python_backend(DEVICE, _Module())  # type: ignore[attr-defined]


@contextmanager
def pretended_device() -> Iterator[str]:
    """Give the device's name while the body runs, in which tensors can be there."""
    _register()
    nothing = {"synchronize": lambda *_: None, "empty_cache": lambda: None}  # everything is done at once here
    with mock.patch.multiple(torch.accelerator, **nothing), _Made(), _Device():
        yield DEVICE
