"""The last decoder layer's MLP, computed only at the positions whose logits are wanted.

What it gives elsewhere reaches no logit. Knows one module, positions and the layout that hooks see; no editors.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from lifelong.models.interventions import Interventions
from lifelong.models.layout import Layout
from lifelong.models.remember import instead


@contextmanager
def narrowed(mlp: nn.Module, where: Tensor, changes: Interventions) -> Iterator[None]:
    """Compute a layer's MLP at `where` (batch, tokens) bool, one run of positions a row; elsewhere it gives zeros.

    Hooks inside the module see (batch, longest run, width) and a layout of these positions.
    A module that is called in another way than with the states alone is left as it is.
    """
    counts, starts = where.sum(1), where.int().argmax(1)
    run = torch.arange(int(counts.max()), device=where.device)
    at, valid = (starts[:, None] + run).clamp(max=where.shape[1] - 1), run < counts[:, None]
    original = mlp.forward

    def forward(states: Tensor, *args: Any, **kwargs: Any) -> Any:
        if args or kwargs or states.shape[:2] != where.shape:
            return original(states, *args, **kwargs)
        part = states.gather(1, at[..., None].expand(-1, -1, states.shape[-1]))
        layout = changes.layout
        changes.layout = None if layout is None else _at(layout, at, starts)
        try:
            out = original(part)
        finally:
            changes.layout = layout
        if not isinstance(out, Tensor):  # a mixture that tells its router's choice as well
            return original(states)
        whole = out.new_zeros(*where.shape, out.shape[-1])
        whole[where] = out[valid]
        return whole

    with instead(mlp, forward):
        yield


def _at(layout: Layout, at: Tensor, starts: Tensor) -> Layout:
    image, prompt, answer = (mask.gather(1, at) for mask in (layout.image, layout.prompt, layout.answer))
    return replace(layout, image=image, prompt=prompt, answer=answer, last_prompt=layout.last_prompt - starts)
