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
from lifelong.models.passes.forward import Passes
from lifelong.models.passes.layout import Layout
from lifelong.models.passes.spare import make_room


def greedy(passes: Passes, batch: Batch, max_tokens: int) -> list[list[int]]:
    """Read the prompts of a batch, decode, and return the new token ids of every row, without the end token."""
    rows = torch.tensor([r.row for r in batch.rows], device=passes.device)  # (batch,)
    lengths = torch.tensor(batch.lengths, device=passes.device)  # (batch,)
    # One pass reads all prompts and fills the cache; its logits are those of the first new token of every row.
    prefill = passes.forward(batch, where=batch.predicting(), use_cache=True)
    started = Started(prefill.past_key_values, batch.mask.to(passes.device), lengths, rows)
    picked = prefill.logits[0].argmax(-1)  # (batch,) of (1, batch, vocab): one position a row
    return go_on(passes, started, picked, [[] for _ in batch.rows], max_tokens)


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

    A row ends at an end token, at the newline after its last line, or at `max_tokens`. Rows that have ended leave the
    batch when they are half of it.
    """
    past, mask, lengths, rows = started.past, started.mask, started.lengths, started.rows
    out = [list(ids[:max_tokens]) for ids in said]
    make_room(past, max_tokens - min(map(len, out), default=0))
    active, ended = list(range(len(out))), [len(ids) >= max_tokens for ids in out]
    padded = not passes.same_length_decoding
    for step in count(1):
        # 1. Write down the token that each row has picked. An ended row that is still in the batch picks in vain.
        for i, token in zip(active, picked.tolist(), strict=True):
            if not ended[i]:
                ended[i] = not passes.say(out[i], token) or len(out[i]) == max_tokens
        going = [k for k, i in enumerate(active) if not ended[i]]
        if not going:
            break

        # 2. Take the ended rows out where they are half of the batch: taking out copies what stays.
        if padded and hasattr(past, "batch_select_indices") and 2 * len(going) <= len(active):
            keep = torch.tensor(going, device=passes.device)
            past.batch_select_indices(keep)
            active = [active[k] for k in going]
            picked, mask, lengths, rows = picked[keep], mask[keep], lengths[keep], rows[keep]

        # 3. Read one token of every row. It stands behind the padding, so its position is not its place.
        mask = torch.cat([mask, mask.new_ones(len(active), 1)], 1)  # (batch, tokens so far)
        # Without padding a model counts positions from its cache, with whatever offsets it keeps itself.
        behind: dict[str, Any] = {"attention_mask": mask, "position_ids": lengths[:, None]} if padded else {}
        with passes.publishing(partial(_step_layout, rows, step)):
            result = passes.family.run(
                passes.model, {"input_ids": picked[:, None], "past_key_values": past, "use_cache": True, **behind}
            )
        past, picked = result.past_key_values, result.logits[:, -1].argmax(-1)  # (batch,) of (batch, 1, vocab)
        lengths = lengths + 1
    passes.forget()
    return out


def _step_layout(rows: Tensor, step: int) -> Layout:
    """Return the layout of a pass for one more token of every row, which belongs to the answer."""
    no = torch.zeros((len(rows), 1), dtype=torch.bool, device=rows.device)
    return Layout(rows, no, no, ~no, torch.full_like(rows, -1), step)


def text_of(passes: Passes, ids: Sequence[int]) -> str:
    """Return decoded ids as an answer: no special tokens, nothing from an end text on, few lines, no space around."""
    text, lines = passes.tokenizer.decode(ids, skip_special_tokens=True), passes.lines
    for end in passes.end_texts:
        text = text.split(end)[0]
    return "\n".join(text.split("\n")[:lines]).strip()


def picked_text(passes: Passes, picked: Sequence[int], max_tokens: int) -> str | None:
    """Return the answer of a row that picks these tokens one after another, None where it goes on after them."""
    said: list[int] = []
    for token in picked:
        if not passes.say(said, token) or len(said) == max_tokens:
            return text_of(passes, said)
    return None
