"""The VLM's two verbs bound to a list of prompts: what an editor hands out while it is applied.

Knows the VLM; knows nothing about editors.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lifelong.models.begun import Begun
from lifelong.models.layout import Scored
from streams.types import Prompt, Query

if TYPE_CHECKING:
    from lifelong.models.vlm import VLM


class VLMAnswerer:
    """Scores and decodes for fixed prompts; `Layout.rows` is the index within them.

    Decoding goes on from what the last scoring read, where no change of the model began or ended since.
    """

    def __init__(self, vlm: VLM, prompts: tuple[Query | Prompt, ...], from_layer: int | None = None) -> None:
        self.vlm, self.prompts, self.from_layer = vlm, prompts, from_layer
        self._begun: dict[int, Begun] = {}
        self._begun_under = -1

    def score(self, targets: Sequence[str], *, top: int = 0) -> list[Scored]:
        """Teacher-force one target per prompt; resumes from cached inputs of `from_layer` where one was given."""
        if self.from_layer is None:
            self._begun, self._begun_under = {}, self.vlm.changes.version
            return self.vlm.score(self.prompts, targets, top=top, begun=self._begun)
        hidden = self.vlm.hidden(self.prompts, self.from_layer, targets)
        return self.vlm.resume_score(hidden, top=top)

    def generate(self, rows: Sequence[int] | None = None, *, max_tokens: int = 16) -> list[str]:
        """Decode greedily for some rows (all by default), in the order given."""
        picked = list(range(len(self.prompts)) if rows is None else rows)
        known = self._begun if self._begun_under == self.vlm.changes.version else {}
        begun, fresh = [r for r in picked if r in known], [r for r in picked if r not in known]
        texts = dict(zip(begun, self.vlm.finish([known[r] for r in begun], max_tokens=max_tokens), strict=True))
        read = self.vlm.generate([self.prompts[r] for r in fresh], max_tokens=max_tokens, rows=fresh)
        texts |= dict(zip(fresh, read, strict=True))
        return [texts[r] for r in picked]
