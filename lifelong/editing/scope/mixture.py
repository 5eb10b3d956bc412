"""Answering some rows by an edited model, some by the base, and some by a mixture of the two.

Knows the model and the context in which it is edited; nothing of editors, edits or routes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from lifelong.models.passes.layout import Scored
from streams.types import Prompt, Query

if TYPE_CHECKING:
    from lifelong.models.vlm import VLM


def mixed(base: Tensor, counterfactual: Tensor, share: Tensor | float) -> Tensor:
    """Return log[(1 - share) softmax(base) + share softmax(counterfactual)] of logits (..., vocab), in nats."""
    share = torch.as_tensor(share, dtype=base.dtype, device=base.device)
    return torch.logaddexp(
        torch.log1p(-share) + base.log_softmax(-1), torch.log(share) + counterfactual.log_softmax(-1)
    )


class SplitAnswerer:
    """Rows answered by the base, by an edited model, or by a mixture of both.

    `asked` are the rows that the edited model answers and what it is asked; `edited(rows)` is the context in which
    it answers some of these rows, in this order, and `layer` the lowest layer that it changes (None: not known).
    """

    def __init__(
        self,
        vlm: VLM,
        queries: Sequence[Query],
        asked: Mapping[int, Prompt],
        shares: Mapping[int, float],
        edited: Callable[[Sequence[int]], AbstractContextManager[None]],
        layer: int | None,
    ) -> None:
        self.vlm, self.edited, self.layer = vlm, edited, layer
        self.plain: list[Prompt] = [Prompt.of(q) for q in queries]
        self.asked = asked
        self.shares = {i: share for i, share in shares.items() if share < 1}

    def _changed(self, edited: bool, rows: Sequence[int]) -> AbstractContextManager[None]:
        return self.edited(rows) if edited else nullcontext()

    def _whole(self, rows: Sequence[int]) -> Iterator[tuple[bool, list[int]]]:
        """Yield the rows that one model answers alone: those of the base, then those of the edited model."""
        for edited in (False, True):
            here = [r for r in rows if r not in self.shares and (r in self.asked) == edited]
            if here:
                yield edited, here

    def score(self, targets: Sequence[str], *, top: int = 0) -> list[Scored]:
        """Teacher-force one target per query."""
        out: dict[int, Scored] = {}
        for edited, rows in self._whole(range(len(self.plain))):
            prompts, wanted = [self.asked[r] if edited else self.plain[r] for r in rows], [targets[r] for r in rows]
            layer = self.layer if edited else None
            with self._changed(edited, rows):
                scored = self.vlm.answerer(prompts, from_layer=layer).score(wanted, top=top)
            out |= dict(zip(rows, scored, strict=True))
        rows = list(self.shares)
        ids = [self.vlm.target_ids(targets[r]) for r in rows]
        for r, wanted, logprobs in zip(rows, ids, self._mixed(rows, ids), strict=True):
            out[r] = self._scored(r, targets[r], wanted, logprobs, top)
        return [out[i] for i in range(len(self.plain))]

    def _scored(self, row: int, target: str, ids: Sequence[int], logprobs: Tensor, top: int) -> Scored:
        """Return the result of a mixed row; top ids before the answer are the base's."""
        wanted = np.array(ids, dtype=np.int32)
        own = logprobs.gather(1, torch.as_tensor(ids, device=logprobs.device)[:, None])[:, 0]
        best = logprobs.argmax(-1).to(torch.int32).cpu().numpy()
        tops = None
        if top:
            tops = self.vlm.score([self.plain[row]], [target], top=top)[0].top_ids
            found = logprobs.topk(min(top, logprobs.shape[-1]), dim=-1).indices.to(torch.int32).cpu().numpy()
            if tops is not None:
                start = len(tops) - len(ids) - 1
                tops = np.concatenate([tops[:start], found, tops[start + len(ids) :]])
        return Scored(wanted, best, own.float().cpu().numpy().astype(np.float32), tops)

    def generate(self, rows: Sequence[int] | None = None, *, max_tokens: int = 16) -> list[str]:
        """Decode greedily for some rows."""
        picked = list(range(len(self.plain)) if rows is None else rows)
        out: dict[int, str] = {}
        for edited, here in self._whole(picked):
            with self._changed(edited, here):
                prompts = [self.asked[r] if edited else self.plain[r] for r in here]
                out |= dict(zip(here, self.vlm.generate(prompts, max_tokens=max_tokens), strict=True))
        blended = [r for r in picked if r in self.shares]
        out |= dict(zip(blended, self._decode(blended, max_tokens), strict=True))
        return [out[r] for r in picked]

    def _mixed(self, rows: Sequence[int], ids: Sequence[Sequence[int]]) -> list[Tensor]:
        """Return the mixture's log-probabilities (m, vocab) where it predicts the m given tokens of each row."""
        if not rows:
            return []
        base = self.vlm.answer_logits([self.plain[r] for r in rows], ids=ids)
        with self._changed(True, rows):
            counterfactual = self.vlm.answer_logits([self.asked[r] for r in rows], ids=ids)
        triples = zip(rows, base, counterfactual, strict=True)
        return [mixed(b.float(), c.float(), self.shares[r]) for r, b, c in triples]

    def _decode(self, rows: Sequence[int], max_tokens: int) -> list[str]:
        """Decode the mixture: both models read the same new tokens, again at every step (without a cache)."""
        said: dict[int, list[int]] = {r: [] for r in rows}
        going = list(rows)
        for _ in range(max_tokens):
            if not going:
                break
            # The token to be predicted stands for itself: what it is does not reach the position that predicts it.
            ahead = self._mixed(going, [[*said[r], self.vlm.end_id] for r in going])
            picked = [int(logprobs[-1].argmax()) for logprobs in ahead]
            going = [r for r, token in zip(going, picked, strict=True) if self.vlm.say(said[r], token)]
        return [self.vlm.text_of(said[r]) for r in rows]
