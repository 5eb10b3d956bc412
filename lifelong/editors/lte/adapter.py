"""LTE's trained part: low-rank changes of linear maps of the decoder. Knows no prompt and no loss."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from lifelong.editing.ops import editable, weight_of

if TYPE_CHECKING:
    from lifelong.models.vlm import VLM


class Adapter(nn.Module):
    """W + (alpha / rank) B A for the chosen maps of all layers from `first` on; B is zero before training.

    A (rank, in) and B (out, rank) per map. The base model's parameters are read, never written.
    """

    def __init__(self, vlm: VLM, first: int, modules: Sequence[str], *, rank: int, alpha: float, seed: int) -> None:
        super().__init__()
        self.first, self.scale = first, alpha / rank
        self._base: dict[str, nn.Parameter] = {}
        self.down, self.up = nn.ParameterList(), nn.ParameterList()
        noise = torch.Generator().manual_seed(seed)
        for layer in range(first, vlm.layers):
            for name in modules:
                weight = weight_of(vlm.submodule(layer, name))
                editable(name, weight)
                wide_out, wide_in = weight.shape
                self._base[vlm.name_of(weight)] = weight
                start = torch.randn(rank, wide_in, generator=noise) / math.sqrt(wide_in)
                self.down.append(start.to(vlm.device))
                self.up.append(torch.zeros(wide_out, rank, device=vlm.device))
        self.requires_grad_(False)

    @property
    def names(self) -> list[str]:
        """The names of the changed weights."""
        return list(self._base)

    def weights(self) -> dict[str, Tensor]:
        """Return the changed weights by name, with a graph where the changes are being trained."""
        triples = zip(self._base.items(), self.down, self.up, strict=True)
        return {n: (w.detach().float() + self.scale * (up @ down)).to(w.dtype) for (n, w), down, up in triples}
