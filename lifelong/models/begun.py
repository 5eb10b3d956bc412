"""Answers that teacher forcing has begun: what was read until the model preferred another token than the target's.

Decoding goes on from there, without reading the prompt again. Knows key-value caches and scored batches; nothing of
prompts' wording, hooks or editors.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lifelong.models.batching import MAX_ROWS, Batch
from lifelong.models.decode import Started, go_on
from lifelong.models.layout import Scored
from lifelong.models.passes import Passes

KEPT_BYTES = 256 << 20  # keys and values that one list of prompts may keep; other rows read their prompt again


@dataclass(frozen=True)
class Begun:
    """One row: `row` as `Layout` names it, the target's tokens that greedy decoding gives too, and the next one.

    `layers` are keys and values (heads, tokens, features) by layer, of the prompt and of what was `said`.
    """

    row: int
    said: tuple[int, ...]
    next_id: int
    layers: tuple[tuple[Tensor, Tensor], ...]

    @property
    def tokens(self) -> int:
        """How many tokens were read."""
        return int(self.layers[0][0].shape[1])

    @property
    def nbytes(self) -> int:
        """Bytes of the keys and values."""
        return sum(t.numel() * t.element_size() for pair in self.layers for t in pair)


def begun_rows(passes: Passes, batch: Batch, past: Any, scored: Mapping[int, Scored]) -> Iterator[tuple[int, Begun]]:
    """Yield (place, what was begun) of rows whose target is not what greedy decoding gives, where it can be kept."""
    layers = _plain_layers(past, batch.ids.shape[1])
    if passes.same_length_decoding or not layers:
        return
    for i, row in enumerate(batch.rows):
        result = scored[row.place]
        differs = (result.target_ids != result.argmax_ids).nonzero()[0]
        if not len(differs):
            continue
        at = int(differs[0])
        said = row.target_ids[:at]
        if any(token in passes.end_ids or passes.breaks_line(token) for token in said):
            continue
        end = len(row.encoded.ids) + at
        kept = tuple((keys[i, :, :end].clone(), values[i, :, :end].clone()) for keys, values in layers)
        yield row.place, Begun(row.row, said, int(result.argmax_ids[at]), kept)


def finished(passes: Passes, begun: Sequence[Begun], max_tokens: int) -> list[list[int]]:
    """Return the token ids of whole answers, without the end token."""
    out: dict[int, list[int]] = {}
    order = sorted(range(len(begun)), key=lambda i: begun[i].tokens)
    for at in range(0, len(order), MAX_ROWS):
        here = order[at : at + MAX_ROWS]
        part = [begun[i] for i in here]
        picked = torch.tensor([b.next_id for b in part], device=passes.device)
        ids = go_on(passes, _started(passes, part), picked, [b.said for b in part], max_tokens)
        out |= dict(zip(here, ids, strict=True))
    return [out[i] for i in range(len(begun))]


def _started(passes: Passes, part: Sequence[Begun]) -> Started:
    from transformers import DynamicCache

    lengths = torch.tensor([b.tokens for b in part], device=passes.device)
    size = int(lengths.max())
    mask = (torch.arange(size, device=passes.device) < lengths[:, None]).long()
    past = DynamicCache()
    for layer in range(len(part[0].layers)):
        keys, values = (_padded([b.layers[layer][k] for b in part], size) for k in (0, 1))
        past.update(keys, values, layer)
    return Started(past, mask, lengths, torch.tensor([b.row for b in part], device=passes.device))


def _padded(parts: Sequence[Tensor], size: int) -> Tensor:
    heads, _, features = parts[0].shape
    out = parts[0].new_zeros(len(parts), heads, size, features)
    for i, part in enumerate(parts):
        out[i, :, : part.shape[1]] = part
    return out


def _plain_layers(past: Any, tokens: int) -> list[tuple[Tensor, Tensor]]:
    """Return keys and values by layer of a cache that keeps every token of every layer as it is, else nothing."""
    from transformers.cache_utils import DynamicLayer

    layers = list(getattr(past, "layers", ()))
    if any(type(layer) is not DynamicLayer or layer.get_seq_length() != tokens for layer in layers):
        return []
    return [(layer.keys, layer.values) for layer in layers]
