"""A short way for descents that change nothing before the last prompt token: what stands before it is run once.

What it does. The first step runs the whole pass from the edited layer on and keeps the keys and values of every token
before the last prompt token. Later steps run that token and the target alone: of a picture's hundreds of tokens none.

What it assumes. Every active change is a hook that was opened as `late`; tokens see only those before them; the model
reads with a key-value cache what it reads without. The caller promises the first. The others no model says: the first
step computes its logits both ways and compares. Where they differ by more than rounding, nothing is kept, and every
step is a whole resumed pass: slower, and otherwise equal.

When it is taken. Rounding differs in the last digits, so that the way is taken only where it saves `LEAST_SAVED`:
small models, whose passes cost next to nothing, give what they always gave, bit for bit. It serves gradients only: no
answer or score comes of it. Knows one row, keys and values and a layout; nothing of prompts, editors or losses.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from lifelong.models.passes.batching import Batch
from lifelong.models.passes.layout import Layout
from lifelong.models.passes.spare import cache_of

LEAST_SAVED = 1 << 33  # multiplications that a step has to save: some twenty tokens of a 7-billion model


@dataclass(frozen=True, eq=False)
class Prefix:
    """What one row reads before its last prompt token, `size` tokens, and what is left of the row.

    `kept` are keys and values (1, heads, size, features) of each layer from `layer` on; `batch`, `states` (1, rest,
    width), `where` (1, rest) bool and `layout` are of the tokens after it; `memo` is for them what it is for a batch.
    """

    layer: int
    size: int
    kept: tuple[tuple[Tensor, Tensor], ...]
    batch: Batch
    states: Tensor
    where: Tensor
    layout: Layout
    memo: dict[Any, Any] = field(default_factory=dict)

    def cache(self) -> Any:
        """Return a new cache of the model's kind that has read the prefix; the layers below were not run."""
        # A model asks the lowest layer how many tokens there are.
        none = self.kept[0][0].new_zeros(1, 1, self.size, 1)
        return cache_of([*[(none, none)] * self.layer, *self.kept])


def saved_work(layers: nn.ModuleList, layer: int, tokens: int) -> int:
    """Return how many multiplications by weights a pass from a layer on needs for so many tokens."""
    return tokens * sum(p.numel() for each in list(layers)[layer:] for p in each.parameters() if p.dim() == 2)


def prefix_of(batch: Batch, layer: int, states: Tensor, where: Tensor, layout: Layout, past: Any) -> Prefix | None:
    """Return the prefix of one row after a whole pass that filled `past`; None: its cache is of another kind.

    `states` (1, tokens, width), `where` (1, tokens) bool and `layout` are the pass's own.
    """
    from transformers.cache_utils import DynamicLayer

    size = len(batch.rows[0].encoded.ids) - 1
    found = list(past.layers)[layer:]
    if any(type(one) is not DynamicLayer or one.get_seq_length() != batch.ids.shape[1] for one in found):
        return None
    kept = tuple((one.keys[:, :, :size].detach(), one.values[:, :, :size].detach()) for one in found)
    rest = replace(
        batch, ids=batch.ids[:, size:], aligned={name: values[:, size:] for name, values in batch.aligned.items()}
    )
    image, prompt, answer = (mask[:, size:] for mask in (layout.image, layout.prompt, layout.answer))
    told = replace(layout, image=image, prompt=prompt, answer=answer, last_prompt=layout.last_prompt - size)
    return Prefix(layer, size, kept, rest, states[:, size:], where[:, size:], told)


def alike(one: Tensor, other: Tensor) -> bool:
    """Return whether logits are the same but for rounding."""
    slack = torch.finfo(one.dtype).eps ** 0.5 * float(one.detach().abs().max())
    return one.shape == other.shape and float((one - other).detach().abs().max()) <= slack
