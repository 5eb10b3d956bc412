"""Answers that are known beforehand, scored and decoded as a model's would be.

Knows token ids and the base's scores; nothing of edits or routes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from lifelong.models.vlm import Scored
from streams.types import Query

if TYPE_CHECKING:
    from lifelong.models.vlm import VLM

DOUBT = 1e-6
"""The probability that the oracle leaves to all other tokens together: no log-probability is infinite."""


class Knowing:
    """Answers some queries from a list and asks the base about the others."""

    def __init__(self, vlm: VLM, queries: tuple[Query, ...], answers: Sequence[str | None]) -> None:
        self.vlm, self.answers = vlm, answers
        self.base = vlm.answerer(queries)

    def score(self, targets: Sequence[str], *, top: int = 0) -> list[Scored]:
        """Teacher-force targets; a known answer puts its own token first at every predicting position."""
        scored = self.base.score(targets, top=top)
        return [s if a is None else self._told(s, a) for s, a in zip(scored, self.answers, strict=True)]

    def _told(self, base: Scored, answer: str) -> Scored:
        ids = self.vlm.target_ids(answer)
        m = len(base.target_ids)
        best = np.array([*ids, *[ids[-1]] * m][:m], dtype=np.int32)  # beyond its end the answer stays ended
        rest = np.log(DOUBT / (len(self.vlm.embeddings()) - 1))
        logprobs = np.where(best == base.target_ids, np.log1p(-DOUBT), rest).astype(np.float32)
        told = replace(base, argmax_ids=best, logprobs=logprobs)
        if base.top_ids is None:
            return told
        top_ids, start = base.top_ids.copy(), len(base.top_ids) - m - 1
        for row, first in zip(range(start, start + m), best, strict=True):
            others = top_ids[row][top_ids[row] != first]
            top_ids[row] = np.concatenate([[first], others])[: top_ids.shape[1]]
        return replace(told, top_ids=top_ids)

    def generate(self, rows: Sequence[int] | None = None, *, max_tokens: int = 16) -> list[str]:
        """Return known answers cut to `max_tokens` tokens, and decode the others."""
        picked = list(range(len(self.answers)) if rows is None else rows)
        asked = [r for r in picked if self.answers[r] is None]
        decoded = dict(zip(asked, self.base.generate(asked, max_tokens=max_tokens) if asked else [], strict=True))
        return [decoded[r] if (a := self.answers[r]) is None else self._said(a, max_tokens) for r in picked]

    def _said(self, answer: str, max_tokens: int) -> str:
        return self.vlm.picked_text(self.vlm.target_ids(answer), max_tokens) or ""
