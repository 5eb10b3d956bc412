"""Greedy decoding with a key-value cache that publishes the layout of every step.

Knows the forward pass and nothing about editors or scoring.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from lifelong.models.batching import Batch
from lifelong.models.layout import Layout
from lifelong.models.passes import Passes


def greedy(passes: Passes, batch: Batch, max_tokens: int) -> list[list[int]]:
    """Return the new token ids of every row of a batch, without the end token."""
    rows = torch.tensor([r.row for r in batch.rows], device=passes.device)
    lengths = torch.tensor(batch.lengths, device=passes.device)
    prefill = passes.forward(batch, where=batch.predicting(), use_cache=True)
    started = Started(prefill.past_key_values, batch.mask.to(passes.device), lengths, rows)
    return go_on(passes, started, prefill.logits[0].argmax(-1), [[] for _ in batch.rows], max_tokens)


@dataclass(frozen=True)
class Started:
    """What was read so far: a key-value cache and its mask (batch, tokens) long.

    `lengths` and `rows`, both (batch,) long, are the tokens that are not padding and what `Layout.rows` says.
    """

    past: Any
    mask: Tensor
    lengths: Tensor
    rows: Tensor


def go_on(
    passes: Passes, started: Started, picked: Tensor, said: Sequence[Sequence[int]], max_tokens: int
) -> list[list[int]]:
    """Return the token ids of every row: those `said` and read already, `picked` (batch,), and what comes after it.

    A row ends at an end token, at a token with a newline, or at `max_tokens`. Rows that have ended leave the batch
    when they are half of it.
    """
    past, mask, lengths, rows = started.past, started.mask, started.lengths, started.rows
    out = [list(ids[:max_tokens]) for ids in said]
    active, ended = list(range(len(out))), [len(ids) >= max_tokens for ids in out]
    padded = not passes.same_length_decoding
    for step in range(1, max_tokens + 1):
        for i, token in zip(active, picked.tolist(), strict=True):
            if ended[i]:
                continue
            if token in passes.end_ids:
                ended[i] = True
                continue
            out[i].append(token)
            ended[i] = passes.breaks_line(token) or len(out[i]) == max_tokens
        going = [k for k, i in enumerate(active) if not ended[i]]
        if not going:
            break
        if padded and 2 * len(going) <= len(active) and hasattr(past, "batch_select_indices"):
            keep = torch.tensor(going, device=passes.device)
            past.batch_select_indices(keep)
            active = [active[k] for k in going]
            mask, lengths, picked, rows = mask[keep], lengths[keep], picked[keep], rows[keep]
        mask = torch.cat([mask, torch.ones_like(mask[:, :1])], 1)
        # Without padding a model counts positions from its cache, with whatever offsets it keeps itself.
        behind: dict[str, Any] = {"attention_mask": mask, "position_ids": lengths[:, None]}
        with passes.publishing(partial(_step_layout, rows, step)):
            result = passes.model(
                input_ids=picked[:, None], past_key_values=past, use_cache=True, **(behind if padded else {})
            )
        picked, past, lengths = result.logits[:, -1].argmax(-1), result.past_key_values, lengths + 1
    return out


def _step_layout(rows: torch.Tensor, step: int) -> Layout:
    no = torch.zeros((len(rows), 1), dtype=torch.bool, device=rows.device)
    return Layout(rows, no, no, ~no, torch.full_like(rows, -1), step)


def text_of(tokenizer: Any, ids: Sequence[int]) -> str:
    """Return decoded ids as an answer: no special tokens, nothing after a newline, no space around."""
    text = tokenizer.decode(ids, skip_special_tokens=True)
    return text.split("\n")[0].strip()
