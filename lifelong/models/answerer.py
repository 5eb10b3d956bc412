"""The VLM's two verbs bound to a list of prompts: what an editor hands out while it is applied.

Knows the VLM; knows nothing about editors.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lifelong.models.layout import Scored
from streams.types import Prompt, Query

if TYPE_CHECKING:
    from lifelong.models.vlm import VLM


class VLMAnswerer:
    """Scores and decodes for fixed prompts; `Layout.rows` is the index within them."""

    def __init__(self, vlm: VLM, prompts: tuple[Query | Prompt, ...], from_layer: int | None = None) -> None:
        self.vlm, self.prompts, self.from_layer = vlm, prompts, from_layer

    def score(self, targets: Sequence[str], *, top: int = 0) -> list[Scored]:
        """Teacher-force one target per prompt; resumes from cached inputs of `from_layer` where one was given."""
        if self.from_layer is None:
            return self.vlm.score(self.prompts, targets, top=top)
        hidden = self.vlm.hidden(self.prompts, self.from_layer, targets)
        return self.vlm.resume_score(hidden, top=top)

    def generate(self, rows: Sequence[int] | None = None, *, max_tokens: int = 16) -> list[str]:
        """Decode greedily for some rows (all by default), in the order given."""
        picked = range(len(self.prompts)) if rows is None else rows
        return self.vlm.generate([self.prompts[r] for r in picked], max_tokens=max_tokens, rows=list(picked))
