"""Where LiveEdit's hard filter begins to keep an expert, set on subjects that training never saw.

Knows the trained modules and the examples' hidden states; trains nothing. Not in the paper, where the sentinel's
score is the limit as it was learnt. Subjects that it was learnt from fit better than any later one does, so that the
learnt limit drops edits of new subjects. A limit that drops few lets strangers through, more the larger the bank;
soft routing leaves hardly any of them a weight (reports/LOG.md has the shares).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from lifelong.editors.liveedit.examples import HiddenExample, HiddenTable
from lifelong.editors.liveedit.modules import LiveEditModules
from lifelong.editors.liveedit.rows import routing_view


@torch.no_grad()
def margin(modules: LiveEditModules, table: HiddenTable, examples: Sequence[HiddenExample], recall: float) -> float:
    """Return what to add to the sentinel's score so that a share `recall` of rephrases finds its own edit.

    It holds for those in other words and for those with another picture, each kind by itself: the second are fewer
    and harder. What else is found is left to soft routing. 0 without examples of two subjects.
    """
    if len({e.fact[0] for e in examples}) < 2:
        return 0.0
    device = table.vlm.device
    own: dict[bool, list[float]] = {}
    for example in examples:
        right = routing_view(table.take([example.edit]), device)
        left = routing_view(table.take(example.rephrases), device)
        edit = modules.edit_side.visual_branch(right.prompt, right.prompt_seen, right.seen, right.seen_seen)
        seen, sentinel = modules.seen_and_sentinel(left.prompt, left.prompt_seen, left.seen, left.seen_seen)
        limit = modules.similarity(seen, sentinel).diagonal()
        above = (modules.similarity(seen, edit)[:, 0] - limit).tolist()
        image = table.asked[example.edit][0].image
        for row, value in zip(example.rephrases, above, strict=True):
            own.setdefault(table.asked[row][0].image == image, []).append(value)
    return min(float(np.quantile(values, 1 - recall, method="lower")) for values in own.values())
