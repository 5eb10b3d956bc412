"""Queries read UniKE's memories: what each of them reads in each layer, and the hooks that mix it in.

Knows the VLM and the memories of its patched layers; nothing of edits or neurons.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from lifelong.editors.unike.latent import LatentMemory, attend, mix
from lifelong.editors.unike.train import ends_of
from streams.types import Query

if TYPE_CHECKING:
    from lifelong.models.vlm import VLM


def as_long(known: Tensor, own: Tensor) -> Tensor:
    """Return what was read at the length of what it is mixed with, token by token.

    Memories are states of the residual stream, tens of times longer than one attention's output: mixed as they are
    they drown it.
    """
    return torch.nn.functional.normalize(known, dim=-1) * own.norm(dim=-1, keepdim=True)


@dataclass(frozen=True)
class Reading:
    """What n queries read in one layer: picked entries (n, k) and shares alpha (n,)."""

    picked: np.ndarray
    alpha: Tensor


class MemoryReader:
    """The memories of some decoder layers, none of them the first, and how queries read them.

    `states` entries are read; `alpha` None is dynamic. `attention` names the attention module inside a layer.
    """

    def __init__(
        self,
        vlm: VLM,
        layers: Sequence[int],
        memories: Sequence[LatentMemory],
        *,
        states: int,
        alpha: float | None,
        attention: str,
    ) -> None:
        self.vlm, self.layers, self.memories = vlm, tuple(layers), tuple(memories)
        self.states, self.alpha = states, alpha
        self.attention = [vlm.submodule(i, attention) for i in layers]

    def ends(self, queries: Sequence[Query]) -> Tensor:
        """Return the frozen inputs of the patched layers at the last prompt token, (n, layers, width)."""
        keys = [("unike", q.digest, *self.layers) for q in queries]
        cached = {i: self.vlm.cache.get(key) for i, key in enumerate(keys)}
        kept: dict[int, Tensor] = {i: one for i, one in cached.items() if one is not None}
        missing = [i for i in range(len(queries)) if i not in kept]
        for i in missing:  # alone: beside others the last digits differ, and a resumed run reads beside others
            kept[i] = torch.stack(ends_of(self.vlm, self.layers, [queries[i]], None), 1)[0]
            self.vlm.cache.put(keys[i], kept[i], kept[i].numel() * kept[i].element_size())
        return (
            torch.stack([kept[i] for i in range(len(queries))])
            if kept
            else torch.zeros(0, len(self.layers), self.vlm.width)
        )

    def read(self, queries: Sequence[Query]) -> list[Reading]:
        """Return what queries read in each layer."""
        ends, found = self.ends(queries), []
        for i, memory in enumerate(self.memories):
            picked = memory.pick(ends[:, i], self.states)
            if self.alpha is None:
                alpha = memory.alpha(ends[:, i], picked).clamp(min=0)
            else:
                alpha = torch.full((len(queries),), self.alpha)
            found.append(Reading(picked, alpha * torch.from_numpy(picked[:, 0] >= 0)))
        return found

    @contextmanager
    def mixed(self, readings: Sequence[Reading]) -> Iterator[None]:
        """Mix what rows read into the attention output of each layer, at every token of every pass."""
        inputs: dict[int, Tensor] = {}

        def note(i: int) -> Callable[..., None]:
            def hook(module: Any, args: Any, output: Any, layout: Any) -> None:
                inputs[i] = output[0] if isinstance(output, tuple) else output

            return hook

        def blend(i: int, reading: Reading) -> Callable[..., Any]:
            last: list[Any] = [None, None, None]  # rows, and what they read: the same at every step of a decoding

            def hook(module: Any, args: Any, output: Any, layout: Any) -> Any:
                rows, states = layout.rows.cpu(), inputs[i]
                if last[0] is None or not torch.equal(last[0], rows):
                    known, there = self.memories[i].read(reading.picked[rows.numpy()])
                    last[:] = rows, known.to(states.device), there.to(states.device)
                read = attend(states.float(), last[1], last[2]).to(states.dtype)
                own = output[0] if isinstance(output, tuple) else output
                mixed = mix(own, as_long(read, own), reading.alpha[rows].to(states))
                return (mixed, *output[1:]) if isinstance(output, tuple) else mixed

            return hook

        with ExitStack() as stack:
            for i, reading in enumerate(readings):
                stack.enter_context(self.vlm.hook(self.vlm.decoder_layer(self.layers[i] - 1), note(i)))
                stack.enter_context(self.vlm.hook(self.attention[i], blend(i, reading)))
            yield
