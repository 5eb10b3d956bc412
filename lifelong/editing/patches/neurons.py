"""Neurons added to a feed-forward module: stored, and applied at every token.

A neuron is a key, a bias and a value: out = FFN(q) + sum_j act(key_j . q + bias_j) value_j (T-Patcher, arXiv
2301.09785; UniKE, arXiv 2409.19872). Knows the VLM's hooks; nothing of edits, queries or training.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lifelong.editing.contract import State
from lifelong.editing.ops import bytes_of
from lifelong.models.products import linear

if TYPE_CHECKING:
    from lifelong.models.vlm import VLM

Activation = Literal["relu", "gelu", "silu"]
SPREAD = 0.02  # standard deviation of a new value before it is amplified
_HOST = torch.device("cpu")
TABLES = ("keys", "bias", "values", "states")


def activate(name: Activation, x: Tensor) -> Tensor:
    """Return an activation function of pre-activations."""
    return {"relu": F.relu, "gelu": F.gelu, "silu": F.silu}[name](x)


class Patches:
    """The frozen neurons of one FFN, in order of storing, in buffers that double: an edit never copies them all.

    They lie on `device`, where every pass reads them. Beside key (width,), bias and value (width_out,) each keeps
    `states` (width,), the token state it was trained on.
    """

    def __init__(
        self,
        width: int,
        width_out: int,
        activation: Activation = "relu",
        *,
        device: torch.device = _HOST,
    ) -> None:
        self.activation: Activation = activation
        self.device = device
        self.shapes = {"keys": (width,), "bias": (), "values": (width_out,), "states": (width,)}
        self.owners: list[tuple[str, int]] = []
        self._tables = {name: torch.zeros(0, *shape, device=device) for name, shape in self.shapes.items()}
        self._used = 0

    def __len__(self) -> int:
        return self._used

    def table(self, name: str) -> Tensor:
        """Return a view of the used rows of `keys`, `bias`, `values` or `states`."""
        return self._tables[name][: self._used]

    def add(self, owner: str, rows: dict[str, Tensor]) -> None:
        """Append an owner's neurons: a tensor of n rows for each table."""
        n = len(rows["bias"])
        if self._used + n > len(self._tables["bias"]):
            size = max(64, 2 * (self._used + n))
            for name, shape in self.shapes.items():
                bigger = torch.zeros(size, *shape, device=self.device)
                bigger[: self._used] = self.table(name)
                self._tables[name] = bigger
        for name in TABLES:
            self._tables[name][self._used : self._used + n] = rows[name].detach().to(self.device)
        self._used += n
        self.owners.append((owner, n))

    def remove(self, owners: Sequence[str]) -> None:
        """Drop the neurons of some owners; unknown ones are passed over."""
        gone = set(owners)
        keep = torch.tensor([owner not in gone for owner, n in self.owners for _ in range(n)], dtype=torch.bool)
        for name in TABLES:
            self._tables[name] = self.table(name)[keep].clone()
        self.owners = [(owner, n) for owner, n in self.owners if owner not in gone]
        self._used = int(keep.sum())

    def added(self, q: Tensor) -> Tensor:
        """Return what all neurons add to the FFN's output for inputs (..., width): (..., width_out).

        Most neurons are silent at all tokens of one question: where silence is zero (`relu`), they are left out of
        the other product and of the gradient.
        """
        keys, bias, values = (self.table(name) for name in ("keys", "bias", "values"))
        learning = torch.is_grad_enabled() and q.requires_grad
        with torch.set_grad_enabled(learning and self.activation != "relu"):
            acts = activate(self.activation, linear(q.float(), keys, bias))
        if self.activation == "relu":
            fires = (acts != 0).flatten(0, -2).any(0).nonzero().squeeze(1)
            if learning:
                acts = F.relu(linear(q.float(), keys[fires], bias[fires]))
                values = values[fires]
            elif 2 * len(fires) < len(keys):  # of many questions together most neurons hear one
                acts, values = acts[..., fires], values[fires]
        return linear(acts, values.T).to(q.dtype)

    def nbytes(self) -> int:
        """Return the bytes of the used rows."""
        return bytes_of(self.table(name) for name in TABLES)

    def state(self) -> State:
        """Return the used rows and whose they are."""
        tensors = {name: self.table(name).clone().cpu() for name in TABLES}
        return State(tensors, {"owners": [list(pair) for pair in self.owners]})

    def load(self, state: State) -> None:
        """Hold exactly what a state says."""
        self._tables = {name: state.tensors[name].clone().to(self.device) for name in TABLES}
        self.owners = [(str(owner), int(n)) for owner, n in state.meta["owners"]]
        self._used = len(self._tables["bias"])


def initial_keys(states: Tensor) -> Tensor:
    """Return keys (n, width) whose activation on their own token states (n, width) is 1."""
    return states / (states * states).sum(-1, keepdim=True).clamp(min=1e-12)


class Neurons(nn.Module):
    """New neurons of one FFN while they are trained, one for each of n token states (n, width).

    The value is an amplified random vector, plus `beta * W direction` with W trained from the identity where a
    direction (width_out,) is given (UniKE's zeta).
    """

    def __init__(
        self,
        states: Tensor,
        width_out: int,
        *,
        activation: Activation,
        scale: float,
        rng: torch.Generator,
        direction: Tensor | None = None,
        beta: float = 0.0,
    ) -> None:
        super().__init__()
        self.activation: Activation = activation
        self.beta = beta
        self.keys = nn.Parameter(initial_keys(states.float()))
        self.bias = nn.Parameter(torch.zeros(len(states), device=states.device))
        self.raw = nn.Parameter((SPREAD * torch.randn(len(states), width_out, generator=rng)).to(states.device))
        self.scale = nn.Parameter(torch.tensor(scale, device=states.device))
        self.direction = None if direction is None else direction.to(states.device)
        self.turned = None if direction is None else nn.Parameter(torch.eye(width_out, device=states.device))

    def values(self) -> Tensor:
        """Return the values (n, width_out) as they act."""
        values = self.raw * self.scale
        if self.turned is None or self.direction is None:
            return values
        return values + self.beta * (self.turned @ self.direction)

    def added(self, q: Tensor) -> Tensor:
        """Return what these neurons add for inputs (..., width): (..., width_out)."""
        return (activate(self.activation, q.float() @ self.keys.T + self.bias) @ self.values()).to(q.dtype)

    def rows(self, states: Tensor) -> dict[str, Tensor]:
        """Return the tables that `Patches.add` takes."""
        return {"keys": self.keys, "bias": self.bias, "values": self.values(), "states": states}


@dataclass(frozen=True)
class Site:
    """One patched FFN: its module, its frozen neurons, and stored token states (m, width) to be silent on, all on
    one device."""

    module: nn.Module
    patches: Patches
    silent: Tensor


@contextmanager
def patched(vlm: VLM, sites: Sequence[Site]) -> Iterator[None]:
    """Let the frozen neurons of some sites act, at every token of every pass."""

    def adder(site: Site) -> Callable[..., Tensor | None]:
        return lambda module, args, output, layout: output + site.patches.added(args[0])

    with ExitStack() as stack:
        for site in sites:
            if len(site.patches):
                stack.enter_context(vlm.hook(site.module, adder(site), pointwise=True))
        yield
