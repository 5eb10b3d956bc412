"""The answers of one model to fixed prompts, where decoding goes on from what scoring has read.

Knows the model by its door only; nothing of editors or routes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lifelong.models.kept.answers import Begun
from lifelong.models.passes.layout import Scored
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
        """Teacher-force one target per prompt.

        Rows that `capture` read with an expected target go on from there. With `from_layer` rows whose inputs of that
        layer are kept do; the others are read whole, and theirs are kept.
        """
        self._begun, self._begun_under = {}, self.vlm.changes.version
        every, layer = range(len(self.prompts)), self.from_layer
        out: dict[int, Scored] = {}
        if self.vlm.pauses.active:
            out = self.vlm.pauses.scored(self.vlm.rows(self.prompts, targets), top, self._begun, self.vlm.cache)
        rest = [i for i in every if i not in out]
        kept: set[int] = set()
        if layer is not None:
            known = self.vlm.keeps([self.prompts[i] for i in rest], [targets[i] for i in rest], layer)
            kept = {i for i, there in zip(rest, known, strict=True) if there}
        old, new = [i for i in rest if i in kept], [i for i in rest if i not in kept]
        if old and layer is not None:
            hidden = self.vlm.hidden([self.prompts[i] for i in old], layer, [targets[i] for i in old])
            out |= dict(zip(old, self.vlm.resume_score(hidden, old, top=top), strict=True))
        begun: dict[int, Begun] = {}
        asked, wanted = [self.prompts[i] for i in new], [targets[i] for i in new]
        scored = self.vlm.score(asked, wanted, top=top, rows=new, begun=begun, keep_layer=layer)
        self._begun |= {new[place]: one for place, one in begun.items()}
        out |= dict(zip(new, scored, strict=True))
        return [out[i] for i in every]

    def generate(self, rows: Sequence[int] | None = None, *, max_tokens: int = 16) -> list[str]:
        """Decode greedily for some rows (all by default), in the order given."""
        picked = list(range(len(self.prompts)) if rows is None else rows)
        known = self._begun if self._begun_under == self.vlm.changes.version else {}
        begun, fresh = [r for r in picked if r in known], [r for r in picked if r not in known]
        texts = dict(zip(begun, self.vlm.finish([known[r] for r in begun], max_tokens=max_tokens), strict=True))
        read = self.vlm.generate([self.prompts[r] for r in fresh], max_tokens=max_tokens, rows=fresh)
        texts |= dict(zip(fresh, read, strict=True))
        return [texts[r] for r in picked]
