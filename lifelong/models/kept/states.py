"""Kept states: the inputs (tokens, width) of one decoder layer, by prompt, target and layer.

They stay in the model's cache of bytes, across edits and panels, until others that were used later need the room.
It would be wrong to keep, or to take, states while a change acts below their layer: they would not be the frozen
base's. Nothing here checks that; callers ask `Interventions.lowest` first.

Knows rows, batches and a cache of bytes; nothing of hooks, scoring or editors.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from lifelong.models.cache import ByteCache
from lifelong.models.passes.batching import Batch, Row
from lifelong.models.passes.structure import first_of


def key_of(row: Row, layer: int) -> Hashable:
    """Return the key under which a row's states are kept; raises `ValueError` for a row without a prompt."""
    if row.prompt is None:
        raise ValueError("A row whose prompt is not known has no place among kept states; read it from its prompt.")
    return "hidden", row.prompt.digest, row.target_ids, layer


def keep_states(cache: ByteCache, row: Row, layer: int, states: Tensor) -> None:
    """Keep a row's states (tokens, width), which the caller does not change afterwards."""
    cache.put(key_of(row, layer), states, states.numel() * states.element_size())


@contextmanager
def keeping(cache: ByteCache, module: nn.Module, layer: int, batch: Batch) -> Iterator[None]:
    """While a forward pass over `batch` runs in it, keep the inputs of decoder layer `layer`, which is `module`."""

    def take(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        for i, row in enumerate(batch.rows):
            keep_states(cache, row, layer, first_of(args, kwargs)[i, : len(row)].clone())  # (tokens, width), unpadded

    handle = module.register_forward_pre_hook(take, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()
