"""What training adds to the pretrained parts: low-rank updates, projector and tower, kept apart and put in.

One safetensors file, in 16 bits. Knows names and shapes; no training and no packages.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from lifelong.models.folders.check import ModelError

PROJECTOR, TOWER, UPDATE = "projector.", "tower.", "update."


class LowRank(nn.Module):
    """A frozen linear layer with an update of low rank beside it: W x + B A x (LoRA, arXiv 2106.09685, eq. 3).

    The published scale alpha / r is 1 here; the rate of training takes its place.
    """

    def __init__(self, base: nn.Linear, rank: int, generator: torch.Generator) -> None:
        super().__init__()
        self.base = base
        a = torch.randn((rank, base.in_features), generator=generator) / base.in_features**0.5
        self.a = nn.Parameter(a)
        self.b = nn.Parameter(torch.zeros(base.out_features, rank))

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + (x @ self.a.T.to(x.dtype)) @ self.b.T.to(x.dtype)


def add_updates(decoder: nn.Module, rank: int, seed: int) -> dict[str, LowRank]:
    """Put an update beside every linear layer of a decoder and return them by the layers' names."""
    generator = torch.Generator().manual_seed(seed)
    linear = [(name, m) for name, m in decoder.named_modules() if isinstance(m, nn.Linear)]
    out: dict[str, LowRank] = {}
    for name, module in linear:
        parent, _, own = name.rpartition(".")
        out[name] = LowRank(module, rank, generator)
        setattr(decoder.get_submodule(parent), own, out[name])
    return out


def tensors_of(model: Any, updates: Mapping[str, LowRank]) -> dict[str, Tensor]:
    """Return what `put_in` puts in: the updates' factors, the projector, and the tower's weights."""
    out = {f"{UPDATE}{name}.{side}": getattr(one, side) for name, one in updates.items() for side in ("a", "b")}
    out |= {PROJECTOR + name: t for name, t in model.model.multi_modal_projector.state_dict().items()}
    out |= {TOWER + name: t for name, t in model.model.vision_tower.state_dict().items()}
    return {name: tensor.detach().cpu() for name, tensor in out.items() if not name.endswith("num_batches_tracked")}


def save_adapters(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write adapters as float16; norms and their statistics, which are few, as float32."""
    halved = {n: (t.half() if t.ndim > 1 else t.float()).contiguous().clone() for n, t in tensors.items()}
    save_file(halved, path, metadata={"format": "pt"})


def load_adapters(path: Path) -> dict[str, Tensor]:
    """Return the adapters of a file, float32."""
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name).float() for name in file.keys()}


@torch.no_grad()
def put_in(model: Any, tensors: Mapping[str, Tensor]) -> None:
    """Add the updates to the decoder's weights, and put projector and tower in the place of the model's own.

    Raises `ModelError` naming a tensor that the model has no place for, of another shape, or that is missing.
    """
    projector, tower = model.model.multi_modal_projector, model.model.vision_tower
    for prefix, module in ((PROJECTOR, projector), (TOWER, tower)):
        own = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
        wanted = {n: t for n, t in module.state_dict().items() if not n.endswith("num_batches_tracked")}
        shapes = [{name: t.shape for name, t in one.items()} for one in (own, wanted)]
        wrong = sorted(n for n in {**own, **wanted} if shapes[0].get(n) != shapes[1].get(n))
        if wrong:
            raise ModelError(f"The adapters are another model's: {prefix}{wrong[0]} is missing or does not fit.")
        module.load_state_dict(own, strict=False)
    decoder = model.model.language_model
    layers = {name: m for name, m in decoder.named_modules() if isinstance(m, nn.Linear)}
    for name in sorted(n for n in tensors if n.startswith(UPDATE) and n.endswith(".a")):
        layer = layers.get(name.removeprefix(UPDATE).removesuffix(".a"))
        a, b = tensors[name], tensors.get(name.removesuffix(".a") + ".b")
        if layer is None or b is None or (b @ a).shape != layer.weight.shape:
            raise ModelError(f"The adapters are another model's: {name} does not fit.")
        layer.weight += b @ a
