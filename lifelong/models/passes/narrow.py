"""The last decoder layer's MLP, computed only at the positions whose logits are wanted.

What it gives elsewhere reaches no logit. Knows one module, positions and the layout that hooks see; no editors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from lifelong.models.passes.interventions import Interventions
from lifelong.models.passes.layout import Layout


@dataclass(frozen=True, eq=False)
class Narrow:
    """One run of positions a row: `where` (batch, tokens) bool, from `starts` (batch,), to the longest run.

    `at` (batch, run) are positions, `valid` (batch, run) bool says which belong to the row.
    """

    where: Tensor
    starts: Tensor
    at: Tensor
    valid: Tensor

    @classmethod
    def of(cls, where: Tensor) -> Narrow:
        """Return the runs of a mask."""
        counts, starts = where.sum(1), where.int().argmax(1)
        run = torch.arange(int(counts.max()), device=where.device)
        at = (starts[:, None] + run).clamp(max=where.shape[1] - 1)
        return cls(where, starts, at, run < counts[:, None])

    def run(self, states: Tensor) -> Tensor:
        """Return states (batch, tokens, features) at the runs, (batch, run, features)."""
        return states.gather(1, self.at[..., None].expand(-1, -1, states.shape[-1]))

    def flat(self, states: Tensor) -> Tensor:
        """Return states at the runs, row after row: (positions, features) of (batch, run, features)."""
        return states[0] if len(states) == 1 else states[self.valid]

    def whole(self, states: Tensor) -> Tensor:
        """Return states at the runs among zeros, (batch, tokens, features)."""
        whole = states.new_zeros(*self.where.shape, states.shape[-1])
        whole[self.where] = states[self.valid]
        return whole

    def layout(self, layout: Layout) -> Layout:
        """Return the layout of the runs."""
        image, prompt, answer = (mask.gather(1, self.at) for mask in (layout.image, layout.prompt, layout.answer))
        return replace(
            layout, image=image, prompt=prompt, answer=answer, last_prompt=layout.last_prompt - self.starts
        )


@contextmanager
def narrowed(mlp: nn.Module, where: Tensor, changes: Interventions) -> Iterator[None]:
    """Compute a layer's MLP at `where` (batch, tokens) bool, one run of positions a row; elsewhere it gives zeros.

    Hooks inside the module see (batch, longest run, width) and a layout of these positions.
    A module that is called in another way than with the states alone is left as it is.
    """
    narrow, original = Narrow.of(where), mlp.forward

    def forward(states: Tensor, *args: Any, **kwargs: Any) -> Any:
        if args or kwargs or states.shape[:2] != where.shape:
            return original(states, *args, **kwargs)
        part, layout = narrow.run(states), changes.layout
        changes.layout = None if layout is None else narrow.layout(layout)
        try:
            out = original(part)
        finally:
            changes.layout = layout
        if not isinstance(out, Tensor):  # a mixture that tells its router's choice as well
            return original(states)
        return narrow.whole(out)

    with instead(mlp, forward):
        yield


@contextmanager
def remembering(module: nn.Module, memo: MutableMapping[Any, Any]) -> Iterator[None]:
    """Run a module where `memo` has nothing yet, and give what it gave then; the caller knows that nothing changed.

    What runs in bfloat16 is remembered apart.
    """
    original = module.forward

    def forward(*args: Any, **kwargs: Any) -> Any:
        key = torch.is_autocast_enabled("cpu"), torch.is_autocast_enabled("cuda")
        if key not in memo:
            memo[key] = original(*args, **kwargs)
        return memo[key]

    with instead(module, forward):
        yield


@contextmanager
def instead(module: nn.Module, forward: Callable[..., Any]) -> Iterator[None]:
    """Let a module compute with another `forward`; its hooks stay, and what was there before is back on exit."""
    before = module.__dict__.get("forward")
    module.__dict__["forward"] = forward
    try:
        yield
    finally:
        module.__dict__.pop("forward")
        if before is not None:
            module.__dict__["forward"] = before
