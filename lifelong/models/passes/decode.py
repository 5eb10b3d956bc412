"""Greedy decoding with a key-value cache that publishes the layout of every step.

Knows the forward pass and nothing about editors or scoring.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Any

import torch
from torch import Tensor

from lifelong.models.passes.batching import Batch
from lifelong.models.passes.forward import LOGIT_BUDGET, Passes
from lifelong.models.passes.guess import confirmed, guesses, period
from lifelong.models.passes.layout import Layout


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
    when they are half of it. Where half of those that go on repeat themselves, a pass reads guesses (`guess`).
    """
    past, mask, lengths, rows = started.past, started.mask, started.lengths, started.rows
    out = [list(ids[:max_tokens]) for ids in said]
    active, ended = list(range(len(out))), [len(ids) >= max_tokens for ids in out]
    padded = not passes.same_length_decoding
    new = [[token] for token in picked.tolist()]
    for step in count(1):
        for i, tokens in zip(active, new, strict=True):
            for token in tokens:
                if ended[i]:
                    break
                if token in passes.end_ids:
                    ended[i] = True
                    break
                out[i].append(token)
                ended[i] = passes.breaks_line(token) or len(out[i]) == max_tokens
        going = [k for k, i in enumerate(active) if not ended[i]]
        if not going:
            break
        ahead = _ahead(passes, past, [out[active[k]] for k in going], max_tokens) if padded else 0
        if padded and hasattr(past, "batch_select_indices") and (ahead or 2 * len(going) <= len(active)):
            keep = torch.tensor(going, device=passes.device)
            past.batch_select_indices(keep)
            active = [active[k] for k in going]
            mask, lengths, rows = mask[keep], lengths[keep], rows[keep]
            new = [new[k] for k in going]
        guessed = [guesses(out[i], ahead) if ahead else [] for i in active]
        read = torch.tensor([[own[-1], *g[:-1]] for own, g in zip(new, guessed, strict=True)], device=passes.device)
        whole = torch.cat([mask, mask.new_ones(read.shape)], 1)
        # Without padding a model counts positions from its cache, with whatever offsets it keeps itself.
        at = lengths[:, None] + torch.arange(read.shape[1], device=passes.device)
        behind: dict[str, Any] = {"attention_mask": whole, "position_ids": at}
        with passes.publishing(partial(_step_layout, rows, step, read.shape[1])):
            result = passes.model(input_ids=read, past_key_values=past, use_cache=True, **(behind if padded else {}))
        past, given = result.past_key_values, result.logits.argmax(-1)
        if ahead:
            new = [confirmed(g, own) for g, own in zip(guessed, given.tolist(), strict=True)]
            right = torch.tensor([len(tokens) for tokens in new], device=passes.device)
            mask = torch.cat([mask, (torch.arange(ahead, device=passes.device) < right[:, None]).to(mask.dtype)], 1)
        else:
            new, right, mask = given.tolist(), 1, whole
        lengths = lengths + right
    return out


def _ahead(passes: Passes, past: Any, going: Sequence[Sequence[int]], max_tokens: int) -> int:
    """Return how many tokens of each row are worth guessing, 0 to read one token of each as usual.

    A hook that is not `pointwise` may count tokens, and a cache of another kind may forget some.
    """
    if not passes.changes.pointwise or 2 * sum(period(ids) > 0 for ids in going) < len(going):
        return 0
    from transformers.cache_utils import DynamicLayer

    if any(type(layer) is not DynamicLayer for layer in getattr(past, "layers", [None])):
        return 0
    vocab = passes.model.config.get_text_config().vocab_size
    ahead = min(max_tokens - min(map(len, going)), LOGIT_BUDGET // (len(going) * vocab))
    return ahead if ahead > 2 else 0


def _step_layout(rows: torch.Tensor, step: int, tokens: int) -> Layout:
    no = torch.zeros((len(rows), tokens), dtype=torch.bool, device=rows.device)
    return Layout(rows, no, no, ~no, torch.full_like(rows, -1), step)


def text_of(tokenizer: Any, ids: Sequence[int]) -> str:
    """Return decoded ids as an answer: no special tokens, nothing after a newline, no space around."""
    text = tokenizer.decode(ids, skip_special_tokens=True)
    return text.split("\n")[0].strip()
