"""From logits to `Scored`: argmax, log-probabilities of the target, ordered top ids.

Knows tensors only.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from lifelong.models.passes.batching import Batch
from lifelong.models.passes.layout import Scored


def scored_rows(batch: Batch, logits: Tensor, top: int) -> dict[int, Scored]:
    """Return one `Scored` per row by `place`, after a pass over a batch with targets.

    `logits` are (1, predicting positions, vocab) when `top` is 0, otherwise (batch, tokens, vocab).
    """
    # 1. Ordered top ids at every position, where they are wanted; then on with the predicting positions alone.
    tops = None  # (batch, tokens, top)
    if top:
        tops = torch.topk(logits, min(top, logits.shape[-1]), dim=-1).indices.to(torch.int32).cpu().numpy()
        logits = logits[batch.predicting().to(logits.device)][None]

    # 2. All target tokens of the batch at once, row after row: (positions, vocab) to (positions,).
    values = logits[0].float()
    targets = torch.tensor([t for r in batch.rows for t in r.target_ids], device=values.device)
    own = values.gather(1, targets[:, None])[:, 0]
    logprobs = (own - values.logsumexp(-1)).cpu().numpy().astype(np.float32)
    best = values.argmax(-1).to(torch.int32).cpu().numpy()

    # 3. Cut it into rows.
    out: dict[int, Scored] = {}
    at = 0
    for i, row in enumerate(batch.rows):
        m = len(row.target_ids)
        ids = np.array(row.target_ids, dtype=np.int32)
        where = slice(at, at + m)
        top_ids = None if tops is None else tops[i, : len(row)]
        out[row.place] = Scored(ids, best[where], logprobs[where], top_ids)
        at += m
    return out
