"""Where LiveEdit's hard filter begins to keep an expert, set on subjects that training never saw.

Knows the trained modules and the examples' hidden states; trains nothing. Not in the paper, where the sentinel's
score is the limit as it was learnt. Subjects that it was learnt from fit better than any later one does, so that the
learnt limit drops edits of new subjects (reports/LOG.md has the shares).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from lifelong.editors.liveedit.examples import Example, Table
from lifelong.editors.liveedit.modules import LiveEditModules
from lifelong.editors.liveedit.rows import rows_of


def held_out(
    examples: Sequence[Example], share: float, rng: np.random.Generator
) -> tuple[list[Example], list[Example]]:
    """Return the examples of most subjects, and those of a share of them drawn at random."""
    subjects = sorted({e.fact[0] for e in examples})
    kept_back = set(rng.permutation(subjects)[: round(share * len(subjects))].tolist())
    rest = [e for e in examples if e.fact[0] not in kept_back]
    return rest, [e for e in examples if e.fact[0] in kept_back]


def equal_error(own: np.ndarray, other: np.ndarray) -> float:
    """Return the limit at which as large a share of `own` lies below it as of `other` at or above it.

    >>> float(equal_error(np.array([0.0, 2.0, 3.0, 4.0]), np.array([-3.0, -2.0, -1.0, 1.0])))
    1.0
    """
    limits = np.unique(np.concatenate([own, other]))
    missed = np.searchsorted(np.sort(own), limits, side="left") / len(own)
    fired = 1 - np.searchsorted(np.sort(other), limits, side="left") / len(other)
    return limits[int(np.abs(missed - fired).argmin())]


@torch.no_grad()
def margin(modules: LiveEditModules, table: Table, examples: Sequence[Example]) -> float:
    """Return what to add to the sentinel's score so that misses and false fires are equally rare; 0 without examples.

    A miss is a rephrase whose own edit scores below the limit; a false fire is a rephrase or a local question with
    another subject's edit above it, with one edit per fact in the bank.
    """
    facts = {e.fact: e for e in examples}
    bank = list(facts.values())
    subjects = np.array([e.fact[0] for e in bank])
    if len(set(subjects)) < 2:
        return 0.0
    device = table.vlm.device
    right = rows_of(table.take([e.edit for e in bank]), device)
    edits = modules.edit_side.visual_branch(right.prompt, right.prompt_seen, right.seen, right.seen_seen)
    own, other = [], []
    for place, example in enumerate(bank):
        asked = [*example.rephrases, *example.locals]
        left = rows_of(table.take(asked), device)
        seen, sentinel = modules.seen_and_sentinel(left.prompt, left.prompt_seen, left.seen, left.seen_seen)
        limit = modules.similarity(seen, sentinel).diagonal()[:, None]
        above = (modules.similarity(seen, edits) - limit).cpu().numpy()
        own += above[: len(example.rephrases), place].tolist()
        other += above[:, subjects != example.fact[0]].max(1).tolist()
    return float(equal_error(np.array(own), np.array(other)))
