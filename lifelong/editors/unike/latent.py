"""UniKE's external part: hidden states of answered questions, read by attention instead of put in the prompt.

Knows states, banks and encoders of one layer; nothing of queries or of when it acts (arXiv 2409.19872).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from lifelong.bank import Bank
from lifelong.editors.unike.encoders import Encoder


def attend(states: Tensor, known: Tensor, there: Tensor) -> Tensor:
    """Return softmax(x h / sqrt(width)) h over picked states.

    States (batch, tokens, width), picked states (batch, k, width), `there` (batch, k) bool; 0 where none is there.
    """
    scores = states @ known.transpose(1, 2) / known.shape[-1] ** 0.5
    scores = scores.masked_fill(~there[:, None], torch.finfo(scores.dtype).min)
    return scores.softmax(-1) @ known * there.any(-1)[:, None, None]


def relevance(semantic: Encoder, known: Tensor, states: Tensor) -> Tensor:
    """Return alpha, cos(Enc_sem(h_know), h), of last prompt states and what they read, (n, width) each: (n,)."""
    return F.cosine_similarity(semantic(known), states, dim=-1)


def mix(states: Tensor, known: Tensor, alpha: Tensor) -> Tensor:
    """Return (1 - alpha) h + alpha h_know, (batch, tokens, width) with alpha (batch,), as the paper's text has it.

    Weak relevance lets little knowledge in; Eq. 7 as printed has the two weights exchanged.
    """
    share = alpha[:, None, None]
    return (1 - share) * states + share * known


def zeta(truthful: Encoder, h_pos: Tensor, h_neg: Tensor) -> Tensor:
    """Return the direction from false to true answers: mean Enc(h_pos) - mean Enc(h_neg), (width,)."""
    return truthful(h_pos).mean(0) - truthful(h_neg).mean(0)


class LatentMemory:
    """The pairs (h_sem, h_pos) of one layer: those of the pool, fixed by `fit`, and those of stored edits."""

    def __init__(self, width: int, inner: int) -> None:
        self.width = width
        self.edits = Bank(width, metric="ip")
        self.semantic = Encoder(width, inner).requires_grad_(False)
        self.truthful = Encoder(width, inner).requires_grad_(False)
        self.learn(torch.zeros(0, width), torch.zeros(0, width))

    def learn(self, h_sem: Tensor, h_pos: Tensor) -> None:
        """Hold the pool's pairs, (m, width) each."""
        self.h_sem, self.h_pos = h_sem.float(), h_pos.float()
        self.pool = Bank(self.width, metric="ip")
        if len(h_sem):
            self.pool.add([str(i) for i in range(len(h_sem))], _unit(self.h_sem), {"pos": self.h_pos})

    def add(self, edit_id: str, h_sem: Tensor, h_pos: Tensor) -> None:
        """Store an edit's pair, (width,) each."""
        self.edits.add([edit_id], _unit(h_sem[None]), {"pos": h_pos[None].float().cpu()})

    def pick(self, states: Tensor, k: int) -> np.ndarray:
        """Return the k entries whose h_sem are nearest by cosine to states (n, width): (n, k), best first.

        Entries of the pool count from 0, those of edits from `len(pool)` by their row; -1 where there is none.
        """
        queries = _unit(states)
        scores, rows = [], []
        for bank, offset in ((self.pool, 0), (self.edits, len(self.pool))):
            if len(bank):
                found = bank.search(queries, min(k, len(bank)))
                scores.append(found.scores)
                rows.append(np.where(found.rows < 0, -1, found.rows + offset))
        if not rows:
            return np.full((len(queries), k), -1, dtype=np.int64)
        score, row = np.concatenate(scores, 1), np.concatenate(rows, 1)
        order = np.argsort(-score, axis=1, kind="stable")[:, :k]
        picked = np.take_along_axis(row, order, 1)
        return np.pad(picked, ((0, 0), (0, k - picked.shape[1])), constant_values=-1)

    def read(self, picked: np.ndarray) -> tuple[Tensor, Tensor]:
        """Return the h_pos of picked entries (n, k, width), and which are there (n, k) bool."""
        out = torch.zeros(*picked.shape, self.width)
        mine = picked >= len(self.pool)
        theirs = (picked >= 0) & ~mine
        if theirs.any():
            out[torch.from_numpy(theirs)] = self.pool.payload("pos", picked[theirs])
        if mine.any():
            out[torch.from_numpy(mine)] = self.edits.payload("pos", picked[mine] - len(self.pool))
        return out, torch.from_numpy(picked >= 0)

    def alpha(self, states: Tensor, picked: np.ndarray) -> Tensor:
        """Return how relevant what states (n, width) read is to them, (n,)."""
        parts = []
        for low in range(0, len(states), 256):
            part = states[low : low + 256]
            known, there = self.read(picked[low : low + 256])
            parts.append(relevance(self.semantic, attend(part[:, None], known, there)[:, 0], part))
        return torch.cat(parts) if parts else torch.zeros(0)


def _unit(states: Tensor) -> np.ndarray:
    return F.normalize(states.float(), dim=-1).cpu().numpy()
