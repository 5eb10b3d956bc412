"""Kept answers: what teacher forcing has read, up to where the model prefers another token than the target's.

The keys and values of a scored batch are kept, so that decoding goes on from there and the prompt is not read again.
They stay as long as whoever scored holds them (`VLMAnswerer`: until it scores again), 256 MiB a list at most; rows
beyond that read their prompt again. They hold whatever changes were active, so it would be wrong to go on from them
after a hook or an exchanged parameter began or ended (`Interventions.version` tells), and to keep a cache that has
forgotten tokens (a sliding window).

Knows key-value caches and scored batches; nothing of prompts' wording, hooks or editors.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from lifelong.models.passes.batching import Batch
from lifelong.models.passes.decode import Started, go_on
from lifelong.models.passes.forward import Passes
from lifelong.models.passes.layout import Scored
from lifelong.models.passes.spare import cache_of

_ROWS = 128  # that are decoded together: a step of twice a batch of prompts takes little longer
KEPT_BYTES = 256 << 20  # keys and values that one list of prompts may keep; other rows read their prompt again


@dataclass(frozen=True)
class _Read:
    """Keys and values (batch, heads, tokens, features) by layer of one batch that was scored."""

    layers: tuple[tuple[Tensor, Tensor], ...]

    @property
    def nbytes(self) -> int:
        """Bytes of the keys and values."""
        return sum(t.numel() * t.element_size() for pair in self.layers for t in pair)


@dataclass(frozen=True)
class Begun:
    """One row: `row` as `Layout` names it, the target's tokens that greedy decoding gives too, and the next one.

    `tokens` were read, those of the prompt and of what was `said`, as row `at` of what its batch `read`.
    """

    row: int
    said: tuple[int, ...]
    next_id: int
    tokens: int
    at: int
    read: _Read


def kept_bytes(begun: Iterable[Begun]) -> int:
    """Return the bytes that some rows keep; those of one batch share them."""
    return sum(read.nbytes for read in {id(b.read): b.read for b in begun}.values())


def begun_rows(passes: Passes, batch: Batch, past: Any, scored: Mapping[int, Scored]) -> Iterator[tuple[int, Begun]]:
    """Yield (place, what was begun) of rows whose target is not what greedy decoding gives, where it can be kept."""
    layers = plain_layers(list(getattr(past, "layers", ())), batch.ids.shape[1])
    if passes.same_length_decoding or not layers:
        return
    read = _Read(layers)
    for i, row in enumerate(batch.rows):
        result = scored[row.place]
        differs = (result.target_ids != result.argmax_ids).nonzero()[0]
        if not len(differs):
            continue
        k = int(differs[0])
        said = row.target_ids[:k]
        again: list[int] = []
        if all(passes.say(again, token) for token in said):
            tokens = len(row.encoded.ids) + k
            yield row.place, Begun(row.row, said, int(result.argmax_ids[k]), tokens, i, read)


def finished_answers(passes: Passes, begun: Sequence[Begun], max_tokens: int) -> list[list[int]]:
    """Return the token ids of whole answers, without the end token; called under the same changes as the scoring."""
    # Rows of one scored batch stand together, so that its cache is cut once, and in order of length, to pad little.
    out: dict[int, list[int]] = {}
    batch_of = {key: k for k, key in enumerate(dict.fromkeys(id(b.read) for b in begun))}
    order = sorted(range(len(begun)), key=lambda i: (batch_of[id(begun[i].read)], begun[i].tokens))

    def work(here: Sequence[int]) -> None:
        part = [begun[i] for i in here]
        picked = torch.tensor([b.next_id for b in part], device=passes.device)
        ids = go_on(passes, _started(passes, part), picked, [b.said for b in part], max_tokens)
        out.update(zip(here, ids, strict=True))

    longest = max((b.tokens for b in begun), default=1) + max_tokens
    size = max(1, min(_ROWS, passes.room.tokens // longest))
    passes.room.each([order[at : at + size] for at in range(0, len(order), size)], work)
    return [out[i] for i in range(len(begun))]


def _started(passes: Passes, part: Sequence[Begun]) -> Started:
    """Return the rows' keys and values as one cache; rows of one batch stand together in `part`."""
    lengths = torch.tensor([b.tokens for b in part], device=passes.device)  # (rows,)
    size = int(lengths.max())
    mask = (torch.arange(size, device=passes.device) < lengths[:, None]).long()  # (rows, size)
    batches = [list(rows) for _, rows in groupby(part, key=lambda b: id(b.read))]

    def joined(layer: int, k: int) -> Tensor:
        return torch.cat([_taken(rows, layer, k, size) for rows in batches])

    past = cache_of((joined(layer, 0), joined(layer, 1)) for layer in range(len(part[0].read.layers)))
    return Started(past, mask, lengths, torch.tensor([b.row for b in part], device=passes.device))


def _taken(rows: Sequence[Begun], layer: int, k: int, size: int) -> Tensor:
    """Return keys (k 0) or values of rows of one batch, (rows, heads, size, features), for a mask to cut."""
    whole = rows[0].read.layers[layer][k]
    picked = whole[torch.tensor([b.at for b in rows], device=whole.device), :, :size]
    return F.pad(picked, (0, 0, 0, size - picked.shape[2]))


def plain_layers(layers: Sequence[Any], tokens: int) -> tuple[tuple[Tensor, Tensor], ...]:
    """Return keys and values by layer of a cache that keeps every token of every layer as it is, else nothing."""
    from transformers.cache_utils import DynamicLayer

    if any(type(layer) is not DynamicLayer or layer.get_seq_length() != tokens for layer in layers):
        return ()
    return tuple((layer.keys, layer.values) for layer in layers)
