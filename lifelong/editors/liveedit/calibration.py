"""Where LiveEdit's hard filter begins to keep an expert, set on subjects that training never saw.

Knows the trained modules and the examples' hidden states; trains nothing. Not in the paper, where the sentinel's
score is the limit as it was learnt. Subjects that it was learnt from fit better than any later one does, so that the
learnt limit drops edits of new subjects. A limit that drops few lets strangers through, more the larger the bank;
soft routing leaves hardly any of them a weight (reports/LOG.md has the shares).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from lifelong.editors.liveedit.examples import HiddenExample, HiddenTable
from lifelong.editors.liveedit.modules import LiveEditModules
from lifelong.editors.liveedit.rows import routing_view

KINDS = ("image", "text")
"""Edits with a picture and without one: each has a limit of its own."""
_PARTS = ("words", "pictures")  # rephrases in other words, and those with another picture


@torch.no_grad()
def above(modules: LiveEditModules, table: HiddenTable, examples: Sequence[HiddenExample]) -> dict[str, Tensor]:
    """Return how far above the sentinel rephrases find their own edit, (n,) float32 ascending, by how they differ.

    Empty without examples of two subjects.
    """
    if len({e.fact[0] for e in examples}) < 2:
        return {part: torch.zeros(0) for part in _PARTS}
    device = table.vlm.device
    own: dict[str, list[float]] = {part: [] for part in _PARTS}
    for example in examples:
        right = routing_view(table.take([example.edit]), device)
        left = routing_view(table.take(example.rephrases), device)
        edit = modules.edit_side.visual_branch(right.prompt, right.prompt_seen, right.seen, right.seen_seen)
        seen, sentinel = modules.seen_and_sentinel(left.prompt, left.prompt_seen, left.seen, left.seen_seen)
        limit = modules.similarity(seen, sentinel).diagonal()
        higher = (modules.similarity(seen, edit)[:, 0] - limit).tolist()
        image = table.asked[example.edit][0].image
        for row, value in zip(example.rephrases, higher, strict=True):
            own["words" if table.asked[row][0].image == image else "pictures"].append(value)
    return {part: torch.tensor(sorted(values), dtype=torch.float32) for part, values in own.items()}


def margin(found: Mapping[str, Tensor], recall: float) -> float:
    """Return what to add to the sentinel's score so that a share `recall` of rephrases finds its own edit.

    It holds for those in other words and for those with another picture (`found`, from `above`), each by itself: the
    second are fewer and harder. What else is found is left to soft routing. 0 where nothing was found.
    """
    values = [one.numpy() for one in found.values() if len(one)]
    return min((float(np.quantile(v, 1 - recall, method="lower")) for v in values), default=0.0)
