"""Inputs of one decoder layer, kept by prompt and target as long as the layers below it are the frozen base's.

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
    """Return under what a row's states (tokens, width) are kept; raises `ValueError` for a row without a prompt."""
    if row.prompt is None:
        raise ValueError("A row whose prompt is not known has no place among kept states; read it from its prompt.")
    return "hidden", row.prompt.digest, row.target_ids, layer


def keep(cache: ByteCache, row: Row, layer: int, states: Tensor) -> None:
    """Keep a row's states (tokens, width)."""
    cache.put(key_of(row, layer), states, states.numel() * states.element_size())


@contextmanager
def keeping(cache: ByteCache, module: nn.Module, layer: int, batch: Batch) -> Iterator[None]:
    """Keep the inputs of decoder layer `layer`, which is `module`, that pass by in a forward pass over a batch."""

    def take(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        for i, row in enumerate(batch.rows):
            keep(cache, row, layer, first_of(args, kwargs)[i, : len(row)].clone())

    handle = module.register_forward_pre_hook(take, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()
